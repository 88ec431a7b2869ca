from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic

from rnnbench.records import Curve, Score
from rnnbench.results import create, open_run
from rnnbench.results.doubts import drifting, with_doubts
from rnnbench.results.reading import RunResults, read

CASE = synthetic.case(length=50)


def learned(finals: Sequence[float], stopped: str = "steps", **changes: object) -> Score:
    curves = tuple(Curve(seed, (10,), (value,), (1.0,), stopped) for seed, value in enumerate(finals))
    fields: dict[str, object] = {"trained_on": CASE.key, "trivial": 0.125, "trivial_name": "chance"}
    return Score("recall", True, curves=curves, **(fields | changes))  # type: ignore[arg-type]


def words(score: Score | None = None, **changes: object) -> list[str]:
    record = synthetic.record(CASE, score=score)
    blocks = tuple(synthetic.blocks(CASE, 1e-5, spread=0.002, **changes))  # type: ignore[arg-type]
    results = RunResults(synthetic.run(), (record,), blocks)
    return [finding.word for finding in with_doubts(results).records[0].findings]


def test_chance_by_a_hair_is_below_the_baseline() -> None:
    # the seeds of a real run that had learned nothing
    assert words(learned((0.1256, 0.1261, 0.1254))) == ["below_baseline"]
    assert words(learned((0.45, 0.47, 0.46))) == []


def test_the_finding_says_what_was_compared() -> None:
    record = synthetic.record(CASE, score=learned((0.12, 0.13, 0.14)))
    (finding,) = with_doubts(RunResults(synthetic.run(), (record,), ())).records[0].findings
    assert finding.text == "recall 0.13 does not beat chance (0.125) beyond noise: 3 seeds"


def test_one_seed_is_no_proof_either_way() -> None:
    record = synthetic.record(CASE, score=learned((0.9,)))
    (finding,) = with_doubts(RunResults(synthetic.run(), (record,), ())).records[0].findings
    assert (finding.word, finding.text.rpartition(": ")[2]) == (
        "below_baseline", "one seed, too few to tell",
    )  # fmt: skip


@pytest.mark.parametrize(
    "score",
    [
        learned((0.0, 0.01, 0.0), stopped="budget"),
        learned((0.0, 0.01, 0.0), trained_on="another", follows=None),
        learned((0.0, math.nan, 0.0)),
        learned((0.0, 0.0), trivial=None),
        None,
    ],
)
def test_what_cannot_be_judged_is_not_called_a_failure(score: Score | None) -> None:
    assert words(score) == []


def test_a_negative_control_need_not_beat_its_baseline() -> None:
    record = synthetic.record(CASE, score=learned((0.12, 0.13, 0.12)))
    control = RunResults(synthetic.run(unranked=(CASE.task,)), (record,), ())
    assert with_doubts(control).records[0].findings == ()
    open_run = replace(control, run=synthetic.run())
    assert [finding.word for finding in with_doubts(open_run).records[0].findings] == ["below_baseline"]


def test_doubts_of_times() -> None:
    assert set(words(processes=1)) == {"no_interval"}
    # two phases of the case are timed, and both drift
    assert words(rounds=20, drift=0.05) == ["drift", "drift"]
    assert words(rounds=20) == []


def test_drift_needs_a_trend_beyond_the_spread() -> None:
    rising = {p: {r: math.exp(0.02 * r + 0.001 * (-1) ** r) for r in range(20)} for p in range(3)}
    wild = {p: {r: math.exp(0.02 * r + 1.5 * (-1) ** r) for r in range(20)} for p in range(3)}
    untold, change = drifting([wild, rising])
    assert change == pytest.approx(math.expm1(0.02 * 19), rel=0.02)
    assert untold is None


def test_only_ok_records_have_doubts() -> None:
    record = synthetic.record(CASE, "diverged", score=learned((0.1, 0.1)))
    assert with_doubts(RunResults(synthetic.run(), (record,), ())).records == (record,)


def test_who_opens_a_run_gets_its_doubts_and_the_files_stay_as_they_were(tmp_path: Path) -> None:
    record = synthetic.record(CASE, score=learned((0.12, 0.13, 0.14)))
    with create(tmp_path / "run", synthetic.run()) as writer:
        writer.record(record)
    assert [finding.word for finding in open_run(tmp_path / "run").records[0].findings] == ["below_baseline"]
    assert read(tmp_path / "run").records == (record,)
