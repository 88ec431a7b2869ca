"""Pure functions of numbers: what raw blocks say, and how surely. Nothing here reads a file.

``Samples`` are the seconds per call of one case in one phase: process -> round -> seconds. The process is
the unit of replication, never the iteration: calls within one process share its memory layout and its
neighbours, so their spread understates the real one (Kalibera and Jones, "Rigorous benchmarking in
reasonable time", ISMM 2013). Times multiply, so all work is done on their logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from statistics import median
from typing import Literal, TypeVar

from rnnbench.stacked import Stack

Samples = Mapping[int, Mapping[int, float]]
Name = TypeVar("Name", bound=Hashable)
Standing = Literal["better", "not told apart", "worse", "one seed"]

CONFIDENCE = 0.99
TWICE = 2.0
"""A lower bound from which on a ratio need not be known any better to say which side is slower."""
MAD_TO_SIGMA = 1.4826
"""Median absolute deviation -> standard deviation of a normal distribution: 1 / Φ⁻¹(3/4)."""
SCORE_CONFIDENCE = 0.90
"""Two-sided, so that each claim, better or worse, stands at 95 %.

Three seeds are customary, and Student's t of two degrees of freedom is 9.9 at 99 %: seeds at .32, .45 and .47
would not be told from a chance of .125. Times are held to 99 %, for more processes can always be measured.
"""
MARGIN = 0.02
"""Share of the way from a baseline to a perfect score that a network must clear besides its interval.

All seeds are scored on the same sequences, whose choice the spread of the seeds does not show. 2 % is more
than three standard errors of a recall at chance over 5,000 symbols; an error's baseline is computed on the
same sequences and shares most of theirs.
"""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its bounds; both bounds are None where fewer than two processes were measured."""

    value: float
    low: float | None
    high: float | None
    processes: int

    @property
    def screening(self) -> bool:
        """One process: an order of magnitude, from which no difference may be concluded."""
        return self.low is None

    @property
    def usable(self) -> bool:
        """Whether the bounds say more than an order of magnitude: at most a factor of ten apart."""
        return self.low is not None and self.high is not None and self.high <= 10 * self.low

    @property
    def above_one(self) -> bool:
        """Whether a ratio is shown to be above 1: by bounds that are usable, or both from ``TWICE`` on."""
        return self.low is not None and self.low > 1.0 and (self.usable or self.low >= TWICE)

    @property
    def inverse(self) -> Interval:
        """The interval of 1 / value: a ratio seen from the other side."""
        low = None if self.high is None else 1 / self.high
        # a bound that is too small for a float is 0
        high = None if self.low is None else 1 / self.low if self.low else math.inf
        return Interval(1 / self.value, low, high, self.processes)


@dataclass(frozen=True, slots=True)
class Summary:
    """The processes' log medians of seconds per call: mean, variance and number."""

    mean: float
    variance: float
    processes: int

    @property
    def seconds(self) -> float:
        """Seconds per call, as ``estimate`` gives them."""
        return math.exp(self.mean)

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Seconds per call with the bounds of Student's t over the processes."""
        if self.processes == 1:
            return Interval(self.seconds, None, None, 1)
        half = student_t(self.processes - 1, confidence) * math.sqrt(self.variance / self.processes)
        return Interval(self.seconds, exp(self.mean - half), exp(self.mean + half), self.processes)


@dataclass(frozen=True, slots=True)
class Drift:
    """A trend over rounds: ``change`` from the first round to the last (0.1 is 10 % slower), and its p."""

    change: float
    p: float


@dataclass(frozen=True, slots=True)
class Line:
    """t = a + b·T: ``a`` is the cost of a call, ``b`` that of a time step; same unit as the times."""

    a: float
    b: float


def estimate(samples: Samples, confidence: float = CONFIDENCE) -> Interval:
    """Seconds per call: the geometric mean over processes of each process's median over rounds.

    The interval is Student's t over the processes' log medians. Raises ``ValueError`` without samples. Of
    many samples, ``summarize`` a stack: each summary has its ``interval``.
    """
    return summarize(Stack([samples]))[0].interval(confidence)


