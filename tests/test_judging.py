"""What verdicts are given by: against closed forms, scipy and simulated machines whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as oracle

from rnnbench.judging import Gain, detectable, gain, judge, judge_gain, spread_between
from rnnbench.stacked import Stack
from rnnbench.stats import Interval, Samples, estimate, quotient, ratio, summarize

BOUNDS = (0.01, 0.01, 0.05)
ROUNDS, PROCESSES = 20, 10

positive = st.floats(1e-3, 1e3)
samples = st.lists(st.lists(positive, min_size=1, max_size=5), min_size=2, max_size=5).map(
    lambda processes: {number: dict(enumerate(rounds)) for number, rounds in enumerate(processes)}
)


def as_samples(table: NDArray[np.float64]) -> Samples:
    return {p: {r: float(v) for r, v in enumerate(row)} for p, row in enumerate(table)}


def on_a_shared_machine(draw: np.random.Generator, change: float) -> tuple[Samples, Samples]:
    """Base and head in turns, as measurement.md finds machines: what the machine does, it does to both.

    Common to a round: a slow drift of up to 10 %, a mood of each process (5 %), log-normal noise (8 %) and
    spikes of 30 to 200 % in a tenth of the rounds. Of a block alone: log-normal noise (2.5 %) and spikes in a
    fiftieth. Of a process and side alone: memory layout and the like (1 %).
    """
    shape = (PROCESSES, ROUNDS)
    common = draw.normal(0, 0.08, shape) + draw.normal(0, 0.05, (PROCESSES, 1))
    common += draw.uniform(-0.1, 0.1) * np.linspace(0, 1, PROCESSES * ROUNDS).reshape(shape)
    common += (draw.random(shape) < 0.1) * np.log(draw.uniform(1.3, 3.0, shape))
    sides = []
    for factor in (1.0, 1.0 + change):
        alone = draw.normal(0, 0.025, shape) + draw.normal(0, 0.01, (PROCESSES, 1))
        alone += (draw.random(shape) < 0.02) * np.log(draw.uniform(1.3, 3.0, shape))
        sides.append(as_samples(0.01 * factor * np.exp(common + alone)))
    return sides[0], sides[1]


def run_after_run(
    draw: np.random.Generator, change: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All of the base, then all of the head: each sitting, ten blocks of one process, has its own mood."""
    sides = [
        0.01 * factor * np.exp(draw.normal(0, 0.10) + draw.normal(0, 0.05, 10) + draw.exponential(0.04, 10))
        for factor in (1.0, 1.0 + change)
    ]
    return sides[0], sides[1]


def unpaired(ours: Samples, theirs: Samples) -> Interval:
    one, other = summarize(Stack([ours, theirs]))
    return quotient(one, other)


def share_flagged(change: float, runs: int, flagged: Callable[[Samples, Samples], bool]) -> float:
    found = sum(
        flagged(*on_a_shared_machine(np.random.default_rng([7, seed]), change)) for seed in range(runs)
    )
    return found / runs


def test_the_rule_holds_its_error_rates_and_others_do_not() -> None:
    def ours(base: Samples, head: Samples) -> bool:
        between = ratio(head, base)
        assert between is not None
        return judge(between, *BOUNDS) in ("regression", "improvement")

    assert share_flagged(0.0, 600, ours) <= 0.01
    assert share_flagged(0.05, 200, ours) >= 0.95
    # negative controls: the same code, run after run, and the rules of other tools
    sittings = [run_after_run(np.random.default_rng([8, seed]), 0.0) for seed in range(300)]
    assert np.mean([abs(math.log(b.min() / a.min())) > math.log(1.05) for a, b in sittings]) > 0.5
    assert np.mean([abs(math.log(np.median(b) / np.median(a))) > math.log(1.05) for a, b in sittings]) > 0.5
    assert np.mean([oracle.mannwhitneyu(a, b).pvalue < 0.01 for a, b in sittings]) > 0.4


