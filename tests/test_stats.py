from __future__ import annotations

import math
from itertools import combinations, pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as oracle

from rnnbench.stacked import Stack
from rnnbench.stats import (
    Interval,
    Samples,
    drift,
    estimate,
    fit_line,
    noise,
    noises,
    ranks,
    ratio,
    standing,
    summarize,
    trend_ps,
)

times = st.floats(1e-6, 1e2)
samples = st.lists(st.lists(times, min_size=1, max_size=6), min_size=1, max_size=5).map(
    lambda processes: {number: dict(enumerate(rounds)) for number, rounds in enumerate(processes)}
)


def drawn(seed: int, centre: float, processes: int = 5, rounds: int = 9, spread: float = 0.05) -> Samples:
    draw = np.random.default_rng(seed)
    table = centre * np.exp(
        draw.normal(0, spread, (processes, rounds)) + draw.normal(0, spread, (processes, 1))
    )
    return {number: {r: float(v) for r, v in enumerate(row)} for number, row in enumerate(table)}


def scaled(each: Samples, factor: float) -> Samples:
    return {number: {r: v * factor for r, v in rounds.items()} for number, rounds in each.items()}


def test_estimate_and_interval_agree_with_scipy() -> None:
    each = drawn(3, 0.004)
    logs = [math.log(np.median(list(rounds.values()))) for rounds in each.values()]
    low, high = oracle.t.interval(0.99, len(logs) - 1, np.mean(logs), oracle.sem(logs))
    found = estimate(each)
    assert found.value == pytest.approx(math.exp(np.mean(logs)), rel=1e-12)
    assert (found.low, found.high) == (pytest.approx(math.exp(low)), pytest.approx(math.exp(high)))
    assert found.processes == 5


def test_estimate_in_closed_form() -> None:
    # medians 1, 2 and 4: their geometric mean is 2
    found = estimate({0: {0: 9.0, 1: 1.0, 2: 0.5}, 1: {0: 2.0}, 2: {0: 4.0}})
    half = 9.924843200918293 * math.log(2) / math.sqrt(3)  # t(0.995; 2), from tables
    assert found.value == pytest.approx(2)
    assert found.high == pytest.approx(2 * math.exp(half))


def test_one_process_has_no_interval() -> None:
    found = estimate({0: {0: 3.0, 1: 5.0, 2: 4.0}})
    assert found == Interval(pytest.approx(4.0), None, None, 1)
    assert found.screening


def test_nothing_measured_is_an_error() -> None:
    for nothing in ({}, {0: {}}):
        with pytest.raises(ValueError, match="nothing was measured"):
            estimate(nothing)


def test_the_interval_covers_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(400):
        found = estimate(drawn(seed, 0.01, processes=3, rounds=5))
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0.01 <= found.high
    # 99 % of 400 is 396; fewer than 388 has probability below 0.001
    assert hits >= 388


def test_ratio_pairs_within_rounds_so_that_shared_noise_cancels() -> None:
    base = drawn(1, 0.01, spread=0.5)
    found = ratio(scaled(base, 1.03), base)
    assert found is not None
    assert found.value == pytest.approx(1.03)
    assert found.low == pytest.approx(1.03)
    # the same numbers without their pairs tell nothing
    other = ratio(scaled(drawn(2, 0.01, spread=0.5), 1.03), base)
    assert other is not None
    assert other.low is not None
    assert other.low < 1 < (other.high or 0)


def test_ratio_agrees_with_scipy() -> None:
    a, b = drawn(5, 0.011), drawn(6, 0.010)
    logs = [np.median([math.log(a[p][r] / b[p][r]) for r in a[p]]) for p in a]
    low, high = oracle.t.interval(0.99, len(logs) - 1, np.mean(logs), oracle.sem(logs))
    found = ratio(a, b)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(math.exp(low)), pytest.approx(math.exp(high)))


def test_ratio_uses_only_what_both_have_and_is_none_without() -> None:
    found = ratio({0: {0: 2.0, 1: 99.0}, 7: {0: 5.0}}, {0: {0: 1.0, 2: 1.0}, 8: {0: 1.0}})
    assert found == Interval(pytest.approx(2.0), None, None, 1)
    assert ratio({0: {0: 1.0}}, {0: {1: 1.0}}) is None


