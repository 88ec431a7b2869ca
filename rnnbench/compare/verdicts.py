"""The rows of one pair of records: its times, memory, counts and score, each with a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rnnbench.compare.outcome import FLAGGED, Kind, Row, Verdict
from rnnbench.compare.pairing import Pair
from rnnbench.judging import detectable, gain, judge, judge_gain
from rnnbench.records import TIMED, Measure, Score
from rnnbench.results.doubts import drifting, is_cut_short
from rnnbench.stats import Interval, Samples, Summary, quotient, ratio
from rnnbench.thresholds import Bounds

Mode = Literal["live", "stored", "apart"]
"""live: in turns, so that ratios are paired. stored: two runs. apart: groups of one run, no common rounds."""


@dataclass(frozen=True, slots=True)
class Timed:
    """The raw times of a case in one phase, and what they come to."""

    samples: Samples
    summary: Summary


Times = Mapping[Measure, Timed]
Drifts = Mapping[str, Mapping[Measure, float]]
"""Key of the head's case -> phase -> the change over the rounds of its ratio to the base, where it drifts."""
COUNTS = ("parameters", "compilations")
MEMORY = ("host_peak_bytes", "device_peak_bytes")
MEMORY_FLOOR_BYTES = 1 << 20
"""Resident memory comes in pages and arenas: less than this is nobody's doing."""


@dataclass(frozen=True, slots=True)
class Spread:
    """By how much (0.1 is 10 %) two runs of the same case may differ, and where that is known from."""

    share: float
    runs: int = 0

    @property
    def text(self) -> str:
        """What a reader should know of it."""
        return f"{self.runs} runs of it here differ by up to {self.share:.1%}" if self.runs else ""


def drifts_of(pairs: Sequence[Pair], base: Mapping[str, Times], head: Mapping[str, Times]) -> Drifts:
    """The drifts of pairs that were timed in turns; ``base`` and ``head`` are the times by case key."""
    at: list[tuple[str, Measure]] = []
    ratios: list[Samples] = []
    for pair in pairs:
        key = pair.head.case.key
        then, now = base.get(pair.base.case.key, {}), head.get(key, {})
        for phase in then.keys() & now.keys():
            at.append((key, phase))
            ratios.append(_by_round(now[phase].samples, then[phase].samples))
    found: dict[str, dict[Measure, float]] = {}
    for (key, phase), change in zip(at, drifting(ratios), strict=True):
        if change is not None:
            found.setdefault(key, {})[phase] = change
    return found


def time_rows(
    pair: Pair,
    base: Times,
    head: Times,
    mode: Mode,
    bounds: Bounds,
    spreads: Mapping[Measure, Spread],
    changes: Mapping[Measure, float],
) -> Iterator[Row]:
    """A row for each phase that both sides have; ``changes`` are the drifts of their ratio."""
    for phase in TIMED:
        if phase not in base or phase not in head:
            continue
        spread, change = spreads.get(phase), changes.get(phase)
        yield _time_row(pair, phase, base[phase], head[phase], mode, bounds, spread, change)


def count_rows(pair: Pair, bounds: Bounds, *, exactly: bool) -> Iterator[Row]:
    """Memory, parameters and compilations that both sides have.

    ``exactly``: the two are one implementation, so that memory and compilations must agree as well;
    otherwise only what the same network must have, its parameters, is judged.
    """
    for name in COUNTS:
        then, now = getattr(pair.base, name), getattr(pair.head, name)
        if then is None or now is None or (name != "parameters" and not exactly):
            continue
        yield _row(pair, "count", name, _direction(then, now), then, now, 0.0)
    if not exactly:
        return
    for name in MEMORY:
        if name not in pair.base.memory or name not in pair.head.memory:
            continue
        then, now = pair.base.memory[name], pair.head.memory[name]
        small = abs(now - then) <= MEMORY_FLOOR_BYTES
        within = max(then, now) <= (1 + bounds.peak_bytes) * min(then, now)
        verdict: Verdict = "unchanged" if small or within else _direction(then, now)
        yield _row(pair, "memory", name, verdict, then, now, bounds.peak_bytes)


def missing_rows(pair: Pair, base: Times, head: Times, *, exactly: bool) -> Iterator[Row]:
    """A row for everything that the case asks for and neither side has, and for memory that only one has.

    ``exactly``: memory is compared at all. A score or a phase that only one side has, has vanished or is new.
    """
    for what in pair.head.case.measure:
        if what in TIMED:
            if what not in base and what not in head:
                yield _missing(pair, "time", what, "incomparable", "measured on neither side")
        elif what == "score":
            if pair.base.score is None and pair.head.score is None:
                yield _missing(pair, "score", what, "incomparable", "measured on neither side")
        elif exactly:
            sides = [any(name in each.memory for name in MEMORY) for each in (pair.base, pair.head)]
            if not any(sides):
                yield _missing(pair, "memory", what, "incomparable", "measured on neither side")
            elif not all(sides):
                yield _missing(pair, "memory", what, "inconclusive", "one side's peak is not known")


