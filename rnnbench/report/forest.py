"""What a comparison says: sentences, rows from the gravest, and its ratios as a forest plot."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rnnbench.compare.outcome import VERDICTS, Change, Comparison, Row, Side, Verdict
from rnnbench.compare.words import CALLED, WEAK, describe_change, explain_exit, name_row, summarize, varying
from rnnbench.escaping import safe
from rnnbench.report.panels import COLOURS, MUTED, Axis, Style
from rnnbench.report.sampling import draw_ratios
from rnnbench.report.splitting import Figure, Panels
from rnnbench.report.words import PHASES, bounds, counted, digits, seconds, size, times, unit_of

PER_PANEL = 24
MOST_ROWS = 200
MOST_REASONS = 3
LOOKS: dict[Verdict, Style] = {
    "regression": Style(COLOURS[1], "^", "-"),
    "suspect": Style(COLOURS[1], "D", "-"),
    "improvement": Style(COLOURS[2], "v", "-"),
    "different": Style(COLOURS[3], "s", "-"),
    "unchanged": Style(COLOURS[0], "o", "-"),
}
TONES: dict[Verdict, str] = {
    "regression": "bad", "suspect": "bad", "different": "bad", "incomparable": "bad", "improvement": "good"
}  # fmt: skip
OPEN = Style(MUTED, "X", "-")
"""Of every verdict that concludes nothing."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a comparison in words. ``tone``: "bad", "good" or, where nothing was shown, ""."""

    verdict: str
    tone: str
    name: str
    what: str
    base: str
    head: str
    ratio: str
    bounds: str
    text: str


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison in words. ``left_out``: rows that are not among ``lines``."""

    title: str
    sentences: tuple[str, ...]
    lines: tuple[Line, ...]
    left_out: int
    changes: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]


def describe_comparison(comparison: Comparison) -> Compared:
    """What changed first; never more than the verdicts say."""
    rows = by_gravity(comparison.rows)
    more = varying([row.case for row in rows])
    lines = tuple(_line(row, comparison.axis, more) for row in rows[:MOST_ROWS])
    groups: tuple[tuple[str, tuple[Change, ...]], ...] = (
        ("newly failing", comparison.newly_failing),
        ("vanished", comparison.vanished),
        ("new", comparison.new),
        ("now ok", comparison.newly_ok),
        ("still failing", comparison.still_failing),
    )
    changes = tuple(
        (word, tuple(safe(describe_change(each, comparison, more), 2_000) for each in found))
        for word, found in groups
        if found
    )
    notes = tuple(safe(note, 2_000) for note in comparison.notes)
    left = len(rows) - len(lines)
    return Compared(_title(comparison), tuple(_sentences(comparison, rows)), lines, left, changes, notes)


def forest_figure(comparison: Comparison, most: int | None = None) -> Figure:
    """Every time that was compared, head ÷ base, what changed first."""
    rows = [row for row in by_gravity(comparison.rows) if row.kind == "time" and row.ratio is not None]
    more = varying([row.case for row in rows])
    panels = Panels(most)
    for start in range(0, len(rows), PER_PANEL):
        shown = rows[start : start + PER_PANEL]
        drawn = [
            (_named(row, comparison.axis, more), LOOKS.get(row.verdict, OPEN), row.ratio, CALLED[row.verdict])
            for row in shown
            if row.ratio is not None
        ]
        said = "; ".join(
            f"{name} {_ratio(row)}, {word}" for row, (name, _, _, word) in zip(shown, drawn, strict=True)
        )
        title = f"{_title(comparison)}, {start + 1} to {start + len(shown)} of {len(rows)}"
        x = Axis("time ÷ base: right of 1 is slower", True, show="{:.4g}".format)
        alt = f"Ratios of times with 99 % bounds, {title}: {said}."
        panels.add(draw_ratios, f"forest-{start // PER_PANEL}", title, alt, drawn, x)
    caption = (
        "Each row is a time ÷ that of the base, its stroke the 99 % interval. Only what stands clear of 1 "
        "has changed: a triangle up is slower, a triangle down quicker, a cross says nothing was shown."
    )
    return panels.figure("forest", "Ratios of all times", caption)


def by_gravity(rows: Sequence[Row]) -> list[Row]:
    """What changed first, and within a verdict the largest change."""
    return sorted(rows, key=lambda row: (VERDICTS.index(row.verdict), -_distance(row)))


def _sentences(comparison: Comparison, rows: Sequence[Row]) -> list[str]:
    code = comparison.exit_code()
    said = [f"{summarize(comparison) or 'Nothing was compared'}: {explain_exit(comparison, code)}."]
    said[0] = said[0][:1].upper() + said[0][1:]
    more = varying([row.case for row in rows])
    for word in ("regression", "suspect", "improvement", "different"):
        found = [row for row in rows if row.verdict == word and row.ratio is not None]
        if found:
            first = found[0]
            said.append(
                f"{counted(len(found), CALLED[first.verdict].lower() + ' ratio')}; the largest: "
                f"{_named(first, comparison.axis, more)}, {_ratio(first)}."
            )
    reasons = Counter(safe(row.text, 200) for row in rows if row.verdict == "incomparable")
    said += [f"{number} incomparable: {reason}." for reason, number in reasons.most_common(MOST_REASONS)]
    if not comparison.live and not comparison.axis:
        said.append(WEAK.replace("`", "“", 1).replace("`", "”", 1))
    return said


def _line(row: Row, axis: str, more: Sequence[str]) -> Line:
    show = {"time": seconds, "memory": size}.get(row.kind, digits)
    base, head = show(row.base), show(row.head)
    if row.kind == "time" and row.base and row.head:
        unit = unit_of((row.base, row.head))
        base, head = seconds(row.base, unit), seconds(row.head, unit)
    between = bounds(row.ratio)
    if row.gain is not None and row.gain.low is not None and row.gain.high is not None:
        between = f"{row.gain.low:+.3g} to {row.gain.high:+.3g}"
    return Line(
        CALLED[row.verdict],
        TONES.get(row.verdict, ""),
        safe(name_row(row, axis, more), 200),
        _what(row),
        base,
        head,
        times(row.ratio.value) if row.ratio else (f"{row.gain.value:+.3g}" if row.gain else ""),
        between,
        safe(row.text, 500),
    )


def _named(row: Row, axis: str, more: Sequence[str]) -> str:
    what = f" {row.what}" if row.what else ""
    return safe(f"{name_row(row, axis, more)}{what}", 160)


def _what(row: Row) -> str:
    return PHASES.get(row.what, safe(row.what, 60))  # type: ignore[call-overload, no-any-return]


def _ratio(row: Row) -> str:
    if row.ratio is None:
        return ""
    said = bounds(row.ratio)
    return f"{times(row.ratio.value)}{f' ({said})' if said else ', no interval'}"


def _title(comparison: Comparison) -> str:
    return f"{_side(comparison.base)} → {_side(comparison.head)}"


def _side(side: Side) -> str:
    return " ".join(safe(part, 60) for part in (side.run, side.value) if part)


def _distance(row: Row) -> float:
    return abs(math.log(row.ratio.value)) if row.ratio and row.ratio.value > 0 else 0.0
