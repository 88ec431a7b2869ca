"""The kinds of panels: lines, dots, bars and a heat map. They know nothing of records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

import seaborn as sns
from matplotlib.figure import Figure

from rnnbench.report.panels import (
    COLOURS,
    LABEL_INCHES,
    LABELS,
    MUTED,
    Axis,
    Curve,
    Panel,
    Style,
    canvas,
    drawing,
    label_ends,
    rendered,
    scale,
    series_id,
    shortened,
)
from rnnbench.stats import Interval

Dot = tuple[str, Style, Interval]
Bar = tuple[str, Sequence[float]]
Heat = tuple[float | None, str]
ROWS, ROW_INCHES = 6, 0.2
"""So many rows stand in a panel of the usual height; each further one makes it so much taller."""


@dataclass(frozen=True, slots=True)
class Point:
    """A place with its direct label; ``y``: value, lower and upper end of a stroke, NaN for none."""

    label: str
    style: Style
    x: float
    y: tuple[float, float, float]


def draw_curves(name: str, title: str, alt: str, curves: Sequence[Curve], x: Axis, y: Axis) -> Panel:
    """Lines, bands and direct labels at their ends."""
    with drawing():
        named = sum(bool(curve.label) for curve in curves)
        figure, axes = canvas(title, more_inches=LABEL_INCHES * max(0, named - LABELS))
        alpha = min(0.16, 0.8 / max(1, sum(bool(curve.low) for curve in curves)))
        for number, curve in enumerate(curves):
            style = curve.style
            if curve.low:
                band = axes.fill_between(
                    curve.x, curve.low, curve.high, color=style.colour, alpha=alpha, lw=0
                )
                band.set_gid(series_id(curve.label, f"band{number}"))
            (line,) = axes.plot(curve.x, curve.y, color=style.colour, ls=style.dash, clip_on=False)
            line.set(lw=0.7 if curve.thin else 1.6, gid=series_id(curve.label, f"line{number}"))
            if len(curve.x) <= 12 and not curve.thin:
                line.set(marker=style.marker, markersize=4.5)
        scale(axes, x, y)
        label_ends(axes, curves)
        return rendered(figure, name, title, alt)


def draw_points(
    name: str, title: str, alt: str, points: Sequence[Point], front: Sequence[Point], x: Axis, y: Axis
) -> Panel:
    """Points with strokes and direct labels; ``front`` is joined by a dashed line."""
    with drawing():
        figure, axes = canvas(title)
        axes.plot([p.x for p in front], [p.y[0] for p in front], color=MUTED, ls=(0, (4, 3)), lw=1)
        for number, point in enumerate(points):
            style, (value, low, high) = point.style, point.y
            if math.isfinite(low) and math.isfinite(high):
                axes.plot([point.x, point.x], [low, high], color=style.colour, lw=2, alpha=0.5)
            (dot,) = axes.plot([point.x], [value], color=style.colour, marker=style.marker, ms=6, ls="")
            dot.set(clip_on=False, gid=series_id(point.label, f"dot{number}"))
        axes.margins(x=0.12)
        scale(axes, x, y)
        label_ends(axes, [Curve(p.label, p.style, (p.x,), (p.y[0],)) for p in points])
        return rendered(figure, name, title, alt)


def draw_dots(name: str, title: str, alt: str, rows: Sequence[Dot], x: Axis) -> Panel:
    """A row per name, from the top: a value, with its bounds where there are any."""
    with drawing():
        figure, axes = canvas(title, left=0.40, width=0.54, more_inches=ROW_INCHES * max(0, len(rows) - ROWS))
        for place, (label, style, time) in enumerate(rows):
            if time.low is not None and time.high is not None and math.isfinite(time.high):
                axes.plot([time.low, time.high], [place, place], color=style.colour, lw=2, alpha=0.5)
            (dot,) = axes.plot([time.value], [place], color=style.colour, marker=style.marker, ms=6, ls="")
            dot.set_gid(series_id(label, f"dot{place}"))
        axes.set_yticks(range(len(rows)), [shortened(row[0]) for row in rows], fontsize=8)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        scale(axes, x, None)
        axes.set_xlim(0, 1.04 * axes.get_xlim()[1])  # no mark is cut
        return rendered(figure, name, title, alt)


def draw_bars(name: str, title: str, alt: str, parts: Sequence[str], rows: Sequence[Bar], x: Axis) -> Panel:
    """Stacked horizontal bars, a row per name, a colour and a hatch per part."""
    with drawing():
        more = ROW_INCHES * max(0, len(rows) - ROWS)
        figure, axes = canvas(title, left=0.40, width=0.54, bottom=0.33, more_inches=more)
        # of lines alone: a hatch of dots is thousands of curves
        hatches = ("", "///", "---", "xxx", "\\\\\\", "|||")
        starts = [0.0] * len(rows)
        for index, part in enumerate(parts):
            values = [row[1][index] for row in rows]
            axes.barh(
                range(len(rows)),
                values,
                left=starts,
                height=0.6,
                label=part,
                color=COLOURS[index % len(COLOURS)],
                hatch=hatches[index % len(hatches)],
                edgecolor="white",
                lw=0.5,
            )
            starts = [start + value for start, value in zip(starts, values, strict=True)]
        axes.set_yticks(range(len(rows)), [shortened(row[0]) for row in rows], fontsize=8)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        scale(axes, x, None)
        figure.legend(
            loc="lower center", ncols=3, frameon=False, fontsize=7.5, handlelength=1.4, columnspacing=1.2,
            borderaxespad=0.2,
        )  # fmt: skip
        return rendered(figure, name, title, alt)


def draw_heat(
    name: str,
    title: str,
    alt: str,
    rows: Sequence[str],
    columns: Sequence[str],
    fields: Sequence[Sequence[Heat]],
) -> Panel:
    """A field per row and column: the more above 1 the darker, blank where there is no number."""
    with drawing():
        figure = Figure(figsize=(1.9 + 1.75 * len(columns), 1.0 + 0.6 * len(rows)))
        axes = figure.add_axes((1.6 / figure.get_figwidth(), 0.04, 1 - 1.7 / figure.get_figwidth(), 0.72))
        values = [[math.nan if value is None else math.log(value) for value, _ in row] for row in fields]
        colours = sns.light_palette(COLOURS[0], as_cmap=True)
        # the darkest is as dark as ink on it can be read
        sns.heatmap(
            values, ax=axes, cmap=colours, vmin=0, vmax=4, cbar=False, linewidths=2, linecolor="white"
        )
        for y, row in enumerate(fields):
            for x, (_, text) in enumerate(row):
                said = "\n".join(wrap(text, 26, max_lines=3, placeholder="…"))
                axes.text(x + 0.5, y + 0.5, said, ha="center", va="center", fontsize=7.5)
        axes.set_xticks([x + 0.5 for x in range(len(columns))], [shortened(each) for each in columns])
        axes.set_yticks([y + 0.5 for y in range(len(rows))], [shortened(each) for each in rows], rotation=0)
        axes.xaxis.tick_top()
        figure.text(0.02, 0.97, title, va="top", weight="bold", fontsize=10)
        return rendered(figure, name, title, alt)
