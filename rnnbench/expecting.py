"""What ``rnnbench verify`` may call unsupported: a checked-in table, held to what really came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from rnnbench.choices import Dtype
from rnnbench.errors import RequestError, nearest
from rnnbench.verifying import Verdict


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Row:
    """One reason why these ``cells`` cannot be had of these ``backends``.

    Without ``cells``: all, but those of ``but``. ``structure``: only those with words that begin so, such as
    "window" or "both, window" (``rnnbench.structures`` has the words). ``dtype``: only in this one.
    ``reason`` is a part of the sentence that the backend gives.
    """

    backends: tuple[str, ...]
    implementation: str
    reason: Annotated[str, Field(min_length=1)]
    cells: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    structure: str = ""
    dtype: Dtype | None = None

    def covers(self, backend: str, cell: str, implementation: str) -> bool:
        """Whether it says anything of this implementation."""
        named = cell in self.cells if self.cells else cell not in self.but
        return backend in self.backends and implementation == self.implementation and named

    def matches(self, verdict: Verdict) -> bool:
        """Whether it says that this is unsupported."""
        return (
            self.covers(verdict.backend, verdict.cell, verdict.implementation)
            and self.dtype in (None, verdict.dtype)
            and self.names(verdict.structure)
        )

    def names(self, structure: str) -> bool:
        """Whether a structure, in words, is one of its own."""
        words = structure.split(", ")
        return all(any(word.startswith(part) for word in words) for part in self.structure.split(", "))


def read_table(file: Path, cells: Iterable[str]) -> list[Row]:
    """A JSON list of rows. Raises RequestError for what is none, and for a name that no cell has."""
    try:
        rows = TypeAdapter(list[Row]).validate_json(file.read_bytes())
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}", where=str(file)) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ", ".join(f"row {part + 1}" if isinstance(part, int) else str(part) for part in first["loc"])
        raise RequestError(f"{first['msg']}", where=f"{file}: {where}" if where else str(file)) from None
    known = set(cells)
    for number, row in enumerate(rows, 1):
        for name in (*row.cells, *row.but):
            if name not in known:
                raise RequestError(f'no cell "{name}". {nearest(name, known)}', where=f"{file}: row {number}")
    return rows


def find_differences(rows: Sequence[Row], verdicts: Sequence[Verdict], *, every: bool) -> list[str]:
    """One sentence for each thing that is unsupported without a row, or in a row and not unsupported.

    What was skipped says nothing. A row that nothing was asked of is one too many only where every structure
    was asked of its backends and cells.
    """
    asked = [verdict for verdict in verdicts if verdict.status != "skipped"]
    found: dict[tuple[object, ...], list[Verdict]] = {}
    for verdict in asked:
        matching = [number for number, row in enumerate(rows) if row.matches(verdict)]
        place = verdict.backend, verdict.implementation, verdict.cell
        if verdict.status != "unsupported":
            for number in matching:
                found.setdefault((number, *place), []).append(verdict)
        elif not any(rows[number].reason in verdict.reason for number in matching):
            found.setdefault((matching[0] if matching else None, *place), []).append(verdict)
    differences = [_word(rows, key[0], group) for key, group in found.items()]
    for number, row in enumerate(rows) if every else ():
        given = any(row.covers(v.backend, v.cell, v.implementation) for v in asked)
        if given and not any(row.matches(verdict) for verdict in asked):
            differences.append(f"{_name(rows, number)} is of nothing that was asked")
    return differences


def _word(rows: Sequence[Row], number: object, group: Sequence[Verdict]) -> str:
    first = group[0]
    more = f" (and {len(group) - 1} more of it)" if len(group) > 1 else ""
    place = f"{first.backend} {first.implementation} {first.cell} {first.dtype}, {first.structure}{more}"
    if not isinstance(number, int):
        return f"no row for {place}: {first.reason}"
    if first.status == "unsupported":
        return f"{_name(rows, number)} has another reason than {place}: {first.reason}"
    return f"{_name(rows, number)} is not true of {place}, which is {first.status}"


def _name(rows: Sequence[Row], number: int) -> str:
    row = rows[number]
    words = f"{', '.join(row.backends)} {row.implementation}: {row.reason}"
    return f"row {number + 1} ({words})"
