"""Minimal LSTM: gates that see the input alone and share one whole between them."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.gates import linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class MinLSTM:
    """f, i = σ(x_t W_x + b);  n = x_t W_n + b_n;  h_t = f/(f+i) ⊙ h_{t-1} + i/(f+i) ⊙ n;  y_t = h_t.

    The paper's vanilla form, whose candidate n is linear (see mingru).
    """

    name: str = "minlstm"
    gates: tuple[str, ...] = ("f", "i", "n")
    paper: str = "Feng et al. 2024, Were RNNs all we needed? (arXiv:2410.01201)"
    complex_state: bool = False

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,3,H), b (3,H)."""
        G, H = len(self.gates), sizes.hidden
        return {"W_x": (sizes.input, G, H), "b": (G, H)}

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """h (H)."""
        return {"h": (sizes.hidden,)}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """f/(f+i) = σ(ln f - ln i), which is no 0/0 where both gates underflow, and n, for all t."""
        u = linear(ops, x, p["W_x"]) + p["b"]
        f = ops.sigmoid(_softplus(ops, -u[..., 1, :]) - _softplus(ops, -u[..., 0, :]))
        return {"f": f, "n": u[..., 2, :]}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        h = u["f"] * state["h"] + (1 - u["f"]) * u["n"]
        return {"h": h}, h

    def affine(self, ops: Ops, p: Arrays, u: Arrays, before: Arrays) -> dict[str, tuple[Array, Array]]:
        """a = f/(f+i), b = (1 - a) ⊙ n."""
        return {"h": (u["f"], (1 - u["f"]) * u["n"])}

    def read(self, ops: Ops, p: Arrays, u: Arrays, before: Arrays, after: Arrays) -> Array:
        """The states."""
        return after["h"]


def _softplus(ops: Ops, x: Array) -> Array:
    # -ln σ(-x); beyond 30 it is x to the last bit, and exp would overflow
    return ops.log(1 + ops.exp(ops.minimum(x, 30.0))) + ops.relu(x - 30.0)
