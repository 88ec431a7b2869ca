"""PyTorch for rnnbench. Importing this package does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rnnbench.contracts import AffineCell, Backend, Cell, SequenceCell, Session, Settings
from rnnbench.hookspecs import hookimpl
from rnnbench_torch.layout import NATIVE

RNNBENCH_API = 1


@dataclass(frozen=True, slots=True)
class Torch:
    """See ``rnnbench.contracts.Backend``."""

    name: str = "torch"
    distributions: tuple[str, ...] = ("torch",)

    def implementations(self, cell: Cell) -> tuple[str, ...]:
        """``native`` where torch.nn has a module, ``scan`` for affine cells, ``compiled`` for recurrent ones.

        ``portable`` for all: what is compiled is the cell's step.
        """
        if isinstance(cell, SequenceCell):
            return ("portable",)
        native = ("native",) if cell.name in NATIVE else ()
        scan = ("scan",) if isinstance(cell, AffineCell) else ()
        return (*native, *scan, "portable", "compiled")

    def open(self, settings: Settings, cells: Mapping[str, Cell]) -> Session:
        """Raises ``Unavailable`` where torch does not import or the device is not here."""
        from rnnbench_torch.session import open_session

        return open_session(settings, cells)


@hookimpl
def rnnbench_backends() -> Sequence[Backend]:
    """One backend."""
    return (Torch(),)
