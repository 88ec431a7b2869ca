"""Long short-term memory that feeds back a projection of its output (LSTMP)."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.gates import gated_shapes, linear, projected_size
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class LSTMProjected:
    """Gates i, f, g, o of z = x_t W_x + h_{t-1} W_h + b, where h has P features.

    c_t = σ(z_f) ⊙ c_{t-1} + σ(z_i) ⊙ tanh(z_g);  h_t = (σ(z_o) ⊙ tanh(c_t)) W_p;  y_t = h_t.
    P is ``projection``, or H / 4. Without the paper's peepholes, as in torch's proj_size.
    """

    name: str = "lstm_projected"
    gates: tuple[str, ...] = ("i", "f", "g", "o")
    paper: str = "Sak, Senior & Beaufays 2014, Long short-term memory recurrent neural network architectures"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,4,H), W_h (P,4,H), b (4,H), W_p (H,P)."""
        H, P = sizes.hidden, projected_size(sizes)
        return {**gated_shapes(sizes, self.gates), "W_h": (P, len(self.gates), H), "W_p": (H, P)}

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """h (P) and c (H)."""
        return {"h": (projected_size(sizes),), "c": (sizes.hidden,)}

    def output_size(self, sizes: Sizes) -> int:
        """P."""
        return projected_size(sizes)

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """x_t W_x + b for all t and gates."""
        return {"u": linear(ops, x, p["W_x"]) + p["b"]}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        z = u["u"] + linear(ops, state["h"], p["W_h"])
        i, f, g, o = z[:, 0], z[:, 1], z[:, 2], z[:, 3]
        c = ops.sigmoid(f) * state["c"] + ops.sigmoid(i) * ops.tanh(g)
        h = ops.matmul(ops.sigmoid(o) * ops.tanh(c), p["W_p"])
        return {"h": h, "c": c}, h
