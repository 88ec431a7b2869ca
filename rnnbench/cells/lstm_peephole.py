"""Long short-term memory whose gates see the cell state."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.gates import gated_shapes, linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class LSTMPeephole:
    """Gates i, f, g, o of z = x_t W_x + h_{t-1} W_h + b, and a weight of each unit for its own cell.

    c_t = σ(z_f + p_f ⊙ c_{t-1}) ⊙ c_{t-1} + σ(z_i + p_i ⊙ c_{t-1}) ⊙ tanh(z_g)
    h_t = σ(z_o + p_o ⊙ c_t) ⊙ tanh(c_t);  y_t = h_t: the output gate sees the new cell state.
    """

    name: str = "lstm_peephole"
    gates: tuple[str, ...] = ("i", "f", "g", "o")
    paper: str = "Gers, Schraudolph & Schmidhuber 2002, Learning precise timing with LSTM recurrent networks"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,4,H), W_h (H,4,H), b (4,H), and p_i, p_f, p_o (H)."""
        H = (sizes.hidden,)
        return {**gated_shapes(sizes, self.gates), "p_i": H, "p_f": H, "p_o": H}

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """h (H) and c (H)."""
        return {"h": (sizes.hidden,), "c": (sizes.hidden,)}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """x_t W_x + b for all t and gates."""
        return {"u": linear(ops, x, p["W_x"]) + p["b"]}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        z = u["u"] + linear(ops, state["h"], p["W_h"])
        i, f, g, o = z[:, 0], z[:, 1], z[:, 2], z[:, 3]
        c = state["c"]
        i, f = ops.sigmoid(i + p["p_i"] * c), ops.sigmoid(f + p["p_f"] * c)
        c = f * c + i * ops.tanh(g)
        h = ops.sigmoid(o + p["p_o"] * c) * ops.tanh(c)
        return {"h": h, "c": c}, h