def test_confirmation_by_fresh_processes_squares_a_false_alarm() -> None:
    # one-sided 99 % bounds without a threshold flag 2 %; twice in a row, the same way, at most 0.1 %
    def flagged(seed: int) -> str:
        base, head = on_a_shared_machine(np.random.default_rng([9, seed]), 0.0)
        between = ratio(head, base, confidence=0.98)
        assert between is not None
        return judge(between, 0.0, 0.0, 0.05)

    alarms = [flagged(seed) for seed in range(800)]
    once = [seed for seed, verdict in enumerate(alarms) if verdict in ("regression", "improvement")]
    assert 0.005 < len(once) / 800 < 0.04
    assert sum(flagged(10_000 + seed) == alarms[seed] for seed in once) <= 1


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.0101, 1.03, "regression"),
        (1.0099, 1.03, "unchanged"),
        (1.0099, 1.0501, "inconclusive"),
        (0.97, 0.9900, "improvement"),
        (0.97, 0.9902, "unchanged"),
        (0.90, 1.0499, "unchanged"),
        (0.90, 1.0501, "inconclusive"),
        (1.02, 30.0, "regression"),
        (None, None, "inconclusive"),
    ],
)
def test_verdicts_change_at_the_bounds_of_the_specification(
    low: float | None, high: float | None, verdict: str
) -> None:
    value = 1.0 if low is None or high is None else math.sqrt(low * high)
    assert judge(Interval(value, low, high, 10), *BOUNDS) == verdict


def test_what_is_no_regression_by_its_threshold_is_unchanged() -> None:
    # a threshold above 5 %: the interval lies below it as a whole
    assert judge(Interval(1.06, 1.05, 1.07, 10), 0.10, 0.01, 0.05) == "unchanged"


@given(samples, samples)
def test_verdicts_invert(a: Samples, b: Samples) -> None:
    turned = {"regression": "improvement", "improvement": "regression"}
    for forth, back in ((ratio(a, b), ratio(b, a)), (unpaired(a, b), unpaired(b, a))):
        assert forth is not None
        assert back is not None
        assert forth.value == pytest.approx(back.inverse.value, rel=1e-9)
        if any(
            abs(bound - edge) < 1e-9
            for each in (forth, back)
            for bound in (each.low or 0.0, each.high or 0.0)
            for edge in (1.01, 1 / 1.01)
        ):
            continue
        verdicts = judge(forth, *BOUNDS), judge(back, *BOUNDS)
        if verdicts[0] in turned or verdicts[1] in turned:
            assert verdicts[1] == turned[verdicts[0]]


@given(samples, samples, positive)
def test_a_unit_changes_no_verdict(a: Samples, b: Samples, unit: float) -> None:
    def scaled(each: Samples) -> Samples:
        return {p: {r: v * unit for r, v in rounds.items()} for p, rounds in each.items()}

    for between in (ratio, unpaired):
        before, after = between(a, b), between(scaled(a), scaled(b))
        assert before is not None
        assert after is not None
        assert after.value == pytest.approx(before.value, rel=1e-9)
        assert (after.low is None) == (before.low is None)
        if before.low is not None and before.low > 1e-200:
            assert after.low == pytest.approx(before.low, rel=1e-6)


@given(samples)
def test_the_order_of_rounds_and_processes_changes_nothing(each: Samples) -> None:
    turned = {p: dict(reversed(rounds.items())) for p, rounds in reversed(each.items())}
    assert ratio(turned, each) == ratio(each, each)
    assert unpaired(turned, each).value == pytest.approx(1.0)


def test_a_quotient_is_welchs() -> None:
    draw = np.random.default_rng(3)
    a, b = draw.lognormal(0.1, 0.02, (4, 7)), draw.lognormal(0.0, 0.2, (9, 7))
    one, other = np.log(np.median(a, axis=1)), np.log(np.median(b, axis=1))
    expected = oracle.ttest_ind(one, other, equal_var=False).confidence_interval(0.99)
    found = unpaired(as_samples(a), as_samples(b))
    assert found.value == pytest.approx(math.exp(one.mean() - other.mean()))
    assert found.low == pytest.approx(math.exp(expected.low))
    assert found.high == pytest.approx(math.exp(expected.high))
    assert found.processes == 4


def test_a_quotient_of_single_processes_has_no_interval_and_of_none_is_an_error() -> None:
    assert unpaired({0: {0: 2.0}}, {0: {0: 1.0}, 1: {0: 1.0}}) == Interval(2.0, None, None, 1)
    exact = {0: {0: 1.0}, 1: {0: 1.0}}
    assert unpaired(exact, exact) == Interval(1.0, 1.0, 1.0, 2)
    with pytest.raises(ValueError, match="nothing was measured"):
        unpaired({}, exact)
    assert summarize(Stack([])) == []


