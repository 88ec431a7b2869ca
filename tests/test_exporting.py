from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pandas as pd
import pytest
import synthetic

from rnnbench.errors import RequestError
from rnnbench.records import Curve, Record, Score
from rnnbench.results.exporting import FORMATS, export
from rnnbench.results.tidy import tabulate

RUNS = [synthetic.results(tasks=("copy",), lengths=(20, 50)), replace(synthetic.hostile(), problems=())]
TABLE = tabulate(RUNS)


def test_csv_reads_back() -> None:
    found = pd.read_csv(io.BytesIO(export(RUNS, "csv")))
    assert list(found.columns) == list(TABLE.columns)
    assert list(found["cell"]) == list(TABLE["cell"])
    assert found["train_step_median_s"].to_numpy() == pytest.approx(TABLE["train_step_median_s"], nan_ok=True)


def test_json_lines_read_back_one_record_each() -> None:
    lines = export(RUNS, "jsonl").decode().splitlines()
    rows = [
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")) for line in lines
    ]
    assert [row["cell"] for row in rows] == list(TABLE["cell"])
    assert [row["length"] for row in rows] == list(TABLE["length"])
    assert all(row["train_step_median_s"] is None for row in rows if row["status"] != "ok")


def test_parquet_reads_back() -> None:
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(export(RUNS, "parquet"))), TABLE)


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_not_finite_and_what_is_not_there_can_be_written(format: str) -> None:
    case = synthetic.case()
    curves = (Curve(0, (1,), (math.inf,), (math.nan,), "budget"), Curve(1, (), (), (), "budget"))
    record = Record(case, "diverged", "loss is NaN", score=Score("mse", False, case.key, curves))
    assert len(export([replace(RUNS[0], records=(record,), blocks=())], format)) > 100
    assert export([replace(RUNS[0], records=(), blocks=())], format) is not None


@pytest.mark.parametrize("format", FORMATS)
def test_equal_results_give_equal_bytes(format: str) -> None:
    assert export(RUNS, format) == export(RUNS, format)


def test_another_format_is_named() -> None:
    with pytest.raises(RequestError, match='Did you mean "parquet"'):
        export(RUNS, "parket")
