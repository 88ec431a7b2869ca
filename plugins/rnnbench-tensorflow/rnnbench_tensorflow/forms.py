"""Which Keras layer computes which cell; imports neither Keras nor TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.activations import ACTIVATIONS
from rnnbench.cells.elman import Elman
from rnnbench.cells.gru import GRU, GRUResetBefore
from rnnbench.cells.lstm import LSTM
from rnnbench.contracts import Cell

HANDLED = frozenset(
    {
        "layers", "bidirectional", "vocab", "lengths", "projection", "residual", "norm", "dropout",
        "dropout_kind",
    }
)  # fmt: skip
"""Of a network's structure, what these layers follow. None of them projects."""


@dataclass(frozen=True, slots=True)
class KerasForm:
    """A layer in ``keras.layers`` and how a cell's names map onto it.

    ``gates`` are the cell's own gate names in the order of the layer's kernel; ``states`` the
    cell's state names in the order in which the layer takes and returns them.
    """

    layer: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    activation: str = "tanh"
    reset_after: bool | None = None

    @property
    def words(self) -> str:
        """For a person: "keras LSTM", "keras GRU (reset_after=False)", "keras SimpleRNN (relu)"."""
        detail = ""
        if self.layer == "SimpleRNN":
            detail = f" ({self.activation})"
        elif self.reset_after is not None:
            detail = f" (reset_after={self.reset_after})"
        return f"keras {self.layer}{detail}"


def keras_form(cell: Cell) -> KerasForm | None:
    """The layer for a cell, or None where Keras has none. Keras orders i,f,c,o and z,r,h."""
    if type(cell) not in (Elman, LSTM, GRU, GRUResetBefore):
        return None  # a subclass of somebody's may have another step
    match cell:
        case Elman() if cell.activation in ACTIVATIONS:
            return KerasForm("SimpleRNN", ("h",), ("h",), activation=cell.activation)
        case LSTM():
            return KerasForm("LSTM", ("i", "f", "g", "o"), ("h", "c"))
        case GRU():
            return KerasForm("GRU", ("z", "r", "n"), ("h",), reset_after=True)
        case GRUResetBefore():
            return KerasForm("GRU", ("z", "r", "n"), ("h",), reset_after=False)
    return None
