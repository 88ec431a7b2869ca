"""A case over runs: change points against simulations and brute force, lines on one machine, the command."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from rnnbench.cli import main
from rnnbench.history import change_points, history, measured
from rnnbench.history.changepoints import FEWEST
from rnnbench.records import PROTOCOL, Case, Run
from rnnbench.report.words import digits
from rnnbench.results import create
from rnnbench.results.reading import RunResults
from rnnbench.stacked import Stack
from rnnbench.stats import estimate, quotient, summarize

STEP = math.log(1.10)
NOISE = 0.03
Draw = Callable[[np.random.Generator, int], np.ndarray]


def normal(draw: np.random.Generator, n: int) -> np.ndarray:
    return draw.normal(0, NOISE, n)


def heavy(draw: np.random.Generator, n: int) -> np.ndarray:
    return NOISE * draw.standard_t(3, n)


def skewed(draw: np.random.Generator, n: int) -> np.ndarray:
    """A floor, and a machine that is sometimes busy."""
    return np.abs(draw.normal(0, NOISE, n)) + 0.2 * (draw.random(n) < 0.1)


@pytest.mark.parametrize("noise", [normal, heavy, skewed])
@pytest.mark.parametrize("n", [15, 40])
def test_noise_has_no_change_points(noise: Draw, n: int) -> None:
    draw = np.random.default_rng(7)
    false = sum(bool(change_points(noise(draw, n))) for _ in range(150))
    assert false <= 6, "150 series at 1 %: more than 6 happen once in 5,000 times"


def test_a_step_of_10_percent_in_3_percent_noise_is_found_where_it_is() -> None:
    draw = np.random.default_rng(1)
    found = []
    for _ in range(80):
        series = normal(draw, 40)
        series[20:] += STEP
        found.append([point.index for point in change_points(series)])
    assert sum(20 in each for each in found) >= 64
    assert sum(any(abs(index - 20) <= 1 for index in each) for each in found) >= 76
    assert sum(len(each) == 1 for each in found) >= 72


def test_the_view_lags() -> None:
    draw = np.random.default_rng(2)
    seen = []
    for after in (1, 2, 8):
        hits = 0
        for _ in range(60):
            series = normal(draw, 20 + after)
            series[20:] += STEP
            hits += any(abs(point.index - 20) <= 1 for point in change_points(series))
        seen.append(hits / 60)
    assert max(seen[:2]) <= 0.05
    assert seen[2] >= 0.8


def test_what_was_mended_again_is_found() -> None:
    draw = np.random.default_rng(3)
    right = 0
    for _ in range(40):
        series = normal(draw, 40)
        series[20:27] += STEP
        indices = [point.index for point in change_points(series)]
        right += len(indices) == 2 and abs(indices[0] - 20) <= 1 and abs(indices[1] - 27) <= 1
    assert right >= 34


def test_one_odd_run_is_no_change() -> None:
    draw = np.random.default_rng(4)
    for at in (0, 10, 19):
        series = normal(draw, 20)
        series[at] += 1.0
        assert change_points(series) == ()


def test_a_clear_step_stands_where_the_t_test_is_largest() -> None:
    draw = np.random.default_rng(5)
    for at in (6, 15, 24):
        series = normal(draw, 30)
        series[at:] -= 2 * STEP
        (point,) = change_points(series)
        sizes = [abs(ttest_ind(series[:k], series[k:]).statistic) for k in range(2, 29)]
        assert point.index == 2 + int(np.argmax(sizes))
        assert point.before == pytest.approx(series[: point.index].mean())
        assert point.after == pytest.approx(series[point.index :].mean())


def test_the_least_probability_is_that_of_counting() -> None:
    # of the 3,432 ways to choose seven of fourteen, two separate them
    (point,) = change_points([*np.arange(7) / 100, *(1 + np.arange(7) / 100)])
    assert point.index == 7
    assert point.p <= 0.006
    assert FEWEST == 12
    assert change_points([*np.arange(5) / 100, *(1 + np.arange(6) / 100)]) == (), "7 of 462 is no rarity"
    assert change_points([]) == change_points([1.0] * 50) == ()


@given(st.integers(0, 2**32), st.floats(0.1, 10), st.floats(-5, 5))
def test_change_points_know_neither_scale_nor_origin(seed: int, scale: float, shift: float) -> None:
    series = normal(np.random.default_rng(seed), 24)
    series[12:] += 2 * STEP
    indices = [point.index for point in change_points(series)]
    assert [point.index for point in change_points(series * scale + shift)] == indices
    assert [point.index for point in change_points(-series)] == indices


def test_a_long_series() -> None:
    series = normal(np.random.default_rng(6), 1000)
    series[700:] += STEP
    assert [point.index for point in change_points(series)] == [700]


TORCH = {"backend": "torch", "device": "cpu", "dtype": "float32", "threads": 1, "env": "present"}


def run_at(day: int, **changes: Any) -> Run:
    start = datetime(2026, 3, 1, 9, tzinfo=UTC) + timedelta(days=day)
    revision = {"commit": f"{day:02}" * 20, "branch": "main", "dirty": day == 3}
    worker = {**TORCH, "versions": {"torch": changes.pop("torch", "2.13.0")}, "revision": revision}
    fields = {"started": start.isoformat(), "environments": {"torch": worker}, "findings": ()}
    return synthetic.run(f"run-{day:02}", **{**fields, **changes})


def results_of(run: Run, cases: Sequence[Case], scale: float = 1.0, seed: int = 0) -> RunResults:
    blocks = [b for case in cases for b in synthetic.blocks(case, 1e-3 * scale, rounds=3, seed=seed)]
    return RunResults(run, tuple(map(synthetic.record, cases)), tuple(blocks))


def days(n: int, change: int | None = None) -> list[RunResults]:
    """A run a day, from day ``change`` on 10 % slower."""
    draw = np.random.default_rng(9)
    scales = [
        math.exp(draw.normal(0, NOISE) + (STEP if change is not None and d >= change else 0))
        for d in range(n)
    ]
    return [results_of(run_at(d), [synthetic.case()], scale, seed=d) for d, scale in enumerate(scales)]


def test_a_line_goes_by_time_and_knows_its_commits() -> None:
    runs = days(24, change=12)
    (line,) = history(runs[::-1])
    assert line.what == "train_step"
    assert [point.run for point in line.points] == [f"run-{day:02}" for day in range(24)]
    assert [point.commit[:2] for point in line.points] == [f"{day:02}" for day in range(24)]
    assert [point.dirty for point in line.points] == [day == 3 for day in range(24)]
    samples = [each.timings[line.case.key, "train_step"] for each in runs]
    assert [point.interval for point in line.points] == [estimate(each) for each in samples]
    assert [point.ratio for point in line.points[1:]] == [
        quotient(now, before) for before, now in pairwise(summarize(Stack(samples)))
    ]
    (change,) = line.changes
    assert abs(change.index - 12) <= 1
    assert change.after / change.before == pytest.approx(1.10, abs=0.03)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"machine": {"cpu": "another"}}, "cpu Example CPU @ 2.5 GHz then, another now"),
        ({"protocol": PROTOCOL + 1}, f"protocol {PROTOCOL} then, {PROTOCOL + 1} now"),
        ({"torch": "2.14.0"}, "torch: torch 2.13.0 then, 2.14.0 now"),
    ],
)
def test_no_line_goes_through_two_machines(other: dict[str, Any], said: str) -> None:
    case = synthetic.case(backend="torch")
    runs = [results_of(run_at(day, **(dict(other) if day % 2 else {})), [case], seed=day) for day in range(6)]
    first, second = history(runs)
    assert [point.run for point in first.points] == ["run-00", "run-02", "run-04"]
    assert [point.run for point in second.points] == ["run-01", "run-03", "run-05"]
    assert (first.apart, second.apart) == ((), (said,))
    assert second.points[0].ratio is None


def test_a_run_without_the_value_is_a_gap() -> None:
    runs = days(3)
    failed = synthetic.record(synthetic.case(), "crashed")
    runs[1] = replace(runs[1], records=(failed,), blocks=())
    (line,) = history(runs)
    assert [point.status for point in line.points] == ["ok", "crashed", "ok"]
    assert [point.value is None for point in line.points] == [False, True, False]
    before, now = summarize(Stack([runs[day].timings[line.case.key, "train_step"] for day in (0, 2)]))
    assert line.points[2].ratio == quotient(now, before)
    assert history([replace(each, records=(failed,), blocks=()) for each in runs]) == ()


def test_a_run_that_does_not_tell_its_versions_joins_no_two_lines() -> None:
    case = synthetic.case(backend="torch")
    runs = [results_of(run_at(day, torch=f"2.{13 + day // 2}"), [case], seed=day) for day in range(3)]
    runs[1] = replace(runs[1], run=replace(runs[1].run, environments={}))
    first, second = history(runs)
    assert [point.run for point in first.points] == ["run-00", "run-01"]
    assert [point.run for point in second.points] == ["run-02"]
    assert second.apart == ("torch: torch 2.13 then, 2.14 now",)


def test_other_quantities() -> None:
    runs = days(12)
    for day, results in enumerate(runs):
        record = replace(results.records[0], memory={"host_peak_bytes": 100 << 20 if day < 6 else 150 << 20})
        runs[day] = replace(results, records=(record,))
    (line,) = history(runs, "host_peak_bytes")
    (change,) = line.changes
    assert (change.index, change.before, change.after) == (
        6,
        pytest.approx(100 << 20),
        pytest.approx(150 << 20),
    )
    (scores,) = history(runs, "score")
    score = runs[0].records[0].score
    assert score is not None
    assert scores.points[0].value == pytest.approx(np.mean(score.values))
    assert scores.changes == ()
    assert {"train_step", "first_forward_s", "host_peak_bytes", "compilations", "score"} <= {*measured(runs)}
    assert history(runs, "forward", keys={"none"}) == ()


@pytest.fixture
def typed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    for results in days(14, change=7):
        with create(tmp_path / "results" / results.run.name, results.run) as writer:
            for record in results.records:
                writer.record(record)
            for block in results.blocks:
                writer.block(block)

    def type_words(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["rnnbench", "history", *words])
        monkeypatch.setenv("COLUMNS", "160")
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return type_words


def test_the_command(typed: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    key = synthetic.case().key
    status, out, err = typed()
    assert (status, err) == (0, "")
    assert key in out
    assert "weak evidence" in out
    _, out, _ = typed("--case", "lstm")
    (change,) = [line for line in out.splitlines() if "◀" in line]
    assert any(f"run-{day:02}" in change for day in (6, 7, 8))
    assert out.count("run-") == 14
    found = json.loads(typed("results", "--case", "lstm", "--phase", "forward", "--json")[1])
    (line,) = found["lines"]
    assert (line["case"], line["what"], line["unit"]) == (key, "forward", "s")
    assert len(line["points"]) == 14
    assert line["changes"][0]["ratio"] == pytest.approx(1.1, abs=0.04)
    assert "weak evidence" in found["evidence"]
    (tmp_path / "results" / "run-05" / "run.json").write_text("{")
    status, out, err = typed("--metric", "score")
    assert (status, err.count("run-05")) == (0, 1)
    assert digits(fmean(synthetic.record(synthetic.case()).score.values)) in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--case", "lstm-H46"),
            "--case lstm-H46: none of 1 case has this in its key. Nearest: copy-T20-lstm",
        ),
        (("--phase", "forwards"), 'no phase "forwards". Did you mean "forward"?'),
        (("--phase", "gradients"), "--phase gradients: no case that is asked for has it. Measured of them: "),
        (("--metric", "scores"), 'no metric "scores". Did you mean "score"?'),
        (("--metric", "score", "--phase", "forward"), "--phase: is a metric already"),
        (("result",), "no such run, folder or zip. Did you mean"),
    ],
)
def test_a_wrong_request_is_told(
    words: tuple[str, ...], said: str, typed: Callable[..., tuple[int, str, str]]
) -> None:
    status, out, err = typed(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err
