"""Long short-term memory as it was first: without a forget gate."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.gates import gated_shapes, linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class LSTMNoForget:
    """Gates i, g, o of z = x_t W_x + h_{t-1} W_h + b.

    c_t = c_{t-1} + σ(z_i) ⊙ tanh(z_g);  h_t = σ(z_o) ⊙ tanh(c_t);  y_t = h_t.
    The paper scales logistic functions to (-2, 2) and (-1, 1) where tanh stands here.
    """

    name: str = "lstm_no_forget"
    gates: tuple[str, ...] = ("i", "g", "o")
    paper: str = "Hochreiter & Schmidhuber 1997, Long short-term memory"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,3,H), W_h (H,3,H), b (3,H)."""
        return gated_shapes(sizes, self.gates)

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
        i, g, o = z[:, 0], z[:, 1], z[:, 2]
        c = state["c"] + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(c)
        return {"h": h, "c": c}, h
