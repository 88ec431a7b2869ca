"""How large a difference counts, and for which cases: written in a suite, obeyed by verdicts.

Plain values; the suite's door validates what a person writes, ``stats`` and ``compare`` apply it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Bounds:
    """Shares: 0.01 is 1 %.

    ``regression``: the whole interval is slower by more. ``improvement``: faster by more, as a quotient of
    1 + it, so that swapping sides swaps verdicts. ``unchanged``: the upper bound is below. ``stored``: what
    two runs may differ by that were not measured in turns, where the spread between runs is not known.
    ``peak_bytes``: by how much memory may vary. ``score``: the margin of non-inferiority, as a share of the
    way from the trivial baseline to a perfect score.
    """

    regression: float = 0.01
    improvement: float = 0.01
    unchanged: float = 0.05
    stored: float = 0.15
    peak_bytes: float = 0.10
    score: float = 0.02


@dataclass(frozen=True, slots=True)
class Special:
    """Bounds of some cases: field of a case -> the values meant; bound -> its value there."""

    cases: Mapping[str, tuple[str | int | float, ...]]
    bounds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """``bounds`` hold for every case, unless rows of ``special`` say otherwise; of several the last holds."""

    bounds: Bounds = field(default_factory=Bounds)
    special: tuple[Special, ...] = ()

    def of(self, case: object) -> Bounds:
        """The bounds of one case."""
        bounds = self.bounds
        for row in self.special:
            if all(getattr(case, name) in values for name, values in row.cases.items()):
                bounds = replace(bounds, **row.bounds)
        return bounds
