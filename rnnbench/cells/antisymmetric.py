"""AntisymmetricRNN: a stable differential equation, discretised by the forward Euler method."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.gates import gated_shapes, linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class Antisymmetric:
    """h_t = h_{t-1} + ε tanh(x_t W_x + h_{t-1} (W_h - W_hᵀ - γ I) + b); y_t = h_t.

    ε is the step size, γ the diffusion. The paper tunes both for each task; the defaults are a choice:
    what is not refreshed decays by εγ = 1 % a step. This is the form without a gate.
    """

    name: str = "antisymmetric"
    eps: float = 0.1
    gamma: float = 0.1
    gates: tuple[str, ...] = ("h",)
    paper: str = "Chang et al. 2019 (arXiv:1902.09689)"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,1,H), W_h (H,1,H), of which only the antisymmetric part matters, b (1,H)."""
        return gated_shapes(sizes, self.gates)

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """h (H)."""
        return {"h": (sizes.hidden,)}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """x_t W_x + b for all t."""
        return {"u": linear(ops, x, p["W_x"]) + p["b"]}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        h, W = state["h"], p["W_h"][:, 0]
        a = ops.matmul(h, W - ops.swap(W, 0, 1)) - self.gamma * h
        h = h + self.eps * ops.tanh(u["u"][:, 0] + a)
        return {"h": h}, h
