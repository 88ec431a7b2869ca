"""Backend × cell: how each implementation fares on each cell, and why where it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from rnnbench.escaping import safe
from rnnbench.report.ranking import Ranking, Row
from rnnbench.report.words import counted, digits, listed

STEPS = (1.1, 1.5, 2.0, 4.0, 8.0)
"""Ratios at which the tint of a field deepens."""


@dataclass(frozen=True, slots=True)
class Field:
    """``kind``: best (nothing shown to be faster, in any group), ok, or none; ``text`` is never empty.

    ``ratio``: the geometric mean over groups of time ÷ the first; None where nothing was timed, and then
    ``detail`` says why.
    """

    kind: str
    text: str
    detail: str = ""
    ratio: float | None = None

    @property
    def tint(self) -> int:
        """How many of ``STEPS`` the ratio reaches."""
        return 0 if self.ratio is None else sum(self.ratio >= step for step in STEPS)


@dataclass(frozen=True, slots=True)
class Matrix:
    """``fields``: a row per name of ``rows``, a column per name of ``columns``."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    fields: tuple[tuple[Field, ...], ...]


def matrix(groups: Sequence[Ranking]) -> Matrix:
    """The ratios to the best over all groups of a cell; in an empty field the reason."""
    found: dict[tuple[str, str], list[Row]] = {}
    for group in groups:
        for row in group.rows:
            found.setdefault((row.label, safe(group.cell, 60)), []).append(row)
    rows = tuple(sorted({label for label, _ in found}))
    columns = tuple(sorted({cell for _, cell in found}))
    fields = tuple(tuple(_field(found.get((row, column), [])) for column in columns) for row in rows)
    return Matrix(rows, columns, fields)


def _field(rows: Sequence[Row]) -> Field:
    if not rows:
        return Field("none", "not planned", "the suite of this run has no such case")
    ratios = [row.to_best.value for row in rows if row.rank is not None and row.to_best is not None]
    reasons = Counter(
        (row.record.status, safe(row.record.reason, 160)) for row in rows if row.record.status != "ok"
    )
    total = len(rows)
    shares = {reason: f" ({n} of {total})" if total > 1 else "" for reason, n in reasons.items()}
    heads = {reason: f"{reason[0].replace('_', ' ')}{shares[reason]}: " for reason in reasons}
    if not ratios and len(reasons) == 1:
        heads = dict.fromkeys(reasons, "")  # it is what the field is headed with
    said = "; ".join(f"{heads[reason]}{reason[1]}" for reason, _ in reasons.most_common(3))
    if len(reasons) > 3:
        said += f"; and {counted(len(reasons) - 3, 'other reason')}"
    if not ratios:
        if not reasons:
            return Field("none", "not timed", "no case of it measures a time")
        statuses = listed(list(dict.fromkeys(status.replace("_", " ") for status, _ in reasons)))
        return Field("none", statuses, said)
    low, high = digits(min(ratios)), digits(max(ratios))
    first = all(row.rank == 1 and row.to_best is not None and not row.to_best.screening for row in rows)
    return Field(
        "best" if first else "ok",
        f"{low}×" if low == high else f"{low}–{high}×",
        said,
        geometric_mean(ratios),
    )
