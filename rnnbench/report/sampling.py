"""Panels of raw samples: blocks round by round, and how they are distributed."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from rnnbench.report.panels import (
    COLOURS,
    MUTED,
    Axis,
    Panel,
    Style,
    canvas,
    drawing,
    rendered,
    scale,
)

Line = tuple[Style, Sequence[tuple[int, float]], str]
FEW = 4
"""Lines up to which each has a name; more of them are a cloud."""


def draw_rounds(name: str, title: str, alt: str, lines: Sequence[Line], y: Axis) -> Panel:
    """Values over rounds, a line for each process; at the right a strip with their histogram."""
    with drawing():
        figure, axes = canvas(title, width=0.62)
        for style, points, label in lines:
            (line,) = axes.plot([at for at, _ in points], [value for _, value in points], label=label)
            line.set(color=style.colour, marker=style.marker, ms=2.6, lw=0.7, ls=style.dash)
        scale(axes, Axis("round"), y)
        strip = figure.add_axes((0.80, 0.18, 0.17, 0.66))
        values = [value for _, points, _ in lines for _, value in points]
        strip.hist(values, bins=min(20, len(values)), range=axes.get_ylim(), orientation="horizontal")
        for bar in strip.patches:
            bar.set_facecolor(MUTED)
        strip.set_ylim(axes.get_ylim())
        _bare(strip)
        if len(lines) <= FEW:
            axes.legend(fontsize=7, frameon=False, loc="best", handlelength=2.2)
        return rendered(figure, name, title, alt)


def draw_histogram(
    name: str, title: str, alt: str, values: Sequence[float], width: float, bins: int, x: Axis
) -> Panel:
    """Values between ± ``width``."""
    with drawing():
        figure, axes = canvas(title, left=0.06, width=0.88)
        axes.hist(values, bins=bins, range=(-width, width), color=COLOURS[0])
        scale(axes, x, None)
        axes.yaxis.set_major_locator(NullLocator())
        return rendered(figure, name, title, alt)


def _bare(axes: Axes) -> None:
    axes.xaxis.set_major_locator(NullLocator())
    axes.yaxis.set_major_locator(NullLocator())
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)
