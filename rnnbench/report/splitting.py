"""Which groups stand in one panel, and what its points are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, ParamSpec

from rnnbench.escaping import safe
from rnnbench.records import Score
from rnnbench.report.panels import Curve, Panel, Style
from rnnbench.report.ranking import Ranking
from rnnbench.report.words import UNITS, listed

Spread = tuple[float, float, float]
"""Value, lower and upper bound; NaN for what is not known."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels that answer one question; ``folded``: of use to who asks for it."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    folded: bool = False


Drawn = ParamSpec("Drawn")


@dataclass(slots=True)
class Panels:
    """The panels of a figure: the first ``most`` are drawn, all others are only counted. None: no limit."""

    most: int | None = None
    drawn: list[Panel] = field(default_factory=list)
    asked: int = 0

    def add(self, draw: Callable[Drawn, Panel], *args: Drawn.args, **kwargs: Drawn.kwargs) -> None:
        """Draw with ``draw``, if there is room."""
        self.asked += 1
        if self.most is None or len(self.drawn) < self.most:
            self.drawn.append(draw(*args, **kwargs))

    def is_full(self) -> bool:
        """Whether there is no room for a panel, which then is counted, so that nobody need prepare it."""
        full = self.most is not None and len(self.drawn) >= self.most
        self.asked += full
        return full

    def figure(self, name: str, title: str, caption: str, *, folded: bool = False) -> Figure:
        """The figure, which says how many of its panels stand here."""
        if self.asked > len(self.drawn):
            caption += f" {len(self.drawn)} of {self.asked} panels; rnnbench report --format svg writes all."
        return Figure(name, title, caption, tuple(self.drawn), folded)


def split(
    groups: Iterable[Ranking], key: Callable[[Ranking], tuple[Any, ...]]
) -> list[tuple[str, list[Ranking]]]:
    """Groups by what a panel is about, with the panel's title; in each the shortest length first."""
    parts = groupby(sorted(groups, key=lambda group: (_sortable(key(group)), group.length)), key=key)
    return [(", ".join(safe(part, 60) for part in name if part), list(found)) for name, found in parts]


def network(group: Ranking) -> str:
    """What is learned, but for task and length."""
    return safe(f"{group.cell}{f' {group.other}' if group.other else ''}", 60)


def spread_of(values: Sequence[float]) -> Spread:
    """Mean, least and greatest; NaN where a seed has none, so that a lost seed is not drawn over."""
    if not values or not all(map(math.isfinite, values)):
        return math.nan, math.nan, math.nan
    return math.fsum(values) / len(values), min(values), max(values)


def curve_of(label: str, style: Style, points: Sequence[tuple[float, Spread]]) -> Curve:
    """The points that have a value; a band where all of these have one."""
    kept = [(x, y) for x, y in points if math.isfinite(y[0])]
    banded = all(math.isfinite(y[1]) for _, y in kept)
    return Curve(
        label,
        style,
        tuple(float(x) for x, _ in kept),
        tuple(y[0] for _, y in kept),
        tuple(y[1] for _, y in kept) if banded else (),
        tuple(y[2] for _, y in kept) if banded else (),
    )


def drawable(curves: Iterable[Curve]) -> list[Curve]:
    """Those that have a point, and no value that is not finite."""
    return [curve for curve in curves if curve.x and all(map(math.isfinite, (*curve.x, *curve.y)))]


def trained_on(groups: Sequence[Ranking]) -> str:
    """Whose scores the figures draw: of each group the first that was trained."""
    trainers = sorted({next(iter(group.scores)) for group in groups if group.scores})
    return f" Trained on {listed(trainers)}." if trainers else ""


def metric_of(score: Score) -> str:
    """The metric and which way is better."""
    return f"{safe(score.metric, 30)} ({'higher' if score.higher_is_better else 'lower'} is better)"


def short_time(value: float) -> str:
    """A tick of an axis of seconds."""
    scale, unit = next((each for each in UNITS if value >= each[0]), UNITS[-1])
    shown = value / scale
    return (f"{shown:,.0f} {unit}" if shown >= 1000 else f"{shown:.3g} {unit}") if value else "0"


def ends(curves: Iterable[Curve], show: Callable[[float], str]) -> str:
    """Both ends of every line that has a name, for who cannot see it."""
    said = []
    for curve in curves:
        if curve.label and curve.y:
            first = f"{show(curve.y[0])} to " if len(curve.y) > 1 else ""
            said.append(f"{curve.label} {first}{show(curve.y[-1])}")
    return f"{'; '.join(said)}." if said else ""


def _sortable(name: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((len(part), part) if str(part).startswith("T ") else (0, part) for part in name)
