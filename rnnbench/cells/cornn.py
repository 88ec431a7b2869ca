"""Coupled oscillatory recurrent network: units are damped oscillators that drive each other."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.gates import gated_shapes, linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class CoRNN:
    """z_t = z_{t-1} + Δt (tanh(x_t W_x + h_{t-1} W_h + z_{t-1} W_z + b) - γ h_{t-1} - ε z_{t-1}).

    h_t = h_{t-1} + Δt z_t; y_t = h_t: positions h, velocities z.

    The damping -ε z is explicit, from the old z: the paper allows the new one too, its published code and
    torchrecurrent's take the old. Defaults are that code's for sequential MNIST; the paper tunes all three.
    """

    name: str = "cornn"
    dt: float = 0.042
    gamma: float = 2.7
    eps: float = 4.7
    gates: tuple[str, ...] = ("z",)
    paper: str = "Rusch and Mishra 2021 (arXiv:2010.00951)"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,1,H), W_h (H,1,H) of the positions, W_z (H,1,H) of the velocities, b (1,H)."""
        return {**gated_shapes(sizes, self.gates), "W_z": (sizes.hidden, 1, sizes.hidden)}

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """h (H), z (H)."""
        return {"h": (sizes.hidden,), "z": (sizes.hidden,)}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """x_t W_x + b for all t."""
        return {"u": linear(ops, x, p["W_x"]) + p["b"]}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        h, z = state["h"], state["z"]
        a = u["u"] + linear(ops, h, p["W_h"]) + linear(ops, z, p["W_z"])
        z = z + self.dt * (ops.tanh(a[:, 0]) - self.gamma * h - self.eps * z)
        h = h + self.dt * z
        return {"h": h, "z": z}, h
