"""Independently recurrent network: every unit remembers itself alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnbench.cells.gates import linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class IndRNN:
    """h_t = relu(x_t W_x + u ⊙ h_{t-1} + b); y_t = h_t."""

    name: str = "indrnn"
    gates: tuple[str, ...] = ("h",)
    paper: str = "Li et al. 2018 (arXiv:1803.04831)"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,1,H), u (H), b (1,H)."""
        return {"W_x": (sizes.input, 1, sizes.hidden), "u": (sizes.hidden,), "b": (1, sizes.hidden)}

    def start(self, sizes: Sizes, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """U from U(0, 1): the paper's [0, γ^(1/T)] as T grows, and its published code's rule without a T.

        The paper also keeps |u| below γ^(1/T) while it trains; nothing does that here.
        """
        return {"u": rng.uniform(0.0, 1.0, sizes.hidden)}

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """h (H)."""
        return {"h": (sizes.hidden,)}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """x_t W_x + b for all t."""
        return {"z": linear(ops, x, p["W_x"]) + p["b"]}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        h = ops.relu(u["z"][:, 0] + p["u"] * state["h"])
        return {"h": h}, h