def test_an_interval_down_to_zero_inverts() -> None:
    assert Interval(2.0, 0.0, math.inf, 2).inverse == Interval(0.5, 0.0, math.inf, 2)


@given(samples, samples)
def test_ratio_inverts(a: Samples, b: Samples) -> None:
    forth, back = ratio(a, b), ratio(b, a)
    assert forth is not None
    assert back is not None
    inverse = back.inverse
    assert forth.value == pytest.approx(inverse.value, rel=1e-9)
    if (
        forth.low is not None
        and math.isfinite(forth.high or math.inf)
        and math.isfinite(back.high or math.inf)
    ):
        assert forth.low == pytest.approx(inverse.low, rel=1e-6)


@given(samples, st.floats(1e-3, 1e3))
def test_scale_passes_through(each: Samples, factor: float) -> None:
    before, after = estimate(each), estimate(scaled(each, factor))
    assert after.value == pytest.approx(before.value * factor, rel=1e-9)
    between = ratio(scaled(each, factor), each)
    assert between is not None
    assert between.value == pytest.approx(factor, rel=1e-9)
    assert noise(scaled(each, factor)) == pytest.approx(noise(each), abs=1e-9)


@given(samples)
def test_order_of_processes_does_not_matter(each: Samples) -> None:
    turned = dict(reversed(list(each.items())))
    assert estimate(turned).value == pytest.approx(estimate(each).value, rel=1e-12)


def test_ranks_tie_what_the_interval_does_not_tell_apart() -> None:
    base = drawn(1, 0.010, spread=0.02)
    near = {p: {r: v * math.exp(0.03 * (-1) ** p) for r, v in rounds.items()} for p, rounds in base.items()}
    found = ranks({"far": scaled(base, 2.0), "near": near, "base": base, "next": scaled(base, 1.5)})
    assert found == {"near": 1, "base": 1, "next": 3, "far": 4} or found == {
        "base": 1, "near": 1, "next": 3, "far": 4,
    }  # fmt: skip
    assert list(found.values()) == sorted(found.values())


def test_a_wide_interval_behind_a_narrow_one_is_still_tied_with_the_first() -> None:
    base = drawn(1, 0.010, spread=0.001)
    wide = {
        p: {r: v * math.exp(0.1 + 0.5 * (-1) ** p) for r, v in rounds.items()} for p, rounds in base.items()
    }
    assert ranks({"base": base, "narrow": scaled(base, 1.05), "wide": wide}) == {
        "base": 1, "wide": 1, "narrow": 2,
    }  # fmt: skip


def test_what_varies_much_does_not_stand_above_what_takes_a_fraction_of_its_time() -> None:
    base = drawn(1, 0.010, processes=3, spread=0.001)
    loud = {p: {r: v * math.exp(2 + 0.5 * (p - 1)) for r, v in each.items()} for p, each in base.items()}
    steady = {"base": base, "second": scaled(base, 1.2), "third": scaled(base, 1.5)}
    found = ranks({"louder": scaled(loud, 1.3), "loud": loud, **steady})
    # of the loud ones it is only shown that one is slower than the other
    assert list(found.items()) == [("base", 1), ("loud", 1), ("second", 2), ("third", 3), ("louder", 2)]


def test_ranks_of_a_screening_are_the_order_of_the_estimates() -> None:
    assert ranks({"b": {0: {0: 2.0}}, "a": {0: {0: 1.999}}, "c": {0: {0: 3.0}}}) == {"a": 1, "b": 2, "c": 3}
    assert ranks({}) == {}


def test_without_an_interval_nothing_is_ranked_apart_in_a_run_that_has_some() -> None:
    base = drawn(1, 0.010, spread=0.002)
    one = {0: {r: v * 3 for r, v in base[0].items()}}
    elsewhere = {p: {r + 100: v * 3 for r, v in rounds.items()} for p, rounds in base.items()}
    found = ranks({"base": base, "one": one, "elsewhere": elsewhere, "slow": scaled(base, 2)})
    assert found == {"base": 1, "one": 1, "elsewhere": 1, "slow": 2}


