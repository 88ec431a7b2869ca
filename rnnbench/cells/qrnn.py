"""Quasi-recurrent network: gates are a causal convolution of the input, and only a pooling recurs."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.gates import linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class QRNN:
    """Window 2, fo-pooling. Gates z, f, o of g_t = x_t W_x + x_{t-1} W_past + b.

    c_t = σ(f) ⊙ c_{t-1} + (1 - σ(f)) ⊙ tanh(z);  y_t = σ(o) ⊙ c_t.
    f keeps the old state; in Salesforce's code it lets the new one in. The state past is x_{t-1} W_past.
    """

    name: str = "qrnn"
    gates: tuple[str, ...] = ("z", "f", "o")
    paper: str = "Bradbury et al. 2017, Quasi-recurrent neural networks (arXiv:1611.01576)"
    complex_state: bool = False

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,3,H), W_past (I,3,H), b (3,H)."""
        kernel = (sizes.input, len(self.gates), sizes.hidden)
        return {"W_x": kernel, "W_past": kernel, "b": kernel[1:]}

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """c (H) and past (3,H)."""
        return {"c": (sizes.hidden,), "past": (len(self.gates), sizes.hidden)}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """x_t W_x + b, and x_t W_past for the step after t."""
        return {"u": linear(ops, x, p["W_x"]) + p["b"], "past": linear(ops, x, p["W_past"])}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        g = u["u"] + state["past"]
        f = ops.sigmoid(g[:, 1])
        c = f * state["c"] + (1 - f) * ops.tanh(g[:, 0])
        return {"c": c, "past": u["past"]}, ops.sigmoid(g[:, 2]) * c

    def affine(self, ops: Ops, p: Arrays, u: Arrays, before: Arrays) -> dict[str, tuple[Array | None, Array]]:
        """past first (a = 0, b = x_t W_past); once it is known c: a = σ(f), b = (1 - a) ⊙ tanh(z)."""
        if "past" not in before:
            return {"past": (None, u["past"])}
        g = u["u"] + before["past"]
        f = ops.sigmoid(g[:, :, 1])
        return {"c": (f, (1 - f) * ops.tanh(g[:, :, 0]))}

    def read(self, ops: Ops, p: Arrays, u: Arrays, before: Arrays, after: Arrays) -> Array:
        """σ(o) ⊙ c_t."""
        return ops.sigmoid((u["u"] + before["past"])[:, :, 2]) * after["c"]
