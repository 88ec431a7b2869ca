"""Time and memory against length, with what a call costs whatever its length and what a step adds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from rnnbench.report.drawing import draw_curves, draw_dots
from rnnbench.report.overhead import Overhead
from rnnbench.report.panels import Axis, Curve, Style
from rnnbench.report.ranking import Ranking, Row, peak_bytes
from rnnbench.report.splitting import Figure, Panels, Spread, curve_of, ends, short_time, split
from rnnbench.report.words import PHASES, lengths, seconds, size
from rnnbench.stats import Interval, Line, fit_line

MIB = 1 << 20
FINE = 24
"""Points of a fitted line, for a straight one is curved on logarithmic axes."""

Look = Mapping[str, Style]
_Timed = list[tuple[Ranking, Row]]


def time_against_length(
    groups: Sequence[Ranking], look: Look, lines: Sequence[Overhead], most: int | None = None
) -> Figure:
    """A panel for each task, cell and what else differs; of a single length, dots."""
    fits = {(line.title, line.label): line for line in lines}
    panels = Panels(most)
    for number, (title, members) in enumerate(split(groups, _about)):
        phase = members[0].phase
        timed: _Timed = [(group, row) for group in members for row in group.ranked]
        if phase is None or not timed or panels.is_full():
            continue
        name, what = f"time-{number}", f"Time of one {PHASES[phase]}"
        if len({group.length for group, _ in timed}) == 1:
            rows = [(row.label, look[row.label], row.times[phase]) for _, row in timed]
            title = f"{title}, T {timed[0][0].length}"
            alt = f"{what}, {title}: {'; '.join(f'{label} {_told(time)}' for label, _, time in rows)}."
            panels.add(draw_dots, name, title, alt, rows, Axis(what, show=short_time))
            continue
        points = _points((group.length, row.label, _bounds(row.times[phase])) for group, row in timed)
        of_panel = [(label, fits.get((members[0].place, label))) for label in points]
        known = {label: line for label, line in of_panel if line is not None}
        fitted = [_fitted(line, look[label]) for label, line in known.items()]
        said = "; ".join(
            f"{label} {seconds(line.fixed.value)} a call and {seconds(line.step.value)} a time step"
            for label, line in known.items()
        )
        alt = f"{what} at {lengths(group.length for group, _ in timed)}, {title}. "
        curves = [curve_of(label, look[label], found) for label, found in points.items()]
        alt += ends(curves, seconds) + (f" Fitted: {said}." if said else "")
        y = Axis("time per call", True, show=short_time)
        panels.add(draw_curves, name, title, alt, [*fitted, *curves], _along(timed), y)
    several = any(len({group.length for group in of}) > 1 for _, of in split(groups, _about))
    caption = (
        "Where there are several lengths, both axes are logarithmic: a flat start is what a call costs "
        "whatever its length, and thin lines are the fitted a + b·T of the table below. "
        if several
        else ""
    )
    caption += (
        f"{'Bands' if several else 'Strokes'} are 99 % intervals, where several processes were measured. "
    )
    caption += "Lower is better."
    return panels.figure("time", "Time against length" if several else "Time", caption)


def memory_against_length(groups: Sequence[Ranking], look: Look, most: int | None = None) -> Figure:
    """As of the times, of peak memory: one reading per case, in a pass of its own, so without intervals."""
    panels = Panels(most)
    for number, (title, members) in enumerate(split(groups, _about)):
        known = [
            (group, row, peak)
            for group in members
            for row in group.rows
            if row.record.status == "ok" and (peak := peak_bytes(row.record))
        ]
        if not known or panels.is_full():
            continue
        name, what = f"memory-{number}", "Peak memory"
        timed: _Timed = [(group, row) for group, row, _ in known]
        if len({group.length for group, _ in timed}) == 1:
            rows = [
                (row.label, look[row.label], Interval(peak / MIB, None, None, 1))
                for _, row, peak in sorted(known, key=lambda each: each[2])
            ]
            title = f"{title}, T {timed[0][0].length}"
            said = "; ".join(f"{label} {_mib(each.value)}" for label, _, each in rows)
            alt = f"{what}, {title}: {said}."
            panels.add(draw_dots, name, title, alt, rows, Axis("peak memory, MiB", show="{:g}".format))
            continue
        points = _points(
            (group.length, row.label, (peak / MIB, math.nan, math.nan)) for group, row, peak in known
        )
        curves = [curve_of(label, look[label], found) for label, found in points.items()]
        lines = {curve.label: fit_line(curve.x, curve.y) for curve in curves if len(set(curve.x)) > 1}
        fitted = [_line(lines[curve.label], curve) for curve in curves if curve.label in lines]
        said = "; ".join(
            f"{label} {_mib(line.a)} and {_mib(line.b)} a time step" for label, line in lines.items()
        )
        alt = f"{what} at {lengths(group.length for group, _ in timed)}, {title}. {ends(curves, _mib)}"
        y = Axis("peak memory, MiB", True, show="{:g}".format)
        panels.add(draw_curves, name, title, f"{alt} Fitted: {said}.", [*fitted, *curves], _along(timed), y)
    caption = (
        "The peak of the device where it has its own memory, else by how much the host's grew; read in a "
        "pass of its own. Thin, where there are several lengths: a line fitted through them. Lower is better."
    )
    return panels.figure("memory", "Memory", caption)


def _about(group: Ranking) -> tuple[str, ...]:
    return group.task, group.cell, group.other


def _along(timed: _Timed) -> Axis:
    ticks = tuple(sorted({float(group.length) for group, _ in timed}))
    return Axis("sequence length T", True, ticks, "{:g}".format)


def _points(found: Iterable[tuple[int, str, Spread]]) -> dict[str, list[tuple[float, Spread]]]:
    """By label, in its order."""
    points: dict[str, list[tuple[float, Spread]]] = {}
    for length, label, value in sorted(found, key=lambda each: (each[1], each[0])):
        points.setdefault(label, []).append((length, value))
    return points


def _bounds(time: Interval) -> Spread:
    finite = time.low is not None and time.high is not None and math.isfinite(time.high)
    return (time.value, time.low, time.high) if finite else (time.value, math.nan, math.nan)  # type: ignore[return-value]


def _told(time: Interval) -> str:
    if time.low is None or time.high is None:
        return f"{seconds(time.value)}, no interval"
    return f"{seconds(time.value)}, 99 % {seconds(time.low)} to {seconds(time.high)}"


def _fitted(line: Overhead, style: Style) -> Curve:
    low, high = line.lengths[0], line.lengths[-1]
    x = [low * (high / low) ** (number / (FINE - 1)) for number in range(FINE)]
    return _thin(style, [(each, line.fixed.value + line.step.value * line.steps_at(each)) for each in x])


def _line(line: Line, curve: Curve) -> Curve:
    low, high = curve.x[0], curve.x[-1]
    x = [low * (high / low) ** (number / (FINE - 1)) for number in range(FINE)]
    return _thin(curve.style, [(each, line.a + line.b * each) for each in x])


def _thin(style: Style, points: Sequence[tuple[float, float]]) -> Curve:
    # an axis of logarithms has no place for what is not positive
    kept = [(x, y) for x, y in points if y > 0]
    x, y = (tuple(each) for each in zip(*kept, strict=True)) if kept else ((), ())
    return Curve("", replace(style, marker="", dash="-"), x, y, thin=True)


def _mib(value: float) -> str:
    return f"{'−' if value < 0 else ''}{size(abs(value) * MIB)}"
