"""Jordan's network: what is fed back is the output."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.gates import gated_shapes, linear, projected_size
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class Jordan:
    """h_t = tanh(x_t W_x + y_{t-1} W_h + b);  y_t = tanh(h_t W_y + b_y); the state is y, of P features.

    P is ``projection``, or H / 4. Without the connection of Jordan's state units to themselves, as mostly.
    """

    name: str = "jordan"
    gates: tuple[str, ...] = ("h",)
    paper: str = "Jordan 1986, Serial order: a parallel distributed processing approach"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,1,H), W_h (P,1,H), b (1,H), W_y (H,P), b_y (P)."""
        H, P = sizes.hidden, projected_size(sizes)
        return {**gated_shapes(sizes, self.gates), "W_h": (P, 1, H), "W_y": (H, P), "b_y": (P,)}

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """y (P)."""
        return {"y": (projected_size(sizes),)}

    def output_size(self, sizes: Sizes) -> int:
        """P."""
        return projected_size(sizes)

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """x_t W_x + b for all t and gates."""
        return {"u": linear(ops, x, p["W_x"]) + p["b"]}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        z = u["u"] + linear(ops, state["y"], p["W_h"])
        y = ops.tanh(ops.matmul(ops.tanh(z[:, 0]), p["W_y"]) + p["b_y"])
        return {"y": y}, y
