"""Panels of samples, of ratios, and of values over runs. They know nothing of records."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from rnnbench.report.panels import (
    COLOURS,
    MUTED,
    Axis,
    Curve,
    Panel,
    Style,
    canvas,
    drawing,
    rendered,
    scale,
    shortened,
)
from rnnbench.stats import Interval

Line = tuple[Style, Sequence[tuple[int, float]], str]
Ratio = tuple[str, Style, Interval, str]
Change = tuple[float, str]
WIDE_INCHES = 9.0
FEW = 4
"""Lines up to which each has a name; more of them are a cloud."""


def draw_rounds(name: str, title: str, alt: str, lines: Sequence[Line], y: Axis) -> Panel:
    """Values over rounds, a line for each process; at the right a strip with their histogram."""
    with drawing():
        figure, axes = canvas(title, width=0.62, bottom=0.245)
        for style, points, label in lines:
            (line,) = axes.plot([at for at, _ in points], [value for _, value in points], label=label)
            line.set(color=style.colour, marker=style.marker, ms=2.6, lw=0.7, ls=style.dash)
        scale(axes, Axis("round"), y)
        strip = figure.add_axes((0.80, 0.245, 0.17, 0.595))
        values = [value for _, points, _ in lines for _, value in points]
        strip.hist(values, bins=min(20, len(values)), range=axes.get_ylim(), orientation="horizontal")
        for bar in strip.patches:
            bar.set_facecolor(MUTED)
        strip.set_ylim(axes.get_ylim())
        _bare(strip)
        if 1 < len(lines) <= FEW:
            # below the axis, where no line runs
            figure.legend(
                loc="lower center", ncols=len(lines), fontsize=7, frameon=False,
                handlelength=2.2, columnspacing=1.0, borderpad=0, handletextpad=0.4,
            )  # fmt: skip
        return rendered(figure, name, title, alt)


def draw_histogram(
    name: str, title: str, alt: str, values: NDArray[np.float64], width: float, bins: int, x: Axis
) -> Panel:
    """Values between ± ``width``."""
    with drawing():
        figure, axes = canvas(title, left=0.06, width=0.88)
        axes.hist(values, bins=bins, range=(-width, width), color=COLOURS[0])
        scale(axes, x, None)
        axes.yaxis.set_major_locator(NullLocator())
        return rendered(figure, name, title, alt)


def draw_ratios(name: str, title: str, alt: str, rows: Sequence[Ratio], x: Axis) -> Panel:
    """A forest plot: a row per name from the top, its ratio with its bounds, and a word at the right."""
    with drawing():
        height = 0.9 + 0.23 * len(rows)
        figure = Figure(figsize=(WIDE_INCHES, height))
        axes = figure.add_axes((0.46, 0.48 / height, 0.36, 1 - 0.86 / height))
        figure.text(0.01, 1 - 0.1 / height, shortened(title, 100), va="top", weight="bold", fontsize=10)
        axes.axvline(1.0, color=MUTED, lw=1)
        for place, (_, style, ratio, word) in enumerate(rows):
            if ratio.low is not None and ratio.high is not None and math.isfinite(ratio.high):
                axes.plot([ratio.low, ratio.high], [place, place], color=style.colour, lw=2, alpha=0.5)
            axes.plot([ratio.value], [place], color=style.colour, marker=style.marker, ms=5, ls="")
            axes.text(1.02, place, word, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
        axes.set_yticks(range(len(rows)), [shortened(row[0], 58) for row in rows], fontsize=8)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        scale(axes, x, None)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        return rendered(figure, name, title, alt)


def draw_series(
    name: str, title: str, alt: str, curve: Curve, changes: Sequence[Change], x: Axis, y: Axis
) -> Panel:
    """Values in their order with their bounds; a dashed upright before each change, and what it came to."""
    with drawing():
        figure, axes = canvas(title, width=0.80)
        if curve.low:
            below = [value - low for value, low in zip(curve.y, curve.low, strict=True)]
            above = [high - value for value, high in zip(curve.y, curve.high, strict=True)]
            axes.errorbar(curve.x, curve.y, yerr=[below, above], color=curve.style.colour, fmt="none", lw=1)
        axes.plot(curve.x, curve.y, color=curve.style.colour, marker=curve.style.marker, ms=4, lw=1)
        axes.margins(y=0.18)  # room for the words of the changes
        scale(axes, x, y)
        for at, word in changes:
            axes.axvline(at - 0.5, color=MUTED, lw=1, ls=(0, (4, 3)))
            axes.text(at - 0.4, 0.98, word, transform=axes.get_xaxis_transform(), va="top", fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return rendered(figure, name, title, alt)


def _bare(axes: Axes) -> None:
    axes.xaxis.set_major_locator(NullLocator())
    axes.yaxis.set_major_locator(NullLocator())
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)
