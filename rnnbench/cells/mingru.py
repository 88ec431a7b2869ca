"""Minimal GRU: gate and candidate see the input alone, so all steps can be computed at once."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.gates import linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class MinGRU:
    """z = σ(x_t W_z + b_z);  n = x_t W_n + b_n;  h_t = (1 - z) ⊙ h_{t-1} + z ⊙ n;  y_t = h_t.

    The paper's vanilla form, whose candidate n is linear. Its log-space form passes n through a g > 0 to
    take logarithms: another function, which a scan that needs no logarithms does without.
    """

    name: str = "mingru"
    gates: tuple[str, ...] = ("z", "n")
    paper: str = "Feng et al. 2024, Were RNNs all we needed? (arXiv:2410.01201)"
    complex_state: bool = False

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,2,H), b (2,H)."""
        G, H = len(self.gates), sizes.hidden
        return {"W_x": (sizes.input, G, H), "b": (G, H)}

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """h (H)."""
        return {"h": (sizes.hidden,)}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """z and n for all t."""
        u = linear(ops, x, p["W_x"]) + p["b"]
        return {"z": ops.sigmoid(u[..., 0, :]), "n": u[..., 1, :]}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        h = (1 - u["z"]) * state["h"] + u["z"] * u["n"]
        return {"h": h}, h

    def affine(self, ops: Ops, p: Arrays, u: Arrays, before: Arrays) -> dict[str, tuple[Array, Array]]:
        """a = 1 - z, b = z ⊙ n."""
        return {"h": (1 - u["z"], u["z"] * u["n"])}

    def read(self, ops: Ops, p: Arrays, u: Arrays, before: Arrays, after: Arrays) -> Array:
        """The states."""
        return after["h"]
