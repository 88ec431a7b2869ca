"""Verdicts between runs, and between two sides of one, as values: no file is read here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnbench.compare import Comparison, Row, compare_axis, compare_runs, confirm
from rnnbench.compare.outcome import FAIL_ON, Verdict
from rnnbench.compare.pairing import AXES, PAIRED
from rnnbench.compare.words import explain_exit
from rnnbench.compare.writing import encode
from rnnbench.errors import RequestError
from rnnbench.records import STATUSES, Block, Case, Curve, Record, Score, Status
from rnnbench.results.reading import RunResults
from rnnbench.thresholds import Bounds, Special, Thresholds

TORCH = synthetic.case(measure=("forward", "memory"))
GRU = replace(TORCH, cell="gru")


def results(*records: Record, times: Mapping[Case, float] | None = None, **changes: object) -> RunResults:
    """A run in which each case of ``times`` took so many seconds a call, give or take half a percent."""
    blocks = [
        Block(
            case.key, "forward", process, number, 0, 1, seconds * (1 + 0.004 * ((process + number) % 3 - 1))
        )
        for case, seconds in (times or {}).items()
        for process in range(5)
        for number in range(4)
    ]
    return RunResults(synthetic.run(**changes), records, tuple(blocks))


def one(seconds: float = 0.01, status: Status = "ok", case: Case = TORCH, **changes: Any) -> RunResults:
    """A run of one case."""
    times = {case: seconds} if status == "ok" else {}
    return results(synthetic.record(case, status, **changes), times=times)


def verdicts(found: Comparison) -> dict[str, Verdict]:
    return {row.what: row.verdict for row in found.rows}


def row(verdict: Verdict, kind: Any = "time", **changes: Any) -> Row:
    return Row(TORCH, TORCH, kind, "forward", verdict, **changes)


# two runs


def test_a_run_against_itself_has_nothing_to_tell() -> None:
    run = synthetic.results(lengths=(20,))
    found = compare_runs(run, run)
    assert {row.verdict for row in found.rows} == {"within_spread", "unchanged"}
    assert [*found.vanished, *found.new, *found.newly_failing, *found.newly_ok] == []
    assert len(found.still_failing) == sum(
        record.status not in ("ok", "skipped", "unsupported") for record in run.records
    )
    assert found.exit_code(("suspect", "inconclusive")) == 0


def test_stored_times_are_at_most_suspect_however_much_they_differ() -> None:
    for factor in (1.2, 5.0, 1000.0):
        found = compare_runs(one(0.01), one(0.01 * factor))
        (time,) = (row for row in found.rows if row.kind == "time")
        assert time.verdict == "suspect"
        assert time.ratio is not None
        assert time.ratio.value == pytest.approx(factor)
        assert (found.exit_code(), found.exit_code(["suspect"])) == (0, 4)
    assert not found.live


def test_a_stored_baseline_with_times_20_percent_lower_is_suspect() -> None:
    assert verdicts(compare_runs(one(0.008), one(0.010)))["forward"] == "suspect"
    assert verdicts(compare_runs(one(0.009), one(0.010)))["forward"] == "within_spread"


def test_a_suspect_that_became_faster_fails_nothing() -> None:
    found = compare_runs(one(0.010), one(0.008))
    assert verdicts(found)["forward"] == "suspect"
    assert found.exit_code(["suspect"]) == 0


def test_the_spread_of_earlier_runs_decides_where_it_is_known() -> None:
    quiet = [one(0.010 * factor) for factor in (1.0, 1.002, 0.998, 1.001)]
    noisy = [one(0.010 * factor) for factor in (1.0, 1.2, 0.8, 1.1)]
    base, head = one(0.010), one(0.0108)
    assert verdicts(compare_runs(base, head))["forward"] == "within_spread"
    (found,) = (r for r in compare_runs(base, head, history=quiet).rows if r.kind == "time")
    # logs 0, .002, -.002, .001: deviation .00171; t(0.995; 3) = 5.841
    assert (found.verdict, found.bound) == (
        "suspect",
        pytest.approx(math.expm1(5.841 * math.sqrt(2) * 0.00171), rel=0.01),
    )
    assert found.text == "4 runs of it here differ by up to 1.4%"
    assert verdicts(compare_runs(base, one(0.013), history=noisy))["forward"] == "within_spread"
    # two runs, or those of another machine, tell nothing
    assert verdicts(compare_runs(base, head, history=quiet[:2]))["forward"] == "within_spread"
    elsewhere = [replace(run, run=replace(run.run, machine={"cpu": "another"})) for run in quiet]
    assert verdicts(compare_runs(base, head, history=elsewhere))["forward"] == "within_spread"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"machine": synthetic.run().machine | {"cpu": "Other CPU"}},
         "cpu Example CPU @ 2.5 GHz then, Other CPU now"),
        ({"machine": synthetic.run().machine | {"python": "3.12.1"}}, "python 3.11.7 then, 3.12.1 now"),
        ({"protocol": 2}, "protocol 1 then, 2 now"),
        ({"environments": {"torch": {"versions": {"torch": "2.14.0", "rnnbench-torch": "0.1.0"}}}},
         "torch: torch 2.13.0 then, 2.14.0 now"),
        ({"environments": {"torch": {"versions": {"torch": "2.13.0"}}}},
         "torch: rnnbench-torch 0.1.0 then, absent now"),
        ({"environments": {"torch": {"settings": {"mkldnn": "off"}}}}, "torch: mkldnn on then, off now"),
    ],
)  # fmt: skip
def test_unlike_terms_are_incomparable_and_named_unless_forced(change: dict[str, Any], said: str) -> None:
    head = one(0.02, parameters=1)
    head = replace(head, run=replace(head.run, **change))
    found = compare_runs(one(0.01), head)
    assert [(row.verdict, row.text) for row in found.rows] == [("incomparable", said)]
    assert (found.exit_code(), found.comparable) == (5, False)
    forced = compare_runs(one(0.01), head, force=True)
    assert verdicts(forced)["forward"] == "suspect"
    assert forced.forced
    assert forced.exit_code() == 0


@pytest.mark.parametrize(
    "change",
    [{"machine": synthetic.run().machine | {"load": 3.0}}, {"machine": {}}, {"environments": {}}],
)
def test_moods_and_what_only_one_side_knows_are_not_held_against_a_run(change: dict[str, Any]) -> None:
    head = one()
    head = replace(head, run=replace(head.run, **change))
    assert compare_runs(one(), head).comparable


def test_memory_of_a_machine_may_differ_a_little() -> None:
    machine = synthetic.run().machine
    for share, comparable in ((1.01, True), (1.5, False)):
        bytes_ = int(machine["memory_bytes"] * share)
        head = replace(one(), run=synthetic.run(machine=machine | {"memory_bytes": bytes_}))
        assert compare_runs(one(), head).comparable is comparable


def test_other_threads_and_dtypes_are_the_same_question_on_other_terms() -> None:
    head = one(case=replace(TORCH, threads=4, dtype="float64"))
    found = compare_runs(one(), head)
    assert [row.text for row in found.rows] == ["threads 1 then, 4 now; dtype float32 then, float64 now"]
    assert not found.vanished
    assert verdicts(compare_runs(one(), head, force=True))["forward"] == "within_spread"


def test_the_environment_of_the_same_question_may_have_another_name() -> None:
    head = one(case=replace(TORCH, env="head"))
    assert verdicts(compare_runs(one(), head))["forward"] == "within_spread"
    both = results(
        synthetic.record(TORCH), synthetic.record(replace(TORCH, env="old")),
        times={TORCH: 0.01, replace(TORCH, env="old"): 0.02},
    )  # fmt: skip
    found = compare_runs(one(), both)
    assert verdicts(found)["forward"] == "within_spread"
    assert [change.case.env for change in found.new] == ["old"]


# statuses


@pytest.mark.parametrize(
    ("then", "now", "word", "code"),
    [
        ("ok", "failed", "newly_failing", 6),
        ("ok", "mismatch", "newly_failing", 6),
        ("skipped", "crashed", "newly_failing", 6),
        ("ok", "skipped", "vanished", 5),
        ("ok", "unsupported", "vanished", 5),
        ("timeout", "ok", "newly_ok", 5),
        ("skipped", "ok", "newly_ok", 5),
        ("failed", "timeout", "still_failing", 5),
        ("failed", "skipped", "still_failing", 5),
    ],
)
def test_a_status_that_changes_is_named(then: Status, now: Status, word: str, code: int) -> None:
    found = compare_runs(one(status=then), one(status=now))
    (change,) = getattr(found, word)
    assert (change.base, change.head) == (then, now)
    assert found.exit_code() == code


def test_what_failed_before_and_fails_now_does_not_hide_that_the_rest_is_fine() -> None:
    base = results(synthetic.record(TORCH), synthetic.record(GRU, "failed"), times={TORCH: 0.01})
    assert compare_runs(base, base).exit_code() == 0


def test_cases_that_vanish_and_new_ones_are_named() -> None:
    both = results(synthetic.record(TORCH), synthetic.record(GRU), times={TORCH: 0.01, GRU: 0.01})
    found = compare_runs(both, one())
    assert [(change.case, change.base, change.head) for change in found.vanished] == [(GRU, "ok", "")]
    assert found.exit_code() == 5
    assert explain_exit(found, 5) == "1 cases or phases vanished"
    found = compare_runs(one(), both)
    assert [change.case for change in found.new] == [GRU]
    assert found.exit_code() == 0
    failing = results(synthetic.record(TORCH), synthetic.record(GRU, "failed"), times={TORCH: 0.01})
    assert compare_runs(one(), failing).exit_code() == 6


def test_a_phase_that_was_measured_and_is_no_longer_has_vanished() -> None:
    head = results(synthetic.record(TORCH))
    found = compare_runs(one(), head)
    assert [change.what for change in found.vanished] == ["forward"]
    assert found.exit_code() == 5
    without = results(synthetic.record(TORCH, memory={}), times={TORCH: 0.01})
    found = compare_runs(one(), without)
    assert found.vanished == ()  # a peak is unknown now and then, and that is no vanished case
    assert [(row.verdict, row.text) for row in found.rows if row.kind == "memory"] == [
        ("inconclusive", "one side's peak is not known")
    ]


def test_what_was_asked_for_and_measured_on_neither_side_is_no_pass() -> None:
    bare = results(synthetic.record(TORCH, memory={}))
    found = compare_runs(bare, bare)
    assert {(row.kind, row.verdict) for row in found.rows if row.kind != "count"} == {
        ("time", "incomparable"),
        ("memory", "incomparable"),
    }
    assert any(row.kind == "count" and row.verdict == "unchanged" for row in found.rows)
    assert not found.comparable
    assert found.exit_code() == 5


def test_cases_that_both_sides_skipped_are_said() -> None:
    skipped = replace(one(), records=(*one().records, synthetic.record(GRU, "skipped", reason="no torch")))
    found = compare_runs(skipped, skipped)
    assert found.notes[0] == "1 case was measured on neither side: skipped: no torch"
    assert found.exit_code() == 0


@pytest.mark.parametrize("head", [results(), one(case=GRU), one(status="skipped")])
def test_without_a_single_comparable_case_it_never_passes(head: RunResults) -> None:
    for base in (one(), results()):
        found = compare_runs(base, head)
        assert found.exit_code() == 5
        assert not found.comparable


# counts


@pytest.mark.parametrize(
    ("changes", "what", "verdict"),
    [
        ({"parameters": 20_001}, "parameters", "regression"),
        ({"parameters": 19_999}, "parameters", "improvement"),
        ({"compilations": 3}, "compilations", "regression"),
        ({"compilations": 1}, "compilations", "improvement"),
        ({"memory": {"host_peak_bytes": int(1.09 * (512 << 20))}}, "host_peak_bytes", "unchanged"),
        ({"memory": {"host_peak_bytes": int(1.11 * (512 << 20))}}, "host_peak_bytes", "regression"),
        ({"memory": {"host_peak_bytes": int(0.80 * (512 << 20))}}, "host_peak_bytes", "improvement"),
    ],
)
def test_counts_are_exact_and_memory_has_a_tolerance(
    changes: dict[str, Any], what: str, verdict: Verdict
) -> None:
    found = compare_runs(one(), one(**changes))
    assert verdicts(found)[what] == verdict
    assert found.exit_code() == (3 if verdict == "regression" else 0)


def test_a_megabyte_of_memory_is_nobodys_doing() -> None:
    small, more, much = ({"host_peak_bytes": size << 20} for size in (1, 2, 3))
    assert verdicts(compare_runs(one(memory=small), one(memory=more)))["host_peak_bytes"] == "unchanged"
    assert verdicts(compare_runs(one(memory=small), one(memory=much)))["host_peak_bytes"] == "regression"


# scores


def scored(
    finals: Sequence[float], case: Case = TORCH, *, trained_on: Case | None = None, **changes: Any
) -> Record:
    curves = tuple(Curve(seed, (10,), (value,), (1.0,), "steps") for seed, value in enumerate(finals))
    score = Score("recall", True, (trained_on or case).key, curves, 0.125, follows=0.001)
    return synthetic.record(case, score=replace(score, **changes))


@pytest.mark.parametrize(
    ("finals", "verdict", "code"),
    [
        ((0.90, 0.92, 0.91), "unchanged", 0),
        ((0.50, 0.55, 0.52), "regression", 6),
        ((0.98, 0.99, 0.985), "improvement", 0),
        ((0.90, 0.92, 0.60), "inconclusive", 0),
        ((0.885, 0.905, 0.90), "inconclusive", 0),
        ((0.40,), "inconclusive", 0),
    ],
)
def test_scores_are_paired_by_seed_with_a_margin(
    finals: tuple[float, ...], verdict: Verdict, code: int
) -> None:
    # the margin is 2 % of the way from 0.125 to 1, 0.0175
    found = compare_runs(results(scored((0.90, 0.92, 0.91))), results(scored(finals)))
    assert verdicts(found)["recall"] == verdict
    assert found.exit_code() == code
    (score,) = (row for row in found.rows if row.kind == "score")
    assert score.bound == pytest.approx(0.0175)


def test_pairing_by_seed_sees_what_the_spread_of_seeds_hides() -> None:
    base, head = (0.20, 0.55, 0.90), (0.17, 0.52, 0.87)
    found = compare_runs(results(scored(base)), results(scored(head)))
    assert verdicts(found)["recall"] == "regression"
    shuffled = compare_runs(results(scored(base)), results(scored(head[::-1])))
    assert verdicts(shuffled)["recall"] == "inconclusive"


def test_a_lower_error_is_better() -> None:
    base = results(scored((0.5, 0.5, 0.5), metric="rmse", higher_is_better=False, trivial=1.0))
    head = results(scored((0.6, 0.61, 0.6), metric="rmse", higher_is_better=False, trivial=1.0))
    assert verdicts(compare_runs(base, head))["rmse"] == "regression"
    assert verdicts(compare_runs(head, base))["rmse"] == "improvement"


def test_a_network_is_judged_once_whoever_was_trained() -> None:
    numpy = replace(TORCH, backend="numpy")
    base = results(scored((0.9, 0.9, 0.9)), scored((0.9, 0.9, 0.9), numpy, trained_on=TORCH))
    head = results(scored((0.5, 0.5, 0.5), trained_on=numpy), scored((0.5, 0.5, 0.5), numpy))
    assert [row.kind for row in compare_runs(base, head).rows].count("score") == 1
    assert compare_runs(base, head).exit_code() == 6


def test_scores_of_two_metrics_and_cut_short_trainings_are_not_judged() -> None:
    base, head = results(scored((0.9, 0.9, 0.9))), results(scored((0.1, 0.1, 0.1), metric="accuracy"))
    assert verdicts(compare_runs(base, head))["accuracy"] == "incomparable"
    curves = tuple(Curve(seed, (10,), (0.1,), (1.0,), "budget") for seed in range(3))
    found = compare_runs(base, results(scored((), curves=curves)))
    assert verdicts(found)["recall"] == "inconclusive"


# along an axis


def in_turns(axis: str, values: Sequence[Any], factors: Sequence[float], **changes: Any) -> RunResults:
    cases = [replace(TORCH, **{axis: value}) for value in values]
    records = [synthetic.record(case, **changes) for case in cases]
    return results(*records, times=dict(zip(cases, (0.01 * f for f in factors), strict=True)))


def drifting_in_turns(head_only: bool) -> RunResults:
    """Base and head take equally long; over the last 8 of 20 rounds the head, or both, are 30 % slower."""
    base, head = (replace(TORCH, env=env) for env in ("base", "head"))
    blocks = [
        Block(case.key, "forward", process, at, 0, 1, slow * (1 + 0.004 * ((process + at) % 3 - 1)))
        for case in (base, head)
        for process in range(6)
        for at in range(20)
        for slow in (0.013 if at >= 12 and not (head_only and case is base) else 0.01,)
    ]
    return RunResults(synthetic.run(), (synthetic.record(base), synthetic.record(head)), tuple(blocks))


def test_a_side_that_drifts_is_not_judged_as_if_it_were_steady() -> None:
    (time,) = (r for r in compare_axis(drifting_in_turns(True), "env", "base").rows if r.kind == "time")
    assert time.verdict == "inconclusive"
    assert time.text == "drift: the ratio changes by +31% over the rounds"
    (time,) = (r for r in compare_axis(drifting_in_turns(False), "env", "base").rows if r.kind == "time")
    assert (time.verdict, time.text) == ("unchanged", "")  # the machine slowed both down


@pytest.mark.parametrize(
    ("axis", "values"),
    [("env", ("base", "head")), ("backend", ("torch", "jax")), ("implementation", ("native", "portable")),
     ("device", ("cpu", "cuda"))],
)  # fmt: skip
@pytest.mark.parametrize(
    ("factor", "verdict", "code"), [(1.05, "regression", 3), (0.95, "improvement", 0), (1.0, "unchanged", 0)]
)
def test_what_was_timed_in_turns_is_judged(
    axis: str, values: tuple[str, str], factor: float, verdict: Verdict, code: int
) -> None:
    found = compare_axis(in_turns(axis, values, (1.0, factor)), axis, values[0])
    assert found.live
    assert verdicts(found)["forward"] == verdict
    (time,) = (row for row in found.rows if row.kind == "time")
    assert time.ratio is not None
    assert time.ratio.value == pytest.approx(factor)
    assert time.detectable == pytest.approx(0.01)
    assert found.exit_code() == code


def test_axes_that_are_judged_are_those_that_are_timed_in_turns() -> None:
    others = {"task": "adding", "cell": "gru", "length": 7, "hidden": 7, "layers": 2, "bidirectional": "sum"}
    others |= {"embedding": 7, "batch": 7, "init": "uniform", "forget_bias": 7.0, "dtype": "float64"}
    others |= {"threads": 7, "projection": 7, "gain": 7.0, "residual": True, "norm": "layer"}
    others |= {"attention": "bahdanau", "input_feeding": True}
    others |= {"dropout": 0.7, "dropout_kind": "variational", **dict.fromkeys(PAIRED, "another")}
    assert set(others) == set(AXES)
    assert {name for name in AXES if replace(TORCH, **{name: others[name]}).group == TORCH.group} == set(
        PAIRED
    )


def test_two_processes_that_disagree_are_inconclusive() -> None:
    base, head = (replace(TORCH, env=env) for env in ("base", "head"))
    blocks = [
        Block(case.key, "forward", process, 0, 0, 1, 0.01 * factor)
        for case, factors in ((base, (1.0, 1.0)), (head, (1.0, 1.2)))
        for process, factor in enumerate(factors)
    ]
    run = RunResults(synthetic.run(), (synthetic.record(base), synthetic.record(head)), tuple(blocks))
    found = compare_axis(run, "env", "base")
    assert verdicts(found)["forward"] == "inconclusive"
    assert (found.exit_code(), found.exit_code(["inconclusive"])) == (0, 4)
    alone = replace(run, blocks=tuple(block for block in blocks if block.process == 0))
    (time,) = (row for row in compare_axis(alone, "env", "base").rows if row.kind == "time")
    assert (time.verdict, time.text) == ("inconclusive", "one process: a screening without an interval")


@pytest.mark.parametrize(
    ("axis", "values"), [("cell", ("lstm", "gru")), ("hidden", (64, 128)), ("threads", (1, 2))]
)
def test_other_axes_are_other_work_and_no_regression(axis: str, values: tuple[Any, Any]) -> None:
    found = compare_axis(in_turns(axis, values, (1.0, 2.0)), axis, values[0])
    assert verdicts(found) == {"forward": "different"}
    assert not found.live
    assert found.exit_code(FAIL_ON) == 0
    found = compare_axis(in_turns(axis, values, (1.0, 1.0001)), axis, values[0])
    assert verdicts(found) == {"forward": "not_told_apart"}


def test_a_value_of_an_axis_may_be_given_as_text() -> None:
    found = compare_axis(in_turns("hidden", (64, 128), (1.0, 2.0)), "hidden", "64")
    assert (found.base.value, found.head.value) == ("64", "128")


def test_between_environments_all_counts_must_agree_and_between_backends_only_parameters() -> None:
    for axis, values, kinds in (
        ("env", ("base", "head"), {"parameters", "compilations", "host_peak_bytes", "forward"}),
        ("backend", ("torch", "jax"), {"parameters", "forward"}),
    ):
        assert set(verdicts(compare_axis(in_turns(axis, values, (1, 1)), axis, values[0]))) == kinds


def test_a_case_that_one_environment_lacks_has_vanished_and_one_that_a_backend_lacks_is_noted() -> None:
    gru = replace(GRU, env="base")
    run = in_turns("env", ("base", "head"), (1.0, 1.0))
    run = replace(run, records=(*run.records, synthetic.record(gru)))
    assert [change.case for change in compare_axis(run, "env", "base").vanished] == [gru]
    run = in_turns("backend", ("torch", "jax"), (1.0, 1.0))
    run = replace(run, records=(*run.records, synthetic.record(GRU)))
    found = compare_axis(run, "backend", "torch")
    assert found.exit_code() == 0
    assert found.notes == (
        "1 cases have no partner that differs in backend alone, or only some phases of one",
    )


def test_a_quoted_score_is_not_compared_with_itself() -> None:
    base, head = (replace(TORCH, env=env) for env in ("base", "head"))
    run = results(scored((0.9, 0.9, 0.9), base), scored((0.9, 0.9, 0.9), head, trained_on=base))
    assert "recall" not in verdicts(compare_axis(run, "env", "base"))
    run = results(scored((0.9, 0.9, 0.9), base), scored((0.1, 0.1, 0.1), head))
    assert compare_axis(run, "env", "base").exit_code() == 6


@pytest.mark.parametrize(
    ("axis", "value", "message"),
    [
        ("backnd", "torch", '--by: no axis "backnd". Did you mean "backend"?'),
        ("backend", "troch", '--base: no case has backend "troch". Did you mean "torch"?'),
        ("hidden", "7", '--base: no case has hidden "7". Allowed: 64.'),
    ],
)
def test_an_unknown_axis_or_value_is_refused(axis: str, value: str, message: str) -> None:
    with pytest.raises(RequestError) as error:
        compare_axis(one(), axis, value)
    assert str(error.value) == message


def test_an_axis_with_one_value_compares_nothing() -> None:
    assert compare_axis(one(), "backend", "torch").exit_code() == 5


# confirmation and exit


def test_what_is_flagged_counts_only_if_fresh_processes_flag_it_again() -> None:
    first = compare_axis(in_turns("env", ("base", "head"), (1.0, 1.06)), "env", "base")
    again = compare_axis(in_turns("env", ("base", "head"), (1.0, 1.04)), "env", "base")
    calm = compare_axis(in_turns("env", ("base", "head"), (1.0, 1.0)), "env", "base")
    assert [row.what for row in first.flagged] == ["forward"]
    found = confirm(first, again)
    assert found.confirmed
    assert found.exit_code() == 3
    (time,) = (row for row in found.rows if row.kind == "time")
    # the first was chosen for being large; the second was not
    assert time.ratio is not None
    assert time.ratio.value == pytest.approx(1.04)
    (time,) = (row for row in confirm(first, calm).rows if row.kind == "time")
    assert time.verdict == "unchanged"
    assert time.text == "regression once, not found again by fresh processes"
    assert confirm(first, calm).exit_code() == 0


def test_a_regression_that_is_an_improvement_the_second_time_is_neither() -> None:
    first = compare_axis(in_turns("env", ("base", "head"), (1.0, 1.06)), "env", "base")
    faster = compare_axis(in_turns("env", ("base", "head"), (1.0, 0.94)), "env", "base")
    assert verdicts(confirm(first, faster))["forward"] == "inconclusive"
    nothing = replace(faster, rows=())
    assert verdicts(confirm(first, nothing))["forward"] == "inconclusive"


def test_a_case_that_fails_when_it_is_measured_again_is_newly_failing() -> None:
    first = compare_axis(in_turns("env", ("base", "head"), (1.0, 1.06)), "env", "base")
    base, head = (replace(TORCH, env=env) for env in ("base", "head"))
    again = results(synthetic.record(base), synthetic.record(head, "crashed"), times={base: 0.01})
    found = confirm(first, compare_axis(again, "env", "base"))
    assert [change.case for change in found.newly_failing] == [head]
    assert found.exit_code() == 6


def test_what_was_not_flagged_and_what_does_not_vary_needs_no_confirmation() -> None:
    base, head = (replace(TORCH, env=env) for env in ("base", "head"))
    records = synthetic.record(base), synthetic.record(head, parameters=1, compilations=9)
    first = compare_axis(results(*records, times={base: 0.01, head: 0.01}), "env", "base")
    assert confirm(first, replace(first, rows=())).rows == first.rows


@pytest.mark.parametrize(
    ("rows", "lists", "code"),
    [
        ([row("unchanged")], {}, 0),
        ([row("improvement")], {}, 0),
        ([row("regression")], {}, 3),
        ([row("regression", "count")], {}, 3),
        ([row("regression", "score")], {}, 6),
        ([row("regression"), row("regression", "score")], {}, 6),
        ([row("regression")], {"newly_failing": True}, 6),
        ([row("regression")], {"vanished": True}, 3),
        ([row("unchanged")], {"vanished": True}, 5),
        ([row("inconclusive")], {"vanished": True}, 5),
        ([row("incomparable")], {}, 5),
        ([row("incomparable"), row("unchanged")], {}, 4),
        ([row("inconclusive")], {}, 4),
        ([row("within_spread")], {}, 0),
        ([], {}, 5),
        ([], {"newly_ok": True}, 5),
    ],
)  # fmt: skip
def test_the_gravest_exit_status_wins(rows: list[Row], lists: dict[str, bool], code: int) -> None:
    run = compare_runs(one(), one(status="failed"))
    change = run.newly_failing
    found = replace(run, rows=tuple(rows), **({"newly_failing": ()} | dict.fromkeys(lists, change)))
    if "vanished" in lists:
        found = replace(found, vanished=tuple(replace(each, head="skipped") for each in change))
    assert found.exit_code(FAIL_ON) == code
    assert found.exit_code() == (0 if code == 4 else code)
    assert explain_exit(found, found.exit_code())


def test_an_unknown_word_to_fail_on_is_refused() -> None:
    with pytest.raises(RequestError, match=r'^--fail-on: no verdict "suspekt". Did you mean "suspect"\?$'):
        compare_runs(one(), one()).exit_code(["suspekt"])


# thresholds


def test_thresholds_are_those_of_the_heads_suite_unless_given() -> None:
    loose = Thresholds(Bounds(), (Special({"cell": ("lstm",)}, {"regression": 0.10}),))
    run = in_turns("env", ("base", "head"), (1.0, 1.06))
    assert verdicts(compare_axis(run, "env", "base"))["forward"] == "regression"
    assert verdicts(compare_axis(run, "env", "base", thresholds=loose))["forward"] == "unchanged"
    kept = replace(run, run=replace(run.run, thresholds=loose))
    (time,) = (row for row in compare_axis(kept, "env", "base").rows if row.kind == "time")
    assert (time.verdict, time.bound) == ("unchanged", 0.10)
    stored = Thresholds(Bounds(stored=0.5, peak_bytes=1.0))
    head = one(0.014, memory={"host_peak_bytes": 900 << 20})
    assert set(verdicts(compare_runs(one(), head, thresholds=stored)).values()) == {
        "within_spread",
        "unchanged",
    }


# the inverse

statuses = st.sampled_from(STATUSES)
factors = st.sampled_from([0.5, 0.8, 0.9, 0.97, 0.995, 1.0, 1.004, 1.02, 1.1, 1.3, 3.0])
TURNED = {"regression": "improvement", "improvement": "regression"}


@st.composite
def runs(draw: Any) -> RunResults:
    records, times = [], {}
    for cell in draw(st.lists(st.sampled_from(["elman", "gru", "lstm"]), unique=True)):
        status = draw(statuses)
        case = replace(TORCH, cell=cell, threads=draw(st.sampled_from([1, 1, 1, 2])))
        finals = [0.5 * draw(factors) for _ in range(draw(st.integers(1, 3)))]
        record = scored(finals, case, higher_is_better=cell == "gru") if status == "ok" else None
        records.append(
            replace(
                record,
                parameters=draw(st.integers(1, 3)),
                memory={"host_peak_bytes": draw(st.integers(0, 9 << 21))},
            )
            if record
            else synthetic.record(case, status)
        )
        if status == "ok" and draw(st.booleans()):
            times[case] = 0.01 * draw(factors)
    return results(*records, times=times)


@given(runs(), runs())
@settings(max_examples=60)
def test_comparing_backwards_is_the_inverse(a: RunResults, b: RunResults) -> None:
    forth, back = compare_runs(a, b), compare_runs(b, a)
    assert_inverse(forth, back)
    assert {each.case for each in forth.vanished if not each.head} == {
        each.case for each in back.new if not each.base
    }
    failing = [each for each in forth.newly_failing if each.base == "ok"]
    repaired = [each for each in back.newly_ok if each.base not in ("skipped", "unsupported")]
    assert len(failing) == len(repaired)


@given(factors, factors)
def test_turning_the_axis_round_is_the_inverse(a: float, b: float) -> None:
    run = in_turns("env", ("base", "head"), (a, b))
    assert_inverse(compare_axis(run, "env", "base"), compare_axis(run, "env", "head"))


def assert_inverse(forth: Comparison, back: Comparison) -> None:
    turned = {(row.case.key, row.base_case.key, row.kind, row.what): row for row in back.rows}
    assert len(turned) == len(forth.rows)
    for row in forth.rows:
        other = turned[row.key]
        if row.verdict in TURNED or other.verdict in TURNED:
            assert other.verdict == TURNED[row.verdict]
        elif {row.verdict, other.verdict} != {"unchanged", "inconclusive"}:
            assert other.verdict == row.verdict
        assert (row.base, row.head) == (other.head, other.base)
        if row.ratio is not None:
            assert other.ratio is not None
            assert row.ratio.value == pytest.approx(other.ratio.inverse.value)
        if row.gain is not None:
            assert other.gain is not None
            assert row.gain.value == pytest.approx(-other.gain.value)


# verdict.json


def test_a_verdict_is_valid_json_with_every_row_and_change() -> None:
    base, head = synthetic.results(lengths=(20,)), synthetic.results(lengths=(20,), processes=1)
    found = compare_runs(base, replace(head, records=head.records[2:]))
    content = json.loads(encode(found, ["suspect"]), parse_constant=lambda name: pytest.fail(name))
    assert content["format"] == 1
    assert content["exit"] == found.exit_code(["suspect"]) == 5
    assert len(content["rows"]) == len(found.rows)
    assert content["counts"] == {v: found.count(v) for v in {row.verdict for row in found.rows}}  # type: ignore[comparison-overlap]
    assert [change["case"] for change in content["vanished"]] == [c.case.key for c in found.vanished]
    for row in content["rows"]:
        assert content["cases"][row["case"]]["task"] in ("copy", "adding")


def test_hostile_names_do_no_harm() -> None:
    found = compare_runs(synthetic.hostile(), synthetic.hostile())
    content = json.loads(encode(found))
    assert {case["task"] for case in content["cases"].values()} == set(synthetic.HOSTILE)
