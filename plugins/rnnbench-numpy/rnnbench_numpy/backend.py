"""What the backend has, told without touching BLAS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rnnbench.contracts import AffineCell, Cell, Session, Settings
from rnnbench.errors import Unavailable
from rnnbench_numpy.native.kernels import kernel_of


@dataclass(frozen=True, slots=True)
class NumpyBackend:
    """See ``rnnbench.contracts.Backend``."""

    name: str = "numpy"
    distributions: tuple[str, ...] = ("numpy",)

    def implementations(self, cell: Cell) -> tuple[str, ...]:
        """``native`` for cells derived by hand, ``scan`` for affine ones; ``portable`` for every cell."""
        native = () if kernel_of(cell) is None else ("native",)
        scan = ("scan",) if isinstance(cell, AffineCell) else ()
        return (*native, *scan, "portable")

    def open(self, settings: Settings, cells: Mapping[str, Cell]) -> Session:
        """Hold BLAS to ``settings.threads``. Raises Unavailable for a device other than the CPU."""
        from rnnbench_numpy.session import DEVICES, NumpySession

        if settings.device not in DEVICES:
            raise Unavailable(f'numpy has no device "{settings.device}". Here: {", ".join(DEVICES)}.')
        return NumpySession(settings, cells)