def score_row(pair: Pair, base: Score, head: Score, bounds: Bounds, *, judged: bool = True) -> Row | None:
    """What the two networks learned, seed by seed; None where neither has a score at all.

    ``judged`` False: the networks are not the same one, so that a lower score is no regression.
    """
    then, now = _finals(base), _finals(head)
    if not then and not now:
        return None
    row = Row(pair.base.case, pair.head.case, "score", head.metric, "incomparable", _mean(then), _mean(now))
    if base.metric != head.metric or base.higher_is_better != head.higher_is_better:
        return replace(row, text=f"{base.metric} then, {head.metric} now: two metrics are not compared")
    found = gain(now, then, head.higher_is_better)
    margin = bounds.score * max(_way(base), _way(head))
    verdict: Verdict = "inconclusive" if found is None else judge_gain(found, margin)
    text = ""
    if found is None:
        text = "no seed in common"
    elif found.seeds < max(len(then), len(now)):
        text = f"{found.seeds} seeds in common, of {len(then)} and {len(now)}"
    if is_cut_short(base) or is_cut_short(head):
        verdict, text = "inconclusive", "the budget ended a training"
    if not judged:
        verdict = "different" if verdict in FLAGGED else "not_told_apart"
    return replace(row, verdict=verdict, gain=found, bound=margin, text=text)


def _time_row(
    pair: Pair,
    phase: Measure,
    base: Timed,
    head: Timed,
    mode: Mode,
    bounds: Bounds,
    spread: Spread | None,
    change: float | None,
) -> Row:
    live = mode == "live"
    found = ratio(head.samples, base.samples) if live else quotient(head.summary, base.summary)
    if found is None:
        text = "no common round: not measured in turns"
        return Row(pair.base.case, pair.head.case, "time", phase, "incomparable", text=text)
    verdict: Verdict
    bound, text = bounds.regression, ""
    least = detectable(found, bounds.regression) if mode == "live" else None
    if mode == "live":
        verdict = judge(found, bounds.regression, bounds.improvement, bounds.unchanged)
        if verdict == "improvement":
            bound = bounds.improvement
        elif verdict == "unchanged":
            bound = max(bounds.unchanged, bounds.regression)
        text = _why(found) if verdict == "inconclusive" else ""
        if change is not None and abs(change) > bounds.regression:
            text = f"drift: the ratio changes by {change:+.0%} over the rounds"
            verdict = verdict if verdict == "regression" else "inconclusive"
    elif mode == "stored":
        spread = spread or Spread(bounds.stored)
        bound, least, text = spread.share, spread.share, spread.text
        verdict = "suspect" if _beyond(found.value, bound) else "within_spread"
    else:
        apart = found.above_one or found.inverse.above_one
        verdict = "different" if apart else "not_told_apart"
    return Row(
        pair.base.case, pair.head.case, "time", phase, verdict, base.summary.seconds, head.summary.seconds,
        found, bound=bound, detectable=least, text=text,
    )  # fmt: skip


def _by_round(ours: Samples, theirs: Samples) -> Samples:
    """Ours ÷ theirs of every round that both have: what drifts on both sides is no drift of the ratio."""
    return {
        process: {at: rounds[at] / theirs[process][at] for at in rounds.keys() & theirs[process].keys()}
        for process, rounds in ours.items()
        if process in theirs
    }


def _missing(pair: Pair, kind: Kind, what: str, verdict: Verdict, text: str) -> Row:
    return Row(pair.base.case, pair.head.case, kind, what, verdict, text=text)


def _why(found: Interval) -> str:
    if found.screening:
        return "one process: a screening without an interval"
    return "" if found.usable else f"{found.processes} processes: the interval is too wide to say"


def _beyond(value: float, share: float) -> bool:
    return not 1 / (1 + share) <= value <= 1 + share


def _direction(then: float, now: float) -> Verdict:
    if now > then:
        return "regression"
    return "improvement" if now < then else "unchanged"


def _row(
    pair: Pair,
    kind: Literal["count", "memory"],
    name: str,
    verdict: Verdict,
    then: int,
    now: int,
    bound: float,
) -> Row:
    between = Interval(now / then, None, None, 1) if then and now and then != now else None
    return Row(
        pair.base.case, pair.head.case, kind, name, verdict, float(then), float(now), between, bound=bound
    )


def _finals(score: Score) -> dict[int, float]:
    """Seed -> last score."""
    return {curve.seed: curve.scores[-1] for curve in score.curves if curve.scores}


def _mean(finals: Mapping[int, float]) -> float | None:
    return math.fsum(finals.values()) / len(finals) if finals else None


def _way(score: Score) -> float:
    """From the trivial baseline to a perfect score: 1 where higher is better, 0 where lower is."""
    perfect = 1.0 if score.higher_is_better else 0.0
    if score.trivial is None:
        mean = _mean(_finals(score))
        return 1.0 if score.higher_is_better else abs(mean or 0.0)
    return abs(perfect - score.trivial)