def test_an_interval_too_wide_to_be_of_use_ranks_nothing_apart() -> None:
    base = drawn(1, 0.010, processes=3, spread=0.001)
    # above 1 with its whole interval, but from 1.1 times to 53 times
    wide = {p: {r: v * math.exp(2 + 0.33 * (p - 1)) for r, v in each.items()} for p, each in base.items()}
    between = ratio(wide, base)
    assert between is not None
    assert between.low is not None
    assert between.low > 1
    assert not between.usable
    assert ranks({"base": base, "wide": wide}) == {"base": 1, "wide": 1}
    # as wide, but at least twice as slow
    assert ranks({"base": base, "wide": scaled(wide, 2.0)}) == {"base": 1, "wide": 2}


@pytest.mark.parametrize(
    ("finals", "baseline", "higher", "found"),
    [
        ((0.1256, 0.1261, 0.1254), 0.125, True, "not told apart"),
        ((0.062773, 0.062775, 0.062771), 0.062797, False, "not told apart"),
        ((0.45, 0.47, 0.46), 0.125, True, "better"),
        ((0.001, 0.002, 0.001), 0.165, False, "better"),
        ((0.32, 0.45, 0.47), 0.125, True, "better"),
        ((0.2, 0.1, 0.9), 0.125, True, "not told apart"),
        ((0.01, 0.02, 0.01), 0.125, True, "worse"),
        ((0.25, 0.26, 0.25), 0.165, False, "worse"),
        ((0.9,), 0.125, True, "one seed"),
    ],
)
def test_standing_needs_more_than_noise(
    finals: tuple[float, ...], baseline: float, higher: bool, found: str
) -> None:
    assert standing(finals, baseline, higher) == found


def test_standing_changes_where_scipy_says() -> None:
    draw = np.random.default_rng(8)
    finals = tuple(draw.normal(0.5, 0.02, 4))
    low, high = oracle.t.interval(0.90, 3, np.mean(finals), oracle.sem(finals))
    # 0.02 of the way from the baseline to 1, so that the edge is where b + 0.02 (1 - b) = low
    edge = (low - 0.02) / 0.98
    assert standing(finals, edge - 1e-9, True) == "better"
    assert standing(finals, edge + 1e-9, True) == "not told apart"
    assert standing(finals, high / 0.98 + 1e-9, False) == "better"
    assert standing(finals, high / 0.98 - 1e-9, False) == "not told apart"


def test_seeds_that_learned_nothing_hardly_ever_beat_chance() -> None:
    draw = np.random.default_rng(2)
    # each scores 5,000 symbols at chance, all of them the same symbols
    beats = 0
    for _ in range(300):
        common = draw.normal(0, 0.0047)
        beats += standing(tuple(0.125 + common + draw.normal(0, 0.001, 3)), 0.125, True) == "better"
    assert beats <= 1


def test_standing_of_nothing_is_an_error() -> None:
    for finals in ((), (math.nan, 0.1)):
        with pytest.raises(ValueError, match="finite"):
            standing(finals, 0.1, True)


def test_identical_code_is_hardly_ever_ranked_apart() -> None:
    apart = sum(
        max(ranks({n: drawn(seed * 7 + n, 0.01, processes=3, rounds=9) for n in range(2)}).values()) > 1
        for seed in range(200)
    )
    # at 99 % bounds about 2 of 200 are expected; more than 9 has probability below 0.001
    assert apart <= 9


def test_noise_in_closed_form_and_against_scipy() -> None:
    assert noise({0: {0: math.e, 1: 1.0, 2: 1 / math.e}}) == pytest.approx(1.4826)
    assert noise({0: {0: 5.0}}) == 0.0
    logs = np.random.default_rng(0).normal(0, 0.05, 5_000)
    one = {0: {r: math.exp(v) for r, v in enumerate(logs)}}
    assert noise(one) == pytest.approx(oracle.median_abs_deviation(logs) * 1.4826)
    assert noise(one) == pytest.approx(0.05, rel=0.05)