@given(st.lists(samples, min_size=1, max_size=4))
def test_a_summary_says_what_the_estimate_says(many: list[Samples]) -> None:
    for each, summary in zip(many, summarize(Stack(many)), strict=True):
        found = estimate(each)
        assert (summary.seconds, summary.processes) == (pytest.approx(found.value), found.processes)
        logs = [math.log(np.median(list(rounds.values()))) for rounds in each.values()]
        assert summary.variance == pytest.approx(np.var(logs, ddof=1), abs=1e-12)


def test_a_detectable_change_is_found_as_often_as_is_said() -> None:
    draw = np.random.default_rng(5)
    spread, n = 0.02, 10
    typical = Interval(1.0, *(math.exp(s * 3.2498 * spread / math.sqrt(n)) for s in (-1, 1)), n)
    least = detectable(typical, 0.01)
    assert least is not None
    # by hand: t(0.995; 9) = 3.2498, t(0.95; 9) = 1.8331
    assert least == pytest.approx(1.01 * math.exp((3.2498 + 1.8331) * spread / math.sqrt(n)) - 1, rel=1e-4)
    found = 0
    for _ in range(1000):
        logs = math.log1p(least) + draw.normal(0, spread, n)
        head = as_samples(np.exp(logs)[:, None])
        between = ratio(head, {p: {0: 1.0} for p in range(n)})
        assert between is not None
        found += judge(between, *BOUNDS) == "regression"
    assert 0.92 < found / 1000 < 0.99
    assert detectable(Interval(1.0, None, None, 1), 0.01) is None


def test_the_spread_between_runs_predicts_two_more() -> None:
    draw = np.random.default_rng(6)
    within = 0
    for _ in range(1000):
        logs = draw.normal(0, 0.05, 7)
        share = spread_between([math.exp(v) for v in logs[:5]])
        assert share is not None
        within += abs(logs[5] - logs[6]) <= math.log1p(share)
    assert within >= 975
    # by hand: logs -1, 0, 1 have a deviation of 1, and t(0.995; 2) = 9.9248
    assert spread_between([1 / math.e, 1.0, math.e]) == pytest.approx(
        math.exp(9.9248 * math.sqrt(2)) - 1, 1e-3
    )
    assert spread_between([1.0, 2.0]) is None


def test_a_gain_is_paired_by_seed() -> None:
    ours, theirs = {0: 0.90, 1: 0.70, 2: 0.80, 9: 0.1}, {2: 0.78, 1: 0.69, 0: 0.87}
    differences = [0.03, 0.01, 0.02]
    low, high = oracle.t.interval(0.90, 2, np.mean(differences), oracle.sem(differences))
    found = gain(ours, theirs, True)
    assert found is not None
    assert (found.value, found.seeds) == (pytest.approx(0.02), 3)
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)
    worse = gain(ours, theirs, False)
    assert worse is not None
    assert worse.value == pytest.approx(-0.02)
    assert gain({0: 1.0}, {1: 1.0}, True) is None
    assert gain({0: math.nan, 1: 0.5}, {0: 0.5, 1: 0.5}, True) == Gain(0.0, None, None, 1)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.10, -0.021, "regression"),
        (-0.10, -0.019, "inconclusive"),
        (-0.019, 0.5, "unchanged"),
        (0.021, 0.5, "improvement"),
        (-0.021, 0.5, "inconclusive"),
    ],
)
def test_a_score_may_fall_by_its_margin(low: float, high: float, verdict: str) -> None:
    assert judge_gain(Gain((low + high) / 2, low, high, 3), 0.02) == verdict


def test_the_same_scores_are_unchanged_even_without_a_margin() -> None:
    assert judge_gain(Gain(0.0, 0.0, 0.0, 3), 0.0) == "unchanged"
    assert judge_gain(Gain(0.0, None, None, 1), 0.02) == "unchanged"
    assert judge_gain(Gain(-0.5, None, None, 1), 0.02) == "inconclusive"


scores = st.dictionaries(st.integers(0, 5), st.floats(-10, 10), min_size=1)


@given(scores, scores)
def test_gains_invert(a: dict[int, float], b: dict[int, float]) -> None:
    forth, back = gain(a, b, True), gain(b, a, True)
    if forth is None or back is None:
        assert forth is back
        return
    assert forth.value == pytest.approx(back.inverse.value)
    turned = {"regression": "improvement", "improvement": "regression"}
    verdict = judge_gain(forth, 0.02)
    assert judge_gain(forth.inverse, 0.02) == turned.get(verdict, judge_gain(forth.inverse, 0.02))
