"""The minimal gated unit: a GRU whose only gate resets and updates."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.gates import gated_shapes, linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class MGU:
    """u = σ(x_t W_x + h_{t-1} W_h + b);  n = tanh(x_t W_n + (u ⊙ h_{t-1}) U_n + b_n).

    h_t = (1 - u) ⊙ h_{t-1} + u ⊙ n;  y_t = h_t.
    u is the paper's forget gate f. As it lets the new in, a forget bias would not make it remember.
    """

    name: str = "mgu"
    gates: tuple[str, ...] = ("u", "n")
    paper: str = "Zhou et al. 2016, Minimal gated unit for recurrent neural networks"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,2,H), W_h (H,2,H), b (2,H)."""
        return gated_shapes(sizes, self.gates)

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """h (H)."""
        return {"h": (sizes.hidden,)}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """x_t W_x + b for all t and gates."""
        return {"u": linear(ops, x, p["W_x"]) + p["b"]}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        x, h = u["u"], state["h"]
        gate = ops.sigmoid(x[:, 0] + ops.matmul(h, p["W_h"][:, 0]))
        n = ops.tanh(x[:, 1] + ops.matmul(gate * h, p["W_h"][:, 1]))
        h = (1 - gate) * h + gate * n
        return {"h": h}, h
