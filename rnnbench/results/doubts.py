"""Findings that the raw blocks and scores give when they are read: nothing of this is stored.

What only the run itself could see (a recompilation, a budget that was spent) stands in the records already.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rnnbench.records import Finding, Measure, Record, Score
from rnnbench.results.reading import RunResults, Timings, read
from rnnbench.stats import Samples, drift, estimate, noise, standing, trend_p

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
    timings = results.timings
    return results.with_records(
        replace(record, findings=(*record.findings, *_doubts(record, results, timings)))
        if record.status == "ok"
        else record
        for record in results.records
    )


def _doubts(record: Record, results: RunResults, timings: Timings) -> Iterator[Finding]:
    key = record.case.key
    phases: list[Measure] = [phase for phase in record.case.measure if (key, phase) in timings]
    for phase in phases:
        yield from _timing_doubts(phase, timings[key, phase])
    if record.case.task not in results.run.unranked:
        yield from _score_doubts(record)


def _timing_doubts(phase: Measure, samples: Samples) -> Iterator[Finding]:
    interval = estimate(samples)
    if interval.screening:
        yield Finding("no_interval", f"{phase}: one process is a screening; two or more give an interval")
    elif not interval.usable:
        yield Finding(
            "no_interval",
            f"{phase}: {interval.processes} processes are too few for a 99 % interval of use here",
        )
    spread = noise(samples)
    if spread > NOISY:
        yield Finding("noisy", f"{phase}: rounds of one process spread by {spread:.0%}")
    change = drifting(samples)
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


def drifting(samples: Samples) -> float | None:
    """The change from the first round to the last where it is shown and beyond noise; None otherwise."""
    if trend_p(samples) >= DRIFT_P:  # of nearly all, and the line is the dear part
        return None
    change = drift(samples).change
    return change if abs(change) > noise(samples) else None
