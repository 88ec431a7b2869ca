"""What is paid before anything is steady, and after how many calls it has paid off."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rnnbench.breakeven import break_even_calls
from rnnbench.escaping import safe
from rnnbench.records import Measure, Record
from rnnbench.report.drawing import draw_bars, draw_curves
from rnnbench.report.panels import Axis, Curve, Style
from rnnbench.report.ranking import Ranking
from rnnbench.report.splitting import Figure, Panels, ends, short_time
from rnnbench.report.words import PHASES, counted, labels, listed, seconds
from rnnbench.results.reading import RunResults

STEADY_CALLS = 100
DECADES = 5
"""Calls are drawn from 1 to 10 to the power of this."""

PARTS = ("import", "build", "compile", "first calls", f"{STEADY_CALLS} steady calls")

Look = Mapping[str, Style]


@dataclass(frozen=True, slots=True)
class BreakEven:
    """The fewest ``calls`` after which ``label`` has taken no more time in all than ``other``; inf: never.

    Imports count: this is what a script pays that is started anew.
    """

    title: str
    label: str
    other: str
    phase: Measure
    calls: float


def phase_bars(results: RunResults, groups: Sequence[Ranking]) -> Figure:
    """A bar for each implementation: import, build, first calls with compilation, and steady calls."""
    names = labels([record.case for record in results.records])
    steady = {
        row.record.case.key: row.times[group.phase].value
        for group in groups
        for row in group.ranked
        if group.phase is not None
    }
    found: dict[str, list[tuple[float, ...]]] = {}
    for record in results.records:
        if record.status == "ok" and "build_s" in record.phases and record.case.key in steady:
            found.setdefault(names[record.case.key], []).append(_parts(record, steady[record.case.key]))
    if not found:
        return Figure("first", "Before the first step", "", ())
    rows = [
        (label, [median(column) for column in zip(*parts, strict=True)])
        for label, parts in sorted(found.items())
    ]
    alt = "Medians over cases, in seconds: " + "; ".join(
        f"{label}: " + listed([f"{part} {seconds(value)}" for part, value in zip(PARTS, values, strict=True)])
        for label, values in rows
    )
    panel = draw_bars(
        "first-0", "Median over cases", f"{alt}.", PARTS, rows, Axis("seconds", show=short_time)
    )
    warm_s = results.run.spent_s.get("warm")
    warm = "" if warm_s is None else f" Warming up took {seconds(warm_s)} of the run, over all its cases."
    caption = (
        f"Paid once, beside {STEADY_CALLS} calls in steady state. Compile: what the framework tells of its "
        "tracing and compiling; where it tells nothing, that is in the first calls. A short bar is quick to "
        f"start: it matters in tests, in services that scale and in notebooks.{warm}"
    )
    return Figure("first", "Before the first step", caption, (panel,))


def total_times(groups: Sequence[Ranking], look: Look, most: int | None = None) -> Figure:
    """Seconds in all over the number of calls, of each cell at its longest length."""
    panels = Panels(most)
    for number, group in enumerate(_longest(groups)):
        if group.phase is None:
            continue
        paths = _paths(group)
        if len(paths) < 2:
            continue
        curves = [_curve(label, look[label], *path) for label, path in sorted(paths.items())]
        crossed = [
            f"{each.label} has caught up with {each.other} after {counted(int(each.calls), 'call')}"
            for each in break_evens([group])
            if math.isfinite(each.calls) and each.calls > 1
        ]
        said = f" {'; '.join(crossed)}." if crossed else " No line crosses another one."
        alt = (
            f"Seconds in all after 1 to {10**DECADES} calls ({PHASES[group.phase]}), {group.title}. "
            + ends(curves, seconds)
            + said
        )
        x = Axis(f"calls ({PHASES[group.phase]})", True, show=_count)
        y = Axis("seconds in all, import included", True, show=short_time)
        panels.add(draw_curves, f"total-{number}", f"{group.title}", alt, curves, x, y)
    caption = (
        "Import, build, first call and all later ones together. Where a line that began higher passes below "
        "another, compiling has paid off: the break-even."
    )
    return panels.figure("total", "When does a slow start pay off?", caption)


def break_evens(groups: Iterable[Ranking]) -> list[BreakEven]:
    """For every pair of a group of which one starts later and then runs quicker."""
    found = []
    for group in groups:
        paths = _paths(group)
        for label, (first_s, call_s) in paths.items():
            for other, (other_first_s, other_call_s) in paths.items():
                if first_s > other_first_s and call_s < other_call_s and group.phase is not None:
                    calls = break_even_calls(first_s, call_s, other_first_s, other_call_s)
                    found.append(BreakEven(group.title, label, other, group.phase, calls))
    return found


def _parts(record: Record, call_s: float) -> tuple[float, ...]:
    phases = record.phases
    compiled = sum(value for name, value in phases.items() if name.startswith(("trace_", "compile_")))
    first = sum(value for name, value in phases.items() if name.startswith("first_"))
    rest = max(0.0, first - compiled)
    steady = STEADY_CALLS * call_s
    return phases.get("import_s", 0.0), phases.get("build_s", 0.0), compiled, rest, steady


def _paths(group: Ranking) -> dict[str, tuple[float, float]]:
    """Label -> seconds until the first call is done, and of each later one."""
    found = {}
    for row in group.ranked:
        phases, phase = row.record.phases, group.phase
        if phase is not None and f"first_{phase}_s" in phases and phase in row.times:
            before = phases.get("import_s", 0.0) + phases.get("build_s", 0.0)
            found[row.label] = before + phases[f"first_{phase}_s"], row.times[phase].value
    return found


def _longest(groups: Sequence[Ranking]) -> list[Ranking]:
    found: dict[str, Ranking] = {}
    for group in sorted(groups, key=lambda each: each.length):
        if group.ranked:
            found[safe(group.cell, 60)] = group
    return [found[cell] for cell in sorted(found)]


def _curve(label: str, style: Style, first_s: float, call_s: float) -> Curve:
    calls = [10 ** (number / 4) for number in range(4 * DECADES + 1)]
    return Curve(label, style, tuple(calls), tuple(first_s + (each - 1) * call_s for each in calls))


def _count(value: float) -> str:
    return f"{value:,.0f}"
