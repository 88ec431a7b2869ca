"""The raw blocks behind the times: in full where a case is doubted, a histogram for the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from rnnbench.escaping import safe
from rnnbench.records import TIMED, Measure, Record
from rnnbench.report.panels import Axis, styles
from rnnbench.report.sampling import draw_histogram, draw_rounds
from rnnbench.report.splitting import Figure, Panels, short_time
from rnnbench.report.words import PHASES, counted, digits, labels, seconds
from rnnbench.results.reading import RunResults
from rnnbench.stats import Samples

DOUBTED = ("drift", "noisy", "recompiled")
"""A case without an interval alone is one of a screening, where all are."""

WIDE = 0.25
"""Blocks that lie farther than this share from their process's median stand at the histogram's edges."""

BINS = 40


def flagged_blocks(results: RunResults, most: int | None = None) -> Figure:
    """A panel for every phase of a case whose times are doubted: each block, in its round."""
    names = labels([record.case for record in results.records])
    panels = Panels(most)
    for record, phase, samples in _timed(results):
        if not is_doubted(record, phase) or panels.is_full():
            continue
        processes = sorted(samples)
        look = styles([_process(each) for each in processes])
        lines = [(look[_process(each)], sorted(samples[each].items()), _process(each)) for each in processes]
        case = record.case
        title = f"{safe(case.task, 30)} T {case.length} {safe(case.cell, 30)}"
        reasons = "; ".join(safe(finding.text, 120) for finding in record.findings if finding.word in DOUBTED)
        alt = (
            f"{PHASES[phase]} of {names[case.key]}, {title}, block by block: "
            + "; ".join(f"{name}: {_range([value for _, value in line])}" for _, line, name in lines)
            + f". Doubted: {reasons}."
        )
        title = f"{names[case.key]}, {title}"
        y = Axis(f"seconds per call, {PHASES[phase]}", show=short_time)
        panels.add(draw_rounds, f"blocks-{panels.asked}", title, alt, lines, y)
    caption = (
        "Each point is a block, each line a process, the strip at the right their distribution. A slope is "
        "drift, a step another state of the machine, a single high point an interruption."
    )
    return panels.figure("blocks", "Blocks of doubted cases", caption, folded=True)


def other_blocks(results: RunResults) -> Figure:
    """A histogram for each phase: all blocks of the other cases ÷ the median of their process."""
    several: dict[Measure, list[list[float]]] = {}
    cases: dict[Measure, int] = {}
    for record, phase, samples in _timed(results):
        if is_doubted(record, phase):
            continue
        cases[phase] = cases.get(phase, 0) + 1
        rounds = [[*each.values()] for each in samples.values() if len(each) > 1]
        if rounds:
            several.setdefault(phase, []).extend(rounds)
    panels = Panels()
    for phase, processes in several.items():
        found = _shares(processes)
        within, beyond = np.mean(abs(found) <= 0.05), np.sum(abs(found) > WIDE)
        alt = (
            f"Histogram of {counted(len(found), 'block')} ({PHASES[phase]}, {counted(cases[phase], 'case')}) "
            f"÷ the median of their process: {within:.0%} lie within 5 %, {beyond} beyond {WIDE:.0%}."
        )
        x = Axis("block ÷ its process's median", show=lambda value: f"{value:+.0%}")
        kept = np.clip(found, -WIDE, WIDE)
        panels.add(draw_histogram, f"spread-{panels.asked}", PHASES[phase], alt, kept, WIDE, BINS, x)
    caption = (
        "How far blocks lie from the median of their process: narrow is a quiet machine. What lies farther "
        f"than {WIDE:.0%} stands in the last bars. Medians, which the times are made of, ignore it."
    )
    return panels.figure("spread", "Blocks of all other cases", caption, folded=True)


def is_doubted(record: Record, phase: Measure) -> bool:
    """Whether a finding doubts the times of this phase; findings of phases begin with its name."""
    others = tuple(f"{each}:" for each in TIMED if each != phase)
    return any(finding.word in DOUBTED and not finding.text.startswith(others) for finding in record.findings)


def _timed(results: RunResults) -> list[tuple[Record, Measure, Samples]]:
    timings = results.timings
    return [
        (record, phase, timings[record.case.key, phase])
        for record in results.records
        if record.status == "ok"
        for phase in TIMED
        if any(timings.get((record.case.key, phase), {}).values())
    ]


def _shares(processes: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Each block ÷ the median of its process, minus 1; processes of equally many blocks stand together."""
    by_length: dict[int, list[Sequence[float]]] = {}
    for values in processes:
        by_length.setdefault(len(values), []).append(values)
    tables = [np.array(alike) for alike in by_length.values()]
    return np.concatenate([(each / np.median(each, axis=1, keepdims=True) - 1).ravel() for each in tables])


def _process(number: int) -> str:
    return f"process {number + 1}"


def _range(values: Sequence[float]) -> str:
    if not values or not all(map(math.isfinite, values)):
        return digits(math.nan)
    return f"median {seconds(median(values))}, {seconds(min(values))} to {seconds(max(values))}"
