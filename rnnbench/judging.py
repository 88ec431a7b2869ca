"""Whether a difference counts: verdicts from intervals and bounds. Pure functions; nothing reads a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rnnbench.stats import CONFIDENCE, SCORE_CONFIDENCE, Interval, exp, mean_and_half, student_t

Judgement = Literal["regression", "improvement", "unchanged", "inconclusive"]

POWER = 0.95
"""How surely a change of the size that is called detectable is found."""


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better the scores of one side are, seed by seed: mean and bounds, positive is better.

    In the unit of the metric. Both bounds are None for a single seed.
    """

    value: float
    low: float | None
    high: float | None
    seeds: int

    @property
    def inverse(self) -> Gain:
        """The same seen from the other side."""
        low = None if self.high is None else -self.high
        high = None if self.low is None else -self.low
        return Gain(-self.value, low, high, self.seeds)


def judge(ratio: Interval, regression: float, improvement: float, unchanged: float) -> Judgement:
    """What a ratio of times that were measured in turns shows; the bounds are shares, 0.01 is 1 %.

    ``regression``: its lower bound is above 1 + regression. ``improvement``: its upper bound is below
    1 / (1 + improvement). ``unchanged``: its upper bound is below 1 + unchanged. Otherwise, and where its
    bounds are missing, ``inconclusive``.
    """
    if ratio.low is None or ratio.high is None:
        return "inconclusive"
    if ratio.low > 1 + regression:
        return "regression"
    if ratio.high < 1 / (1 + improvement):
        return "improvement"
    return "unchanged" if ratio.high < 1 + max(unchanged, regression) else "inconclusive"


def detectable(
    ratio: Interval, regression: float, confidence: float = CONFIDENCE, power: float = POWER
) -> float | None:
    """The smallest true change (0.03 is 3 %) that a measurement as wide as this one finds with ``power``.

    (1 + regression) × exp((t(confidence) + t(power)) × standard error) - 1, after Bloom, "Minimum detectable
    effects", Evaluation Review 19 (1995). None without bounds that are of use.
    """
    if ratio.low is None or ratio.high is None or not ratio.usable:
        return None
    half = math.log(ratio.high / ratio.low) / 2
    freedom = ratio.processes - 1
    # power is one-sided: the two-sided quantile of 2 power - 1
    beyond = student_t(freedom, 2 * power - 1) / student_t(freedom, confidence)
    return (1 + regression) * math.exp(half * (1 + beyond)) - 1


def spread_between(times: Sequence[float], confidence: float = CONFIDENCE) -> float | None:
    """By how much (0.1 is 10 %) two more runs of the same code may differ, given those of earlier ones.

    A prediction interval: Student's t of n - 1 degrees of freedom × √2 × the standard deviation of the
    logarithms. None for fewer than three runs, whose t of one degree of freedom says nothing.
    """
    n = len(times)
    if n < 3:
        return None
    _, half = mean_and_half([math.log(time) for time in times], confidence)
    assert half is not None
    # from the mean of n to the difference of two: half is t × deviation / √n
    return exp(half * math.sqrt(2 * n)) - 1


def gain(
    ours: Mapping[int, float],
    theirs: Mapping[int, float],
    higher_is_better: bool,
    confidence: float = SCORE_CONFIDENCE,
) -> Gain | None:
    """How much better our scores are than theirs, paired by seed (seed -> score); Student's t over seeds.

    Seeds that only one side has, or whose scores are not finite, do not count. None where no seed is shared.
    """
    sign = 1.0 if higher_is_better else -1.0
    differences = [sign * (ours[seed] - theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]
    differences = [value for value in differences if math.isfinite(value)]
    n = len(differences)
    if n == 0:
        return None
    mean, half = mean_and_half(differences, confidence)
    return Gain(mean, None, None, 1) if half is None else Gain(mean, mean - half, mean + half, n)


def judge_gain(found: Gain, margin: float) -> Judgement:
    """Whether scores became worse, by a margin of non-inferiority in the unit of the metric.

    ``regression``: the whole interval is worse than the margin. ``improvement``: better than it.
    ``unchanged``: shown not to be worse than the margin. Otherwise ``inconclusive``; so is a single seed,
    unless its score is the same. After Piaggio et al., "Reporting of noninferiority and equivalence
    randomized trials", JAMA 308 (2012).
    """
    if found.low is None or found.high is None:
        return "unchanged" if found.value == 0 else "inconclusive"
    if found.high < -margin:
        return "regression"
    if found.low > margin:
        return "improvement"
    return "unchanged" if found.low > -margin or found.low == found.high == 0 else "inconclusive"
