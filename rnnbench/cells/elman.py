"""Elman's simple recurrent network, one cell for each activation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnbench.cells.activations import ACTIVATIONS, PRELU_START, prelu
from rnnbench.cells.gates import gated_shapes, linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


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


@dataclass(frozen=True, slots=True)
class ElmanPReLU:
    """z = x_t W_x + h_{t-1} W_h + b;  h_t = z where z > 0, else a ⊙ z; y_t = h_t.

    a is learned, a slope for each unit.
    """

    name: str = "elman_prelu"
    gates: tuple[str, ...] = ("h",)
    paper: str = "Elman 1990; He et al. 2015 (arXiv:1502.01852)"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,1,H), W_h (H,1,H), b (1,H), and the slopes a (H)."""
        return {**gated_shapes(sizes, self.gates), "a": (sizes.hidden,)}

    def start(self, sizes: Sizes, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Slopes of 0.25, as in He et al."""
        return {"a": np.full(sizes.hidden, PRELU_START)}

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
        h = prelu(ops, z[:, 0], p["a"])
        return {"h": h}, h


ELMAN_CELLS: tuple[Elman | ElmanPReLU, ...] = (
    Elman("elman", "tanh"),
    Elman("elman_relu", "relu"),
    Elman("elman_sigmoid", "sigmoid"),
    Elman("elman_leaky_relu", "leaky_relu"),
    ElmanPReLU(),
    Elman("elman_hard_sigmoid", "hard_sigmoid"),
    Elman("elman_gelu", "gelu"),
    Elman("elman_linear", "linear"),
)
