"""What a call costs whatever its length, and what each time step adds: t = a + b·T, over a run's lengths.

T are the time steps of a sequence, those included that a task adds to its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from rnnbench.records import Case, Measure, Record
from rnnbench.report.ranking import Ranking
from rnnbench.results.reading import RunResults
from rnnbench.stats import Interval, Samples, fit_lines


@dataclass(frozen=True, slots=True)
class Overhead:
    """The line of one case over ``lengths``, as the cases name them; ``steps`` are the time steps of each.

    ``fixed``: seconds per call, ``step``: per time step.

    ``off``: by how much, as a share of it, the time that lies farthest from the line does; None for two
    lengths, through which a line always goes. ``title`` says what is computed, ``label`` by whom.
    """

    title: str
    label: str
    phase: Measure
    lengths: tuple[int, ...]
    fixed: Interval
    step: Interval
    off: float | None
    steps: tuple[int, ...]

    def steps_at(self, length: float) -> float:
        """T at a length between those that were timed."""
        return float(np.interp(length, self.lengths, self.steps))


def overheads(results: RunResults, groups: Sequence[Ranking]) -> tuple[Overhead, ...]:
    """A line for all ranked cases that differ in nothing but their length, of two or more lengths.

    By title; within one, the cheapest time step first. Cases that no process has timed at all their lengths
    have none.
    """
    timings = results.timings
    found: dict[Case, list[_Point]] = {}
    for group in groups:
        for row in group.ranked:
            case = row.record.case
            if group.phase is not None:
                time_s = row.times[group.phase].value
                point = _Point(group, row.label, row.record, timings[case.key, group.phase], time_s)
                found.setdefault(replace(case, length=0), []).append(point)
    lines = [_line(points) for points in found.values() if len(points) > 1]
    return tuple(sorted(filter(None, lines), key=lambda line: (line.title, line.step.value)))


class _Point(NamedTuple):
    group: Ranking
    label: str
    record: Record
    samples: Samples
    time_s: float


def _line(points: Sequence[_Point]) -> Overhead | None:
    group, label, *_ = points[0]
    samples = {T: point.samples for T, point in zip(_steps(points), points, strict=True)}
    if group.phase is None or len(samples) < 2:
        return None
    if not set.intersection(*(set(each) for each in samples.values())):
        return None
    fixed, step = fit_lines(samples)
    times = dict(zip(_steps(points), (point.time_s for point in points), strict=True))
    off = max(abs(fixed.value + step.value * T - time_s) / time_s for T, time_s in times.items())
    order = sorted(zip((point.record.case.length for point in points), _steps(points), strict=True))
    lengths, steps = zip(*order, strict=True)
    off_line = off if len(samples) > 2 else None
    return Overhead(group.place, label, group.phase, lengths, fixed, step, off_line, steps)


def _steps(points: Sequence[_Point]) -> list[int]:
    """T of each point; the lengths where a run from before steps were kept lacks them, never a mixture."""
    steps = [point.record.steps for point in points if point.record.steps is not None]
    return steps if len(steps) == len(points) else [point.record.case.length for point in points]