def ratio(ours: Samples, theirs: Samples, confidence: float = CONFIDENCE) -> Interval | None:
    """Ours ÷ theirs, for two cases that were timed in turns: above 1, ours is slower.

    Per process that both have, the median over the rounds that both have of the log ratio; Student's t
    over processes. Pairing within rounds removes what the machine did to both. None where no round is
    shared: then the two were not measured in turns, and there is nothing to pair.
    """
    logs = []
    for process in sorted(ours.keys() & theirs.keys()):
        a, b = ours[process], theirs[process]
        paired = [math.log(a[number] / b[number]) for number in a if number in b]
        if paired:
            logs.append(median(paired))
    if not logs:
        return None
    mean, half = mean_and_half(logs, confidence)
    if half is None:
        return Interval(math.exp(mean), None, None, 1)
    return Interval(math.exp(mean), exp(mean - half), exp(mean + half), len(logs))


def summarize(stack: Stack) -> list[Summary]:
    """The processes' log medians of each of the samples. Raises ``ValueError`` where one is empty."""
    means, variances, processes = stack.summaries()
    if not processes.all():
        raise ValueError("no samples: nothing was measured")
    return list(map(Summary, means.tolist(), variances.tolist(), processes.tolist()))


def quotient(ours: Summary, theirs: Summary, confidence: float = CONFIDENCE) -> Interval:
    """Ours ÷ theirs, for two cases that were not timed in turns: nothing is paired, nothing cancels.

    The quotient of the two estimates; the interval is Welch's t (Biometrika 1947) over the processes' log
    medians, its degrees of freedom by Satterthwaite. It holds what differs between processes of one sitting,
    never what differs between two sittings. ``processes`` is the smaller number of the two.
    """
    difference, least = ours.mean - theirs.mean, min(ours.processes, theirs.processes)
    if least < 2:
        return Interval(math.exp(difference), None, None, least)
    u, v = ours.variance / ours.processes, theirs.variance / theirs.processes
    if u + v == 0:
        return Interval(math.exp(difference), math.exp(difference), math.exp(difference), least)
    freedom = (u + v) ** 2 / (u**2 / (ours.processes - 1) + v**2 / (theirs.processes - 1))
    half = student_t(freedom, confidence) * math.sqrt(u + v)
    return Interval(math.exp(difference), exp(difference - half), exp(difference + half), least)


def ranks(samples: Mapping[Name, Samples], confidence: float = CONFIDENCE) -> dict[Name, int]:
    """Rank of every case of a group: one more than the number of cases that are shown to be faster.

    Shown means that the interval of the ratio lies above 1, and is usable or above 2 altogether; where it
    includes 1, is too wide or is missing, neither stands before the other. Only where no case of the group
    has two processes does the order of the estimates decide: the ranks of a screening are that order and no
    more. The result is in the order of time, those of rank 1 first: by rank alone a case that varies much
    would stand above some that take a tenth of its time.
    """
    summaries = zip(samples, summarize(Stack(list(samples.values()))), strict=True)
    times = {name: summary.interval(confidence) for name, summary in summaries}
    screening = all(time.screening for time in times.values())
    found = dict.fromkeys(samples, 1)
    for ours, theirs in combinations(samples, 2):
        between = ratio(samples[ours], samples[theirs], confidence)
        if screening:
            found[ours] += times[ours].value > times[theirs].value
            found[theirs] += times[theirs].value > times[ours].value
        elif between is not None:
            found[ours] += between.above_one
            found[theirs] += between.inverse.above_one
    return dict(sorted(found.items(), key=lambda item: (item[1] > 1, times[item[0]].value)))


def standing(
    finals: Sequence[float], baseline: float, higher_is_better: bool, confidence: float = SCORE_CONFIDENCE
) -> Standing:
    """How a network's final scores, one per seed, stand to a baseline.

    Better (worse): Student's t interval of the mean over seeds lies above (below) the baseline by more
    than ``MARGIN`` × its distance to perfect, which is 1 where higher is better (a share of hits) and 0
    where lower is (an error). "one seed" has no interval. Raises ``ValueError`` without finite scores.
    """
    if not finals or not all(map(math.isfinite, (*finals, baseline))):
        raise ValueError("only finite scores can be compared")
    mean, half = mean_and_half(finals, confidence)
    if half is None:
        return "one seed"
    gain = mean - baseline if higher_is_better else baseline - mean
    margin = MARGIN * abs((1.0 if higher_is_better else 0.0) - baseline)
    if gain - half > margin:
        return "better"
    return "worse" if gain + half < -margin else "not told apart"


def noise(samples: Samples) -> float:
    """Relative spread of the rounds about their process's median, as ``noises`` gives it."""
    return noises(Stack([samples]))[0]


