"""What panels are made of: small plots that stand alone, side by side on a page, or in a paper.

A panel knows nothing of records. Lines differ by colour, marker, dash and a direct label, so that none of
these has to be seen. SVG is byte-stable: equal input gives equal bytes (``svg.hashsalt``, no date). On a
page its ink and grid follow the page's colours, light or dark.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

COLOURS = ("#0072B2", "#C2410C", "#00795A", "#A8447F", "#7A5195", "#8A6D00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.6)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
INK, MUTED, GRID = "#1b1f24", "#6b7280", "#d8dde3"
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "rnnbench",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "text.parse_math": False,
    "font.size": 9,
    "font.sans-serif": ["DejaVu Sans"],
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.unicode_minus": False,
}
PANEL_INCHES = (4.0, 2.75)
LETTER_INCHES = 0.075
"""Width of a letter of a tick, generously."""
FileFormat = Literal["svg", "png", "pdf"]
METADATA: dict[FileFormat, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""Left out, for it changes from day to day."""
LABEL_INCHES = 0.158
"""Least distance of two direct labels."""
LABELS = 12
"""So many of them stand beside a panel of the usual height; one with more is taller."""
LONG_LABEL = 20
"""Letters beyond which a label is set smaller, to end where the panel does."""


@dataclass(frozen=True, slots=True)
class Style:
    """How everything of one name looks, in every panel of a page."""

    colour: str
    marker: str
    dash: Any


BASELINE = Style(MUTED, "", (0, (2, 2)))


@dataclass(frozen=True, slots=True)
class Curve:
    """A line with its direct label, "" for none; ``low`` and ``high`` are a band, empty for none. No NaN.

    ``thin``: a line that was fitted, without markers.
    """

    label: str
    style: Style
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    thin: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """``ticks`` empty: chosen by the panel. ``show`` words a value of the axis."""

    label: str
    log: bool = False
    ticks: tuple[float, ...] = ()
    show: Any = None


@dataclass(frozen=True, slots=True)
class Panel:
    """A drawn plot. ``alt`` says in words what it shows."""

    name: str
    title: str
    alt: str
    svg: bytes
    drawn: Figure = field(repr=False, compare=False)

    @property
    def wide(self) -> bool:
        """Whether it takes the whole width of a page."""
        return self.drawn.get_figwidth() > PANEL_INCHES[0]

    def saved(self, format: FileFormat) -> bytes:
        """The panel as a file; equal panels give equal bytes."""
        return self.svg if format == "svg" else _saved(self.drawn, format)


def styles(names: Sequence[str], kinds: Sequence[str] = ()) -> dict[str, Style]:
    """A style for each name. ``kinds`` (parallel) share a colour and marker and differ by their dash."""
    order = list(dict.fromkeys(kinds or names))
    found: dict[str, Style] = {}
    seen: dict[str, int] = {}
    for name, kind in zip(names, kinds or names, strict=True):
        index, nth = order.index(kind), seen.get(kind, 0)
        seen[kind] = nth + 1
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        found[name] = Style(colour, marker, DASHES[(index + nth) % len(DASHES)])
    return found


def series_id(label: str, part: str) -> str | None:
    """The id, in a panel's SVG, of a part of what is drawn for ``label``; ``series_of`` reads it."""
    return f"series-{label.encode().hex()}-{part}" if label else None


def series_of(name: str) -> str | None:
    """For whom the part with this id is drawn; None for one that is drawn for nobody."""
    words = name.split("-")
    return bytes.fromhex(words[1]).decode() if words[0] == "series" and len(words) == 3 else None


