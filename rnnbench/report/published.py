"""Published figures beside the run's own: shown together, never compared."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.escaping import safe
from rnnbench.published import Published, published_beside
from rnnbench.records import Measure
from rnnbench.report.words import PHASES, bounds, labels, seconds
from rnnbench.results.reading import RunResults
from rnnbench.stats import Interval


@dataclass(frozen=True, slots=True)
class Line:
    """Who computed it, its time with its interval where it has one, and the machine and its year."""

    name: str
    time: str
    interval: str
    machine: str


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape of a published benchmark: ``lines`` from the fastest, ours and theirs mixed by time."""

    title: str
    lines: tuple[Line, ...]


def shapes_beside(results: RunResults) -> list[Shape]:
    """Every shape of the run for which figures were published; [] for a suite that repeats nobody's."""
    estimates = results.estimates
    names = labels([record.case for record in results.records])
    found: dict[tuple[str, Measure], dict[Line, float]] = {}
    for record in results.records:
        for figure in published_beside(results.run.suite, record.case):
            lines = found.setdefault((figure.shape, figure.phase), {})
            lines[_theirs(figure)] = figure.seconds
            time = estimates.get((record.case.key, figure.phase))
            if time is not None:
                lines[_ours(names[record.case.key], time)] = time.value
    return [
        Shape(f"{safe(shape)}, {PHASES[phase]}", tuple(sorted(lines, key=lines.__getitem__)))
        for (shape, phase), lines in found.items()
    ]


def _theirs(figure: Published) -> Line:
    machine = f"{figure.machine}, {figure.year}" if figure.year else figure.machine
    return Line(figure.implementation, seconds(figure.seconds), "", machine)


def _ours(name: str, time: Interval) -> Line:
    interval = "no interval: screening" if time.screening else bounds(time, seconds(time.value).split()[1])
    return Line(name, seconds(time.value), interval, "this run")
