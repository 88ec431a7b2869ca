"""Long short-term memory whose input gate is what the forget gate leaves (CIFG)."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.gates import gated_shapes, linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class LSTMCoupled:
    """Gates f, g, o of z = x_t W_x + h_{t-1} W_h + b.

    c_t = σ(z_f) ⊙ c_{t-1} + (1 - σ(z_f)) ⊙ tanh(z_g);  h_t = σ(z_o) ⊙ tanh(c_t);  y_t = h_t.
    """

    name: str = "lstm_coupled"
    gates: tuple[str, ...] = ("f", "g", "o")
    paper: str = "Greff et al. 2015, LSTM: A search space odyssey (CIFG, without peepholes)"

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
        f, g, o = ops.sigmoid(z[:, 0]), z[:, 1], z[:, 2]
        c = f * state["c"] + (1 - f) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(c)
        return {"h": h, "c": c}, h
