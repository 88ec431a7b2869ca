"""Long short-term memory with layer normalisation inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnbench.cells.gates import gated_shapes, linear
from rnnbench.cells.normalising import layer_norm, layer_norm_gates
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class LSTMLayerNorm:
    """Gates i, f, g, o of z = LN(x_t W_x; gain_x) + LN(h_{t-1} W_h; gain_h) + b, each LN over 4H features.

    c_t = σ(z_f) ⊙ c_{t-1} + σ(z_i) ⊙ tanh(z_g);  h_t = σ(z_o) ⊙ tanh(LN(c_t; gain_c, shift_c));  y_t = h_t.
    ε is 1e-5, as in the authors' code. The shifts of the first two LN are one with b.
    """

    name: str = "lstm_layer_norm"
    gates: tuple[str, ...] = ("i", "f", "g", "o")
    paper: str = "Ba, Kiros & Hinton 2016, Layer normalization (its supplement)"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,4,H), W_h (H,4,H), b, gain_x, gain_h (4,H), gain_c and shift_c (H)."""
        H, gates = sizes.hidden, (len(self.gates), sizes.hidden)
        gains = {"gain_x": gates, "gain_h": gates, "gain_c": (H,), "shift_c": (H,)}
        return {**gated_shapes(sizes, self.gates), **gains}

    def start(self, sizes: Sizes, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Gains 1, the shift 0."""
        shapes = self.shapes(sizes)
        gains = {name: np.ones(shapes[name]) for name in ("gain_x", "gain_h", "gain_c")}
        return {**gains, "shift_c": np.zeros(shapes["shift_c"])}

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """h (H) and c (H)."""
        return {"h": (sizes.hidden,), "c": (sizes.hidden,)}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """LN(x_t W_x) + b for all t and gates."""
        return {"u": layer_norm_gates(ops, linear(ops, x, p["W_x"]), p["gain_x"]) + p["b"]}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        z = u["u"] + layer_norm_gates(ops, linear(ops, state["h"], p["W_h"]), p["gain_h"])
        i, f, g, o = z[:, 0], z[:, 1], z[:, 2], z[:, 3]
        c = ops.sigmoid(f) * state["c"] + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(layer_norm(ops, c, p["gain_c"], p["shift_c"]))
        return {"h": h, "c": c}, h
