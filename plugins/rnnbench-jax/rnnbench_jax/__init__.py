"""The JAX backend of rnnbench. Importing this package does not import JAX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rnnbench.cells.elman import Elman
from rnnbench.cells.gru import GRU, GRUResetBefore
from rnnbench.cells.lstm import LSTM
from rnnbench.contracts import AffineCell, Backend, Cell, Session, Settings
from rnnbench.hookspecs import hookimpl

RNNBENCH_API = 1

IMPLEMENTATIONS = ("native", "portable", "scan")

DERIVED = ("tanh", "relu", "sigmoid", "leaky_relu", "hard_sigmoid")
"""Elman's activations that ``recurrences`` has derived by hand."""


@dataclass(frozen=True, slots=True)
class JaxBackend:
    """Runs networks through XLA."""

    name: str = "jax"
    distributions: tuple[str, ...] = ("jax",)

    def implementations(self, cell: Cell) -> tuple[str, ...]:
        """``native`` for cells derived by hand, ``portable`` for all, ``scan`` for affine ones."""
        # exactly these: a subclass of somebody's may have another step
        known = type(cell) in (LSTM, GRU, GRUResetBefore) or (
            type(cell) is Elman and cell.activation in DERIVED
        )
        # last: on a CPU log T passes over all steps cost more than T steps that XLA fuses
        scan = ("scan",) if isinstance(cell, AffineCell) else ()
        return (*(("native",) if known else ()), "portable", *scan)

    def open(self, settings: Settings, cells: Mapping[str, Cell]) -> Session:
        """Import and configure JAX. Raises Unavailable where JAX or the device is not here."""
        from rnnbench_jax.session import open_session

        return open_session(settings, cells)


@hookimpl
def rnnbench_backends() -> Sequence[Backend]:
    """The one backend of this package."""
    return (JaxBackend(),)
