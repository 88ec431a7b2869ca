"""Findings that the raw blocks and scores give when they are read: nothing of this is stored.

What only the run itself could see (a recompilation, a budget that was spent) stands in the records already.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rnnbench.records import Finding, Measure, Record, Score
from rnnbench.results.reading import RunResults, read
from rnnbench.stacked import Stack
from rnnbench.stats import Interval, Samples, drift, noise, noises, standing, trend_ps

NOISY = 0.10
"""Rounds of one process that spread by more than this (1.4826 × MAD) say little of differences of 5 %."""

DRIFT_P = 0.001
"""A run has hundreds of phases; at 0.01 some would drift by chance in every run."""


def open_run(folder: Path) -> RunResults:
    """The run in ``folder`` as it is to be looked at: every ``ok`` record with its doubts.

    Damage is named in ``problems``. Raises ``RequestError`` for a folder that holds no run or one of another
    format.
    """
    return with_doubts(read(folder))


def with_doubts(results: RunResults) -> RunResults:
    """The results, every ``ok`` record with the findings that its blocks and scores give."""
    of_times = _doubts_of_times(results)

    def doubted(record: Record) -> Record:
        if record.status != "ok":
            return record
        key = record.case.key
        doubts = [doubt for phase in record.case.measure for doubt in of_times.get((key, phase), ())]
        if record.case.task not in results.run.unranked:
            doubts += _score_doubts(record)
        return replace(record, findings=(*record.findings, *doubts)) if doubts else record

    return results.with_records(map(doubted, results.records))


def _doubts_of_times(results: RunResults) -> Mapping[tuple[str, Measure], tuple[Finding, ...]]:
    changes = drifting(list(results.timings.values()))
    of_each = zip(results.estimates.items(), noises(results.stack), changes, strict=True)
    return {
        at: tuple(_timing_doubts(at[1], interval, spread, change))
        for (at, interval), spread, change in of_each
    }


def _timing_doubts(
    phase: Measure, interval: Interval, spread: float, change: float | None
) -> Iterator[Finding]:
    if interval.screening:
        yield Finding("no_interval", f"{phase}: one process is a screening; two or more give an interval")
    elif not interval.usable:
        yield Finding(
            "no_interval",
            f"{phase}: {interval.processes} processes are too few for a 99 % interval of use here",
        )
    if spread > NOISY:
        yield Finding("noisy", f"{phase}: rounds of one process spread by {spread:.0%}")
    if change is not None:
        yield Finding("drift", f"{phase}: {change:+.0%} from the first round to the last")


def _score_doubts(record: Record) -> Iterator[Finding]:
    score = record.score
    if score is None or score.trivial is None or is_cut_short(score) or not is_followed(record, score):
        return
    finals = score.values
    if not finals or not all(map(math.isfinite, (*finals, score.trivial))):
        return
    stands = standing(finals, score.trivial, score.higher_is_better)
    if stands == "better":
        return
    beyond = "one seed, too few to tell" if stands == "one seed" else f"{len(finals)} seeds"
    yield Finding(
        "below_baseline",
        f"{score.metric} {math.fsum(finals) / len(finals):.4g} does not beat {score.trivial_name} "
        f"({score.trivial:.4g}) beyond noise: {beyond}",
    )


def is_cut_short(score: Score) -> bool:
    """Whether the budget ended the training of any seed: then a low score says nothing of the network."""
    return any(curve.stopped == "budget" for curve in score.curves)


def is_followed(record: Record, score: Score) -> bool:
    """Whether the record may be said to have the score: trained itself, or checked to follow who was."""
    return score.trained_on == record.case.key or score.follows is not None


def drifting(many: Sequence[Samples]) -> list[float | None]:
    """The change from the first round to the last where it is shown and beyond noise; None elsewhere."""
    # the line is the dear part, and nearly all need none
    of_each = zip(many, trend_ps(Stack(many)), strict=True)
    return [_beyond_noise(samples) if p < DRIFT_P else None for samples, p in of_each]


def _beyond_noise(samples: Samples) -> float | None:
    change = drift(samples).change
    return change if abs(change) > noise(samples) else None
