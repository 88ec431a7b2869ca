"""Simple recurrent unit: the old state enters the gates elementwise, and all products are hoisted."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.gates import linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class SRU:
    """f, r = σ(x_t W_x + v ⊙ c_{t-1} + b);  c_t = f ⊙ c_{t-1} + (1 - f) ⊙ x_t W_c.

    y_t = r ⊙ c_t + (1 - r) ⊙ x_t W_skip;  where I = H, x_t itself stands in the place of x_t W_skip.
    Without the constant α that the paper's section on initialisation puts before x_t. c_{t-1} in the
    gates makes the step nonlinear in its state: no associative scan (version 1, of 2017, has v = 0).
    """

    name: str = "sru"
    gates: tuple[str, ...] = ("f", "r")
    paper: str = "Lei et al. 2018, Simple recurrent units (arXiv:1709.02755v5)"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,2,H), b (2,H), v (2,H), W_c (I,H), and W_skip (I,H) where I differs from H."""
        I, G, H = sizes.input, len(self.gates), sizes.hidden  # noqa: E741 - the field's names
        shapes: dict[str, tuple[int, ...]] = {"W_x": (I, G, H), "b": (G, H), "v": (G, H), "W_c": (I, H)}
        return shapes if I == H else {**shapes, "W_skip": (I, H)}

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """c (H)."""
        return {"c": (sizes.hidden,)}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """Of all t: x_t W_x + b, x_t W_c, and what is skipped to the output."""
        skip = ops.matmul(x, p["W_skip"]) if "W_skip" in p else x
        return {"u": linear(ops, x, p["W_x"]) + p["b"], "c": ops.matmul(x, p["W_c"]), "skip": skip}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        c = state["c"]
        g = u["u"] + p["v"] * ops.reshape(c, (-1, 1, c.shape[1]))
        f, r = ops.sigmoid(g[:, 0]), ops.sigmoid(g[:, 1])
        c = f * c + (1 - f) * u["c"]
        return {"c": c}, r * c + (1 - r) * u["skip"]
