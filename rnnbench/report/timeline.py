"""A case over several runs, with the change points of its history: a lagging view, never a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rnnbench.escaping import safe
from rnnbench.history.changepoints import FEWEST
from rnnbench.history.series import Line, Point, history
from rnnbench.records import TIMED
from rnnbench.report.leading import Lead, lead
from rnnbench.report.panels import Axis, Curve, styles
from rnnbench.report.ranking import rank_groups
from rnnbench.report.sampling import draw_series
from rnnbench.report.splitting import Figure, Panels, short_time
from rnnbench.report.words import PHASES, digits, moment, seconds
from rnnbench.results.reading import RunResults


@dataclass(frozen=True, slots=True)
class Other:
    """A run that stands on the page of another one with no more than its answer."""

    name: str
    suite: str
    started: str
    lead: Lead


def other_runs(runs: Sequence[RunResults]) -> list[Other]:
    """By their start, the newest first. Times of two runs are never compared here."""
    return [
        Other(
            safe(each.run.name, 120),
            safe(each.run.suite, 120),
            moment(each.run.started),
            lead(each, rank_groups(each)),
        )
        for each in sorted(runs, key=lambda each: (each.run.started, each.run.name), reverse=True)
    ]


def history_figure(runs: Sequence[RunResults], most: int | None = None) -> Figure:
    """A panel for each case that two or more runs have on like terms; those that changed first."""
    lines = [line for line in history(runs) if len(_valued(line)) > 1]
    panels = Panels(most)
    for number, line in enumerate(sorted(lines, key=lambda each: -len(each.changes))):
        valued = _valued(line)
        show = seconds if line.what in TIMED else digits
        x = tuple(float(index + 1) for index, _, _ in valued)
        y = tuple(value for _, _, value in valued)
        low, high = _bounds([point for _, point, _ in valued])
        changes = [(change.index + 1.0, _size(change.before, change.after)) for change in line.changes]
        key = safe(line.case.key, 120)
        said = [
            f"a change at run {change.index + 1}, {_where(line.points[change.index])}: "
            f"{_size(change.before, change.after)}, p {change.p:.3f}"
            for change in line.changes
        ]
        first, last = valued[0][1], valued[-1][1]
        alt = (
            f"{line.what} of {key} over {len(valued)} runs, from {show(y[0])} ({_where(first)}) to "
            f"{show(y[-1])} ({_where(last)}): {'; '.join(said) or 'no change point'}."
        )
        curve = Curve("", styles(["line"])["line"], x, y, low, high)
        shown = short_time if line.what in TIMED else digits
        what = PHASES.get(line.what, safe(line.what, 60))  # type: ignore[call-overload]
        case = line.case
        named = (case.cell, f"T {case.length}", case.backend, case.implementation)
        title = safe(" ".join(map(str, named)), 60)
        axis = Axis(f"{what}, {safe(case.task, 40)}", show=shown)
        panels.add(draw_series, f"history-{number}", title, alt, curve, changes, Axis("run"), axis)
    caption = (
        "Runs from the oldest to the newest, on one machine with one set of versions; strokes are 99 % "
        f"intervals within a run. Dashed: a change point, which takes {FEWEST} runs and comes late. Runs "
        "were not timed in turns: a step may be the machine's."
    )
    return panels.figure("history", "History", caption)


def _valued(line: Line) -> list[tuple[int, Point, float]]:
    return [(i, point, point.value) for i, point in enumerate(line.points) if point.value is not None]


def _bounds(points: Sequence[Point]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Empty unless every point has both."""
    low = [p.interval.low for p in points if p.interval and p.interval.low is not None]
    high = [p.interval.high for p in points if p.interval and p.interval.high is not None]
    if len(low) < len(points) or not all(map(math.isfinite, high)):
        return (), ()
    return tuple(low), tuple(high)


def _size(before: float, after: float) -> str:
    if before > 0 and after > 0:
        return f"{after / before - 1:+.1%}"
    return f"{digits(before)} → {digits(after)}"


def _where(point: Point) -> str:
    commit = f", {safe(point.commit, 40)[:10]}" if point.commit else ""
    return f"{safe(point.started, 40)[:16]}{commit}"
