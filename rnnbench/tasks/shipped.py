"""The tasks that ship: four made-up ones, and five on the real data of ``data/`` (see its SOURCES.md)."""

from __future__ import annotations

from pathlib import Path

from rnnbench.contracts import Task
from rnnbench.tasks.sequences import Dates, Reverse
from rnnbench.tasks.series import Forecasting
from rnnbench.tasks.synthetic import Adding, Copy
from rnnbench.tasks.text import TextClassification

_DATA = Path(__file__).parent / "data"

TASKS: tuple[Task, ...] = (
    Copy(name="copy", about="recall ten symbols after a delay of `length` steps"),
    Adding(name="adding", about="add the two marked numbers of a long sequence"),
    Reverse(name="reverse", about="say a sequence of symbols backward: sequence to sequence"),
    Dates(name="dates", about="21 Nov 2026, or six other ways, to 2026-11-21: sequence to sequence"),
    TextClassification(
        name="sentiment",
        about="is a review sentence positive or negative? 2,979 sentences",
        path=_DATA / "sentiment_sentences.tsv.gz",
        layout="tsv",
    ),
    Forecasting(
        name="river",
        about="discharge of the river Fulda tomorrow, from its past, rain and temperature",
        path=_DATA / "river_fulda_daily.csv.gz",
        time="date",
        target="discharge_m3s",
        features=("precipitation_mm", "tmean_c"),
        log=("discharge_m3s",),
    ),
    Forecasting(
        name="weather",
        about="temperature at JFK airport in 24 hours, from the weather so far",
        path=_DATA / "weather_jfk_hourly_2013.csv.gz",
        time="time_utc",
        target="temp_f",
        features=("dewpoint_f", "humidity_pct", "wind_speed_mph", "pressure_mb", "precip_in"),
        horizon=24,
    ),
    Forecasting(
        name="co2",
        about="carbon dioxide on Mauna Loa in 13 weeks",
        path=_DATA / "co2_mauna_loa_weekly.csv.gz",
        time="week",
        target="co2_ppm",
        horizon=13,
    ),
    Forecasting(
        name="stocks",
        about="negative control: tomorrow's price of IBM, where nothing beats persistence",
        path=_DATA / "stocks_daily_adjclose.csv.gz",
        time="date",
        target="ibm",
        features=("aapl", "msft"),
        log=("aapl", "ibm", "msft"),
        ranked=False,
    ),
)