def noises(stack: Stack) -> list[float]:
    """Relative spread of the rounds about their process's median, of each of the samples.

    1.4826 × the median absolute deviation of the logs.

    The median absolute deviation ignores the odd block that the machine interrupted (Rousseeuw and
    Croux, JASA 1993). 0.0 where no process has two rounds.
    """
    return [MAD_TO_SIGMA * deviation for deviation in stack.deviations()]


def drift(samples: Samples) -> Drift:
    """Whether calls grow slower or faster over the rounds: p of ``trend_ps``, change of the Theil-Sen line.

    That line (Sen, JASA 1968) goes through all processes; the change is from the first round to the last.
    """
    slopes, last = [], 0
    for rounds in samples.values():
        points = sorted(rounds.items())
        if points:
            last = max(last, points[-1][0] - points[0][0])
        slopes += [math.log(y1 / y0) / (x1 - x0) for (x0, y0), (x1, y1) in combinations(points, 2)]
    change = math.expm1(median(slopes) * last) if slopes else 0.0
    return Drift(change, trend_ps(Stack([samples]))[0])


def trend_ps(stack: Stack) -> list[float]:
    """The two-sided p of a trend over the rounds, of each of the samples; 1.0 where no process has two.

    Mann and Kendall's S summed over processes (Mann 1945; Kendall 1975; summed as in Hirsch, Slack and Smith
    1982), normal with the correction for continuity.
    """
    return [
        min(1.0, math.erfc(max(abs(s) - 1, 0) / math.sqrt(2 * variance))) if variance else 1.0
        for s, variance in stack.trends()
    ]


def fit_line(lengths: Sequence[float], times: Sequence[float]) -> Line:
    """Least squares of t = a + b·T on the relative errors: the weights are 1/t².

    Errors of times are proportional to the times; unweighted, the longest would decide alone.
    Raises ``ValueError`` with fewer than two different lengths.
    """
    if len(set(lengths)) < 2:
        raise ValueError("a line needs two different lengths")
    weights = [1 / t**2 for t in times]
    total = sum(weights)
    mean_x = sum(w * x for w, x in zip(weights, lengths, strict=True)) / total
    mean_t = sum(w * t for w, t in zip(weights, times, strict=True)) / total
    rows = list(zip(weights, lengths, times, strict=True))
    b = sum(w * (x - mean_x) * (t - mean_t) for w, x, t in rows) / sum(
        w * (x - mean_x) ** 2 for w, x, _ in rows
    )
    return Line(mean_t - b * mean_x, b)


def fit_lines(samples: Mapping[int, Samples], confidence: float = CONFIDENCE) -> tuple[Interval, Interval]:
    """(a, b) of t = a + b·T for a case timed at several lengths; ``samples`` maps a length to its samples.

    ``fit_line`` through the medians over rounds of every process that was timed at all lengths, then the
    mean and Student's t over processes; of a and b themselves, not their logarithms, for a may be nothing.
    Raises ``ValueError`` for fewer than two lengths, or where no process was timed at all of them.
    """
    lengths = sorted(samples)
    complete = [process for process in samples[lengths[0]] if all(process in samples[T] for T in lengths)]
    if not complete:
        raise ValueError("no process was timed at all lengths")
    lines = [fit_line(lengths, [median(samples[T][each].values()) for T in lengths]) for each in complete]
    return _arithmetic([line.a for line in lines], confidence), _arithmetic(
        [line.b for line in lines], confidence
    )


def _arithmetic(values: Sequence[float], confidence: float) -> Interval:
    mean, half = mean_and_half(values, confidence)
    if half is None:
        return Interval(mean, None, None, 1)
    return Interval(mean, mean - half, mean + half, len(values))


def mean_and_half(values: Sequence[float], confidence: float) -> tuple[float, float | None]:
    """The mean, and half the width of its Student's t interval; None for a single value."""
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return mean, None
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return mean, student_t(n - 1, confidence) * deviation / math.sqrt(n)


@cache
def student_t(freedom: float, confidence: float) -> float:
    """The two-sided quantile of Student's t with so many degrees of freedom."""
    from scipy.special import stdtrit  # takes a quarter of a second, and a screening has no interval

    return float(stdtrit(freedom, (1 + confidence) / 2))


def exp(value: float) -> float:
    """e to the power of ``value``; infinite where no float is as large."""
    # two processes that disagree tenfold have a bound beyond every float
    return math.exp(value) if value < 709 else math.inf