def plain(each: Samples) -> tuple[float, float, float]:
    """Mean of log medians, noise and p of a trend, process by process and pair by pair."""
    seconds = [[rounds[at] for at in sorted(rounds)] for rounds in each.values() if rounds]
    rows = [list(map(math.log, row)) for row in seconds]
    medians = [math.log(np.median(list(rounds.values()))) for rounds in each.values() if rounds]
    apart = [abs(value - np.median(row)) for row in rows if len(row) > 1 for value in row]
    s = sum(np.sign(b - a) for row in seconds for a, b in combinations(row, 2))
    variance = sum(len(row) * (len(row) - 1) * (2 * len(row) + 5) for row in rows) / 18
    p = 2 * oracle.norm.sf(max(abs(s) - 1, 0) / math.sqrt(variance)) if variance else 1.0
    return float(np.mean(medians)), 1.4826 * float(np.median(apart)) if apart else 0.0, float(p)


@given(st.lists(samples, max_size=6), st.randoms(use_true_random=False))
def test_many_at_once_are_what_each_is_alone(drawn: list[Samples], chance: Random) -> None:
    # rounds may come in any order, and a process may have none
    many = [
        {p: dict(chance.sample(sorted(rounds.items()), len(rounds))) for p, rounds in each.items()} | {9: {}}
        for each in drawn
    ]
    stack = Stack(many)
    found = zip(summarize(stack), noises(stack), trend_ps(stack), strict=True)
    for each, (summary, spread, p) in zip(many, found, strict=True):
        assert (summary.mean, spread, p) == pytest.approx(plain(each), rel=1e-9, abs=1e-12)
        # to the last bit: what stands beside it has no part in a number
        assert (summary.interval(), spread, p) == (estimate(each), noise(each), drift(each).p)


def test_one_empty_sample_among_many_is_an_error_in_a_summary_alone() -> None:
    stack = Stack([{0: {0: 1.0, 1: 2.0}}, {}, {0: {0: 3.0}}])
    with pytest.raises(ValueError, match="nothing was measured"):
        summarize(stack)
    assert noises(stack) == [pytest.approx(1.4826 * math.log(2) / 2), 0.0, 0.0]
    assert trend_ps(stack) == [1.0, 1.0, 1.0]


def test_drift_agrees_with_theil_sen_and_kendall() -> None:
    draw = np.random.default_rng(4)
    logs = 0.02 * np.arange(20) + draw.normal(0, 0.05, 20)
    found = drift({0: {r: math.exp(v) for r, v in enumerate(logs)}})
    slope = oracle.theilslopes(logs, np.arange(20)).slope
    assert found.change == pytest.approx(math.expm1(slope * 19))
    # scipy's asymptotic p has no correction for continuity
    expected = oracle.kendalltau(np.arange(20), logs, method="asymptotic").pvalue
    assert found.p == pytest.approx(expected, rel=0.35)
    s = sum(np.sign(b - a) for i, a in enumerate(logs) for b in logs[i + 1 :])
    z = (s - 1) / math.sqrt(20 * 19 * 45 / 18)
    assert found.p == pytest.approx(2 * oracle.norm.sf(z))


def test_drift_has_a_sign_and_needs_rounds() -> None:
    falling = drift({p: {r: math.exp(-0.01 * r) for r in range(20)} for p in range(3)})
    assert falling.change == pytest.approx(math.expm1(-0.19))
    assert falling.p < 1e-6
    assert drift({0: {0: 1.0}, 1: {0: 2.0}}).p == 1.0


def test_drift_rarely_cries_wolf() -> None:
    alarms = sum(drift(drawn(seed, 0.01, processes=3, rounds=20)).p < 0.01 for seed in range(200))
    assert alarms <= 9


def test_a_line_is_found_again() -> None:
    found = fit_line([20, 50, 200, 500], [3e-4 + 2e-5 * T for T in (20, 50, 200, 500)])
    assert (found.a, found.b) == (pytest.approx(3e-4), pytest.approx(2e-5))
    lengths, values = [20, 50, 200], [1.0, 2.5, 7.0]
    b, a = np.polyfit(lengths, values, 1, w=1 / np.array(values))
    found = fit_line(lengths, values)
    assert (found.a, found.b) == (pytest.approx(a), pytest.approx(b))
    with pytest.raises(ValueError, match="two different lengths"):
        fit_line([20, 20], [1.0, 2.0])


def test_more_confidence_is_a_wider_interval() -> None:
    each = drawn(9, 1.0)
    widths = [estimate(each, confidence).high for confidence in (0.5, 0.9, 0.99, 0.999)]
    assert all(a is not None and b is not None and a < b for a, b in pairwise(widths))