def shortened(text: str, limit: int = 24) -> str:
    """A label that fits beside a plot."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


@contextmanager
def drawing() -> Iterator[None]:
    """The settings under which everything is drawn."""
    with mpl.rc_context(SETTINGS), warnings.catch_warnings():
        # a name may hold what the font of the PNG lacks; a box stands there, and the SVG has the text
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        warnings.filterwarnings("ignore", "Matplotlib currently does not support")
        yield


def canvas(
    title: str, left: float = 0.145, width: float = 0.49, bottom: float = 0.18, more_inches: float = 0.0
) -> tuple[Figure, Axes]:
    """An empty plot with its title; places are fractions of a panel that is not ``more_inches`` taller."""
    height = PANEL_INCHES[1] + more_inches
    share = PANEL_INCHES[1] / height
    figure = Figure(figsize=(PANEL_INCHES[0], height))
    axes = figure.add_axes((left, bottom * share, width, 1 - (0.16 + bottom) * share))
    figure.text(
        0.02, 1 - 0.025 * share, shortened(title, 44), va="top", ha="left", weight="bold", fontsize=10
    )
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_axisbelow(True)
    return figure, axes


def scale(axes: Axes, x: Axis, y: Axis | None) -> None:
    """Scales, ticks, grid and names of the axes; ``y`` None leaves the vertical one alone."""
    for axis, spec, along in ((axes.xaxis, x, "x"), (axes.yaxis, y, "y")):
        if spec is None:
            continue
        if spec.log:
            axes.set(**{f"{along}scale": "log"})
            axis.set_minor_locator(NullLocator())
            axis.set_minor_formatter(NullFormatter())
        else:
            axis.set_major_locator(MaxNLocator(5))
        if spec.log or spec.ticks:
            low, high = axis.get_view_interval()
            ticks = spec.ticks or _log_ticks(low, high)
            wide = _inches(axes) if along == "x" else math.inf
            kept = _apart(ticks, spec, (low, high), wide)
            axis.set_major_locator(FixedLocator(kept))
            if along == "y" and spec.show:
                _make_room(axes, max(len(spec.show(tick)) for tick in kept))
            # else fixed ticks would move limits about a single value, away from what was placed by them
            axis.set_view_interval(low, high, ignore=True)
            axes.set(**{f"autoscale{along}_on": False})
        if spec.show:
            axis.set_major_formatter(FuncFormatter(lambda value, _, show=spec.show: show(value)))
        axes.grid(axis="x" if along == "x" and y is None else "y", color=GRID, lw=0.8)
    axes.set_xlabel(x.label, labelpad=6)
    if y is not None:
        # above the axis, where it reads without turning the head
        place = axes.get_position()
        left = (0.02 - place.x0) / place.width
        axes.text(left, 1.05, y.label, transform=axes.transAxes, fontsize=8.5, color=MUTED)


def _make_room(axes: Axes, letters: int) -> None:
    """Move the left end of a plot to where labels of so many letters fit before it."""
    place, figure = axes.get_position(), axes.get_figure()
    assert isinstance(figure, Figure)
    left = (letters + 0.75) * LETTER_INCHES / figure.get_figwidth()
    if left > place.x0:
        axes.set_position((left, place.y0, place.x1 - left, place.height))


def _inches(axes: Axes, *, upright: bool = False) -> float:
    figure, place = axes.get_figure(), axes.get_position()
    assert isinstance(figure, Figure)
    return float(place.height * figure.get_figheight() if upright else place.width * figure.get_figwidth())


def _log_ticks(low: float, high: float) -> Sequence[float]:
    """Round values between the bounds, at least two."""
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)):
        found = [tick for tick in LogLocator(subs=steps).tick_values(low, high) if low <= tick <= high]
        if len(found) > 2:
            return found
    return [tick for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]


def _apart(ticks: Sequence[float], spec: Axis, view: tuple[float, float], inches: float) -> list[float]:
    """Ticks whose labels do not run into each other along so many inches; of even ones every nth."""
    steps = [after - before for before, after in pairwise(ticks)]
    if steps and not spec.ticks and max(steps) - min(steps) < 1e-6 * max(steps):
        for stride in range(1, len(ticks)):
            if len(_kept(ticks[::stride], spec, view, inches)) == len(ticks[::stride]):
                return list(ticks[::stride])
    return _kept(ticks, spec, view, inches)


def _kept(ticks: Sequence[float], spec: Axis, view: tuple[float, float], inches: float) -> list[float]:
    place = math.log if spec.log else float
    span = (place(view[1]) - place(view[0])) or 1.0
    kept: list[float] = []
    end = -math.inf
    for tick in ticks:
        letters = len(spec.show(tick) if spec.show else f"{tick:g}")
        half = max(0.045, (letters + 1.5) * LETTER_INCHES / 2 / inches)
        at = (place(tick) - place(view[0])) / span
        if at - half >= end:
            kept.append(tick)
            end = at + half
    return kept


def label_ends(axes: Axes, curves: Sequence[Curve]) -> None:
    """Each label at its line's end, moved apart where they would overlap, with a thin leader."""
    axes.get_xlim(), axes.get_ylim()  # the limits of the data are only settled when they are asked for
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = [(to_axes.transform((curve.x[-1], curve.y[-1])), curve) for curve in curves if curve.label]
    ends.sort(key=lambda end: (float(end[0][1]), end[1].label))
    gap = LABEL_INCHES / _inches(axes, upright=True)
    places = spread([float(end[0][1]) for end in ends], gap, 0.0, 1.0)
    for number, (((right, height), curve), place) in enumerate(zip(ends, places, strict=True)):
        colour = curve.style.colour
        line = Line2D([right + 0.015, 1.03, 1.05], [height, place, place], transform=axes.transAxes)
        line.set(
            color=colour, lw=0.6, alpha=0.7, clip_on=False, gid=series_id(curve.label, f"leader{number}")
        )
        axes.add_artist(line)  # which, unlike plot, looks at no data
        name = shortened(curve.label)
        text = axes.text(1.065, place, name, transform=axes.transAxes)
        points = 8 if len(name) <= LONG_LABEL else 7
        text.set(color=colour, va="center", fontsize=points, gid=series_id(curve.label, f"label{number}"))


def spread(
    places: Sequence[float], gap: float, low: float = -math.inf, high: float = math.inf
) -> list[float]:
    """Rising places, moved as little as needed to stand ``gap`` apart (pooling of adjacent violators).

    From ``low`` to ``high``; where that is too short for all, they go on beyond ``high``.
    """
    pools: list[list[float]] = []
    for index, place in enumerate(places):
        pools.append([place - index * gap])
        while len(pools) > 1 and _mean(pools[-2]) > _mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    top = high - (len(places) - 1) * gap
    flat = [max(low, min(top, _mean(pool))) for pool in pools for _ in pool]
    return [place + index * gap for index, place in enumerate(flat)]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def rendered(figure: Figure, name: str, title: str, alt: str) -> Panel:
    """The panel, with nothing in it that changes from day to day."""
    return Panel(name, title, alt, _saved(figure, "svg"), figure)


def _saved(figure: Figure, format: FileFormat) -> bytes:
    content = io.BytesIO()
    with drawing():
        figure.savefig(content, format=format, dpi=160, metadata=METADATA[format])
    return content.getvalue()
