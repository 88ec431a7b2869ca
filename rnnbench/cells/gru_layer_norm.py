"""A gated recurrent unit with layer normalisation inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnbench.cells.gates import gated_shapes, linear
from rnnbench.cells.normalising import layer_norm, layer_norm_gates
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class GRULayerNorm:
    """r, z = σ(LN(x_t W_x; gain_x) + LN(h_{t-1} W_h; gain_h) + b), each LN over the 2H features of r and z.

    n = tanh(LN(x_t W_n; gain_x) + b_n + r ⊙ (LN(h_{t-1} U_n; gain_h) + b_hn)): reset after, as in ``gru``.
    h_t = (1 - z) ⊙ n + z ⊙ h_{t-1};  y_t = h_t. z keeps the old state and ε is 1e-5, as in the authors' code.
    """

    name: str = "gru_layer_norm"
    gates: tuple[str, ...] = ("r", "z", "n")
    paper: str = "Ba, Kiros & Hinton 2016, Layer normalization (its supplement, and the authors' code)"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,3,H), W_h (H,3,H), b, gain_x, gain_h (3,H), b_hn (H); gains of n in the last row."""
        gates = (len(self.gates), sizes.hidden)
        return {**gated_shapes(sizes, self.gates), "b_hn": gates[1:], "gain_x": gates, "gain_h": gates}

    def start(self, sizes: Sizes, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Gains 1."""
        shapes = self.shapes(sizes)
        return {name: np.ones(shapes[name]) for name in ("gain_x", "gain_h")}

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """h (H)."""
        return {"h": (sizes.hidden,)}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """LN(x_t W_x) + b for all t: "rz" (T,B,2,H) and "n" (T,B,H)."""
        z, gain, b = linear(ops, x, p["W_x"]), p["gain_x"], p["b"]
        n = layer_norm(ops, z[:, :, 2], gain[2], b[2])
        return {"rz": layer_norm_gates(ops, z[:, :, :2], gain[:2]) + b[:2], "n": n}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        a, gain = linear(ops, state["h"], p["W_h"]), p["gain_h"]
        rz = ops.sigmoid(u["rz"] + layer_norm_gates(ops, a[:, :2], gain[:2]))
        r, z = rz[:, 0], rz[:, 1]
        n = ops.tanh(u["n"] + r * layer_norm(ops, a[:, 2], gain[2], p["b_hn"]))
        h = (1 - z) * n + z * state["h"]
        return {"h": h}, h
