"""Elman's simple recurrent network, one cell for each activation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rnnbench.cells.gates import gated_shapes, linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes

LEAKY_SLOPE = 0.01
"""Slope below zero: torch's and JAX's default (Keras: 0.3 in its layer, 0.2 in its function)."""

ACTIVATIONS: dict[str, Callable[[Ops, Array], Array]] = {
    "tanh": lambda ops, x: ops.tanh(x),
    "relu": lambda ops, x: ops.relu(x),
    "sigmoid": lambda ops, x: ops.sigmoid(x),
    "leaky_relu": lambda ops, x: ops.where(x > 0, x, LEAKY_SLOPE * x),
}


@dataclass(frozen=True, slots=True)
class Elman:
    """h_t = φ(x_t W_x + h_{t-1} W_h + b); y_t = h_t."""

    name: str
    activation: str
    gates: tuple[str, ...] = ("h",)
    paper: str = "Elman 1990, Finding structure in time"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,1,H), W_h (H,1,H), b (1,H)."""
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
        z = u["u"] + linear(ops, state["h"], p["W_h"])
        h = ACTIVATIONS[self.activation](ops, z[:, 0])
        return {"h": h}, h


ELMAN_CELLS = (
    Elman("elman", "tanh"),
    Elman("elman_relu", "relu"),
    Elman("elman_sigmoid", "sigmoid"),
    Elman("elman_leaky_relu", "leaky_relu"),
)
