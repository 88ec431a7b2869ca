"""Long short-term memory with a forget gate."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.gates import gated_shapes, linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class LSTM:
    """Gates i, f, g, o of z = x_t W_x + h_{t-1} W_h + b.

    c_t = σ(z_f) ⊙ c_{t-1} + σ(z_i) ⊙ tanh(z_g);  h_t = σ(z_o) ⊙ tanh(c_t);  y_t = h_t.
    """

    name: str = "lstm"
    gates: tuple[str, ...] = ("i", "f", "g", "o")
    paper: str = "Gers, Schmidhuber & Cummins 2000, Learning to forget"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,4,H), W_h (H,4,H), b (4,H)."""
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
        i, f, g, o = z[:, 0], z[:, 1], z[:, 2], z[:, 3]
        c = ops.sigmoid(f) * state["c"] + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(c)
        return {"h": h, "c": c}, h
