"""Layers that compute all steps at once and carry no state: what a network of them cannot be."""

from __future__ import annotations

from typing import cast

from rnnbench.contracts import Cell, NetworkSpec, RecurrentCell, SequenceCell
from rnnbench.errors import Unsupported


def check_recurrent(cell: Cell, what: str) -> RecurrentCell:
    """The cell itself. Raises ``Unsupported`` for a ``SequenceCell``, which has no step for ``what``."""
    if isinstance(cell, SequenceCell):
        raise Unsupported(no_step(cell, what))
    return cast(RecurrentCell, cell)


def no_step(cell: Cell, what: str) -> str:
    """Why ``what``, an axis or a phase, cannot be had of a ``SequenceCell``."""
    return (
        f'{what}: cell "{cell.name}" computes all steps at once and carries no state from one to the next. '
        f"Leave {what} out, or give a recurrent cell"
    )


def misfit(cell: Cell, bidirectional: str, window: int | None, decoder: bool) -> tuple[str, str] | None:
    """The axis ("task" for a decoder) that does not fit a ``SequenceCell``, and why; None where all do."""
    if not isinstance(cell, SequenceCell):
        return None
    if bidirectional != "none":
        # a flipped sequence begins with its padding, which would be read as past
        said = f'cell "{cell.name}" looks back only, so it has no second direction. Give bidirectional none'
        return "bidirectional", said
    if window is not None:
        return "window", no_step(cell, "window")
    return ("task", no_step(cell, "a decoder")) if decoder else None


def check_structure(cell: Cell, spec: NetworkSpec) -> None:
    """Raises ``Unsupported`` for a network of a ``SequenceCell`` that only recurrent cells can be."""
    found = misfit(cell, spec.bidirectional, spec.window, spec.decoder is not None)
    if found:
        raise Unsupported(found[1])
