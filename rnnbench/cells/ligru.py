"""Light gated recurrent unit: a GRU without its reset gate and with relu, made for speech."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.gates import gated_shapes, linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class LiGRU:
    """z = σ(x_t W_z + h_{t-1} U_z + b_z);  n = relu(x_t W_n + h_{t-1} U_n + b_n).

    h_t = z ⊙ h_{t-1} + (1 - z) ⊙ n; y_t = h_t.

    The paper normalises x_t W over the batch, and so keeps relu from growing over time. This pure cell does
    not. A network can normalise a layer's output (norm: batch or layer), which is another function.
    """

    name: str = "ligru"
    gates: tuple[str, ...] = ("z", "n")
    paper: str = "Ravanelli et al. 2018 (arXiv:1803.10225), without its batch normalisation"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,2,H), W_h (H,2,H), b (2,H)."""
        return gated_shapes(sizes, self.gates)

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """h (H)."""
        return {"h": (sizes.hidden,)}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """x_t W_x + b for all t and gates."""
        return {"u": linear(ops, x, p["W_x"]) + p["b"]}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        a = u["u"] + linear(ops, state["h"], p["W_h"])
        z, n = ops.sigmoid(a[:, 0]), ops.relu(a[:, 1])
        h = z * state["h"] + (1 - z) * n
        return {"h": h}, h
