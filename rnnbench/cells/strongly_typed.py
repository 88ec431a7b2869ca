"""Strongly typed RNN: the state is a running average of projected inputs, never multiplied by a matrix."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.gates import linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class StronglyTyped:
    """T-RNN: z = x_t W_z;  f = σ(x_t W_x + b);  h_t = f ⊙ h_{t-1} + (1 - f) ⊙ z;  y_t = h_t.

    z has no bias in the paper; torchrecurrent's TRNN gives it one.
    """

    name: str = "strongly_typed"
    gates: tuple[str, ...] = ("f",)
    paper: str = "Balduzzi & Ghifary 2016, Strongly-typed recurrent neural networks (arXiv:1602.02218)"
    complex_state: bool = False

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_z (I,H), and of the gate W_x (I,1,H), b (1,H)."""
        I, H = sizes.input, sizes.hidden  # noqa: E741 - the field's names
        return {"W_z": (I, H), "W_x": (I, 1, H), "b": (1, H)}

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """h (H)."""
        return {"h": (sizes.hidden,)}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """z and f for all t."""
        f = ops.sigmoid(linear(ops, x, p["W_x"]) + p["b"])
        return {"z": ops.matmul(x, p["W_z"]), "f": f[..., 0, :]}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        h = u["f"] * state["h"] + (1 - u["f"]) * u["z"]
        return {"h": h}, h

    def affine(self, ops: Ops, p: Arrays, u: Arrays, before: Arrays) -> dict[str, tuple[Array, Array]]:
        """a = f, b = (1 - f) ⊙ z."""
        return {"h": (u["f"], (1 - u["f"]) * u["z"])}

    def read(self, ops: Ops, p: Arrays, u: Arrays, before: Arrays, after: Arrays) -> Array:
        """The states."""
        return after["h"]
