"""The backend of the self-test: the NumPy backend's portable implementation, as it is or with more to do.

Loaded as a plugin file in the environments of identical code; ``selftest_slower.py`` stands in its place
where 5 % more time steps are computed. The function is the same, so the parity gate passes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnbench.cells.at_once import check_recurrent
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Backend, Cell, RecurrentCell, SequenceCell, Session, Settings
from rnnbench.errors import Unavailable
from rnnbench.hookspecs import hookimpl
from rnnbench.plugins import discover

NAME = "selftest"
EVERY = 20
"""For so many time steps there is one more: 5 % more time steps."""
NEVER = sys.maxsize


class Longer:
    """A cell before whose sequences T / ``every`` more time steps are taken, and what they compute dropped.

    They cost all that a time step costs, the loop's own work and the input's product included. For networks
    that are read at the end and have no lengths: the outputs of the additional steps come first.
    """

    def __init__(self, cell: RecurrentCell, every: int) -> None:
        self._cell, self._every, self._ahead = cell, every, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cell, name)

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """That of the cell, of x (T,B,I) behind its own first steps."""
        self._ahead = x.shape[0] // self._every
        return dict(self._cell.project(ops, p, ops.concat([x[: self._ahead], x], 0) if self._ahead else x))

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """That of the cell; an additional one leaves the state as it was."""
        new, y = self._cell.step(ops, p, u, state)
        if self._ahead == 0:
            return new, y
        self._ahead -= 1
        return dict(state), y


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
        longer: Any = {
            name: Longer(check_recurrent(cell, NAME), self.every)
            for name, cell in cells.items()
            if not isinstance(cell, SequenceCell)
        }
        return backends["numpy"].open(settings, longer)


@hookimpl
def rnnbench_backends() -> Sequence[Backend]:
    """No additional time step."""
    return [SelfTest()]
