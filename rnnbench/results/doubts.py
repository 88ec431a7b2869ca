"""Findings that the raw blocks and scores give when they are read: nothing of this is stored.

What only the run itself could see (a recompilation, a budget that was spent) stands in the records already.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rnnbench.records import Finding, Measure, Record
from rnnbench.results.reading import RunResults, Timings
from rnnbench.stats import Samples, drift, estimate, noise

NOISY = 0.10
"""Rounds of one process that spread by more than this (1.4826 × MAD) say little of differences of 5 %."""

DRIFT_P = 0.001
"""A run has hundreds of phases; at 0.01 some would drift by chance in every run."""


def with_doubts(results: RunResults) -> RunResults:
    """The results, every ``ok`` record with the findings that its blocks and scores give."""
    timings = results.timings()
    records = tuple(
        replace(record, findings=(*record.findings, *_doubts(record, results, timings)))
        if record.status == "ok"
        else record
        for record in results.records
    )
    return replace(results, records=records)


def _doubts(record: Record, results: RunResults, timings: Timings) -> Iterator[Finding]:
    phases: list[Measure] = [phase for phase in record.case.measure if (record.case.key, phase) in timings]
    for phase in phases:
        yield from _timing_doubts(phase, timings[record.case.key, phase])
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
    trend = drift(samples)
    if trend.p < DRIFT_P and abs(trend.change) > spread:
        yield Finding("drift", f"{phase}: {trend.change:+.0%} from the first round to the last")


def _score_doubts(record: Record) -> Iterator[Finding]:
    score = record.score
    if score is None or score.trivial is None:
        return
    finals = score.values
    mean = sum(finals) / len(finals)
    beats = mean > score.trivial if score.higher_is_better else mean < score.trivial
    if not beats:
        yield Finding(
            "below_baseline",
            f"{score.metric} {mean:.4g} does not beat {score.trivial_name} ({score.trivial:.4g})",
        )
