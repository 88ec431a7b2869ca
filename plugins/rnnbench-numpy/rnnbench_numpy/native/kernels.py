"""Which cells have been derived by hand."""

from __future__ import annotations

from rnnbench.cells.elman import Elman
from rnnbench.cells.gru import GRU, GRUResetBefore
from rnnbench.cells.lstm import LSTM
from rnnbench.contracts import Cell
from rnnbench_numpy.native.elman import ACTIVATIONS, ElmanKernel
from rnnbench_numpy.native.gru import GRUKernel
from rnnbench_numpy.native.gru_reset_before import GRUResetBeforeKernel
from rnnbench_numpy.native.kernel import Kernel
from rnnbench_numpy.native.lstm import LSTMKernel


def kernel_of(cell: Cell) -> Kernel | None:
    """The kernel of a built-in cell; None for any other, even one that is derived from a built-in."""
    # by exact type: a subclass may have overridden step
    if type(cell) is Elman:
        return ElmanKernel(cell.activation) if cell.activation in ACTIVATIONS else None
    kernels: dict[type, Kernel] = {
        LSTM: LSTMKernel(),
        GRU: GRUKernel(),
        GRUResetBefore: GRUResetBeforeKernel(),
    }
    return kernels.get(type(cell))
