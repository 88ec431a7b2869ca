"""The backend of the self-test: the NumPy backend's portable implementation, as it is or with more to do.

Loaded as a plugin file in the environments of identical code; ``selftest_slower.py`` stands in its place
where 5 % more time steps are computed. The function is the same, so the parity gate passes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Backend, Cell, Session, Settings
from rnnbench.errors import Unavailable
from rnnbench.hookspecs import hookimpl
from rnnbench.plugins import discover

NAME = "selftest"
EVERY = 20
"""One step in so many is computed twice: 5 % more time steps."""
NEVER = sys.maxsize


class Repeating:
    """A cell that computes every n-th time step twice and drops one of the results."""

    def __init__(self, cell: Cell, every: int) -> None:
        self._cell, self._every, self._count = cell, every, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cell, name)

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """That of the cell."""
        self._count += 1
        if self._count % self._every == 0:
            self._cell.step(ops, p, u, state)
        return self._cell.step(ops, p, u, state)


@dataclass(frozen=True, slots=True)
class SelfTest:
    """See ``rnnbench.contracts.Backend``. Both sides run the same code; only the number ``every`` differs."""

    name: str = NAME
    every: int = NEVER
    distributions: tuple[str, ...] = ("rnnbench-numpy",)

    def implementations(self, cell: Cell) -> tuple[str, ...]:
        """The NumPy backend's, in which the cell's own ``step`` is called for every time step."""
        return ("portable",)

    def open(self, settings: Settings, cells: Mapping[str, Cell]) -> Session:
        """Raises Unavailable where there is no NumPy backend."""
        backends = discover().backends
        if "numpy" not in backends:
            raise Unavailable("the self-test needs the NumPy backend: pip install rnnbench-numpy")
        repeating: Any = {name: Repeating(cell, self.every) for name, cell in cells.items()}
        return backends["numpy"].open(settings, repeating)


@hookimpl
def rnnbench_backends() -> Sequence[Backend]:
    """Every time step once."""
    return [SelfTest()]
