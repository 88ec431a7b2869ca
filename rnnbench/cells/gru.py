"""Gated recurrent units: reset gate after the product with W_h, or before it: two functions, two names."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.gates import gated_shapes, linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class GRU:
    """Reset after: r, z = σ(x_t W_x + h_{t-1} W_h + b);  n = tanh(x_t W_n + b_n + r ⊙ (h_{t-1} U_n + b_hn)).

    h_t = (1 - z) ⊙ n + z ⊙ h_{t-1}: z keeps the old state, as in torch, Keras and cuDNN.
    """

    name: str = "gru"
    gates: tuple[str, ...] = ("r", "z", "n")
    paper: str = "Cho et al. 2014 (arXiv:1406.1078v1)"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,3,H), W_h (H,3,H), b (3,H), and b_hn (H): the n gate's bias inside the reset."""
        return {**gated_shapes(sizes, self.gates), "b_hn": (sizes.hidden,)}

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
        a = linear(ops, h, p["W_h"])
        r = ops.sigmoid(x[:, 0] + a[:, 0])
        z = ops.sigmoid(x[:, 1] + a[:, 1])
        n = ops.tanh(x[:, 2] + r * (a[:, 2] + p["b_hn"]))
        h = (1 - z) * n + z * h
        return {"h": h}, h


@dataclass(frozen=True, slots=True)
class GRUResetBefore:
    """Reset before: n = tanh(x_t W_n + (r ⊙ h_{t-1}) U_n + b_n); all else as in ``gru``."""

    name: str = "gru_reset_before"
    gates: tuple[str, ...] = ("r", "z", "n")
    paper: str = "Cho et al. 2014 (arXiv:1406.1078v3); Chung et al. 2014"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,3,H), W_h (H,3,H), b (3,H)."""
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
        a = linear(ops, h, p["W_h"][:, :2])
        r = ops.sigmoid(x[:, 0] + a[:, 0])
        z = ops.sigmoid(x[:, 1] + a[:, 1])
        n = ops.tanh(x[:, 2] + ops.matmul(r * h, p["W_h"][:, 2]))
        h = (1 - z) * n + z * h
        return {"h": h}, h
