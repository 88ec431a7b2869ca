"""The cells that ship with rnnbench. Each is written once, over ``ops``, and runs on every backend."""

from __future__ import annotations

from collections.abc import Sequence

from rnnbench.cells.elman import ELMAN_CELLS
from rnnbench.cells.gru import GRU, GRUResetBefore
from rnnbench.cells.lstm import LSTM
from rnnbench.contracts import Cell
from rnnbench.hookspecs import hookimpl


@hookimpl
def rnnbench_cells() -> Sequence[Cell]:
    """Built-in cells come through the same door as everybody's."""
    return (*ELMAN_CELLS, LSTM(), GRU(), GRUResetBefore())
