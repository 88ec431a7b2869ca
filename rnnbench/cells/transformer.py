"""A small causal Transformer: every step reads all steps up to itself, and none is passed on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rnnbench.cells.attending import NEVER
from rnnbench.cells.gates import linear
from rnnbench.cells.network import part
from rnnbench.cells.normalising import layer_norm
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes

WIDENING = 4
"""Units of a block's feed-forward part for each of its H features (Vaswani et al. 2017, section 3.3)."""


@dataclass(frozen=True, slots=True)
class Transformer:
    """z = x_t W_in + b_in + sinusoid_t; then ``blocks`` = 2 times, with ``heads`` = 4 heads j:

    q, k, v = LN(z) W_qkv + b_qkv;  z = z + [Σ_{s≤t} softmax_s(q_t · k_s / √d) v_s, of all j] W_o + b_o.
    z = z + relu(LN(z) W_1 + b_1) W_2 + b_2, of width 4 H.
    y_t = LN(z). d = H / 4, rounded down, at least 1. Without dropout; inputs are not scaled by √H.
    """

    name: str = "transformer"
    gates: tuple[str, ...] = ()
    paper: str = (
        "Vaswani et al. 2017, Attention is all you need (arXiv:1706.03762); norms as in Xiong et al. 2020, "
        "On layer normalization in the Transformer architecture (arXiv:2002.04745)"
    )
    blocks: int = 2
    heads: int = 4

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_in (I,H), <n>.W_qkv (H,3,A), W_o (A,H), W_1 (H,4H), W_2 (4H,H), biases; gains and shifts (H)."""
        H, A, wide = sizes.hidden, self.heads * max(1, sizes.hidden // self.heads), WIDENING * sizes.hidden
        block = {
            **dict.fromkeys(("gain_1", "shift_1", "gain_2", "shift_2"), (H,)),
            "W_qkv": (H, 3, A), "b_qkv": (3, A), "W_o": (A, H), "b_o": (H,),
            "W_1": (H, wide), "b_1": (wide,), "W_2": (wide, H), "b_2": (H,),
        }  # fmt: skip
        return {
            "W_in": (sizes.input, H),
            "b_in": (H,),
            **{f"{n}.{name}": shape for n in range(self.blocks) for name, shape in block.items()},
            "gain": (H,),
            "shift": (H,),
        }

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """None."""
        return {}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def start(self, sizes: Sizes, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Norms change nothing: gains of 1, shifts of 0."""
        shapes = self.shapes(sizes)
        gains = {name: np.ones(shape) for name, shape in shapes.items() if "gain" in name}
        return gains | {name: np.zeros(shape) for name, shape in shapes.items() if "shift" in name}

    def over(self, ops: Ops, p: Arrays, x: Array) -> Array:
        """All steps, one block after the other."""
        places = ops.constant(sinusoids(x.shape[0], p["W_in"].shape[1]), x)
        z = ops.matmul(x, p["W_in"]) + p["b_in"] + places
        for n in range(self.blocks):
            b = part(p, f"{n}.")
            z = z + _attend(ops, b, layer_norm(ops, z, b["gain_1"], b["shift_1"]), self.heads)
            hidden = ops.relu(ops.matmul(layer_norm(ops, z, b["gain_2"], b["shift_2"]), b["W_1"]) + b["b_1"])
            z = z + ops.matmul(hidden, b["W_2"]) + b["b_2"]
        return layer_norm(ops, z, p["gain"], p["shift"])


@lru_cache(maxsize=16)
def sinusoids(length: int, features: int) -> np.ndarray:
    """(T,1,H), float64: sin(t / 10000^(2i/H)) in column 2i, cos of the same in column 2i+1 (section 3.5)."""
    columns = np.arange(features)
    angles = np.arange(length)[:, None] / 10_000.0 ** (columns // 2 * 2 / features)
    return np.where(columns % 2, np.cos(angles), np.sin(angles))[:, None]


def _attend(ops: Ops, p: Arrays, z: Array, heads: int) -> Array:
    """z (T,B,H) -> (T,B,H), each step of what stands up to it."""
    T, B, _ = z.shape
    qkv = linear(ops, z, p["W_qkv"]) + p["b_qkv"]
    A = qkv.shape[3]

    def by_head(x: Array) -> Array:
        return ops.swap(ops.reshape(x, (T, B * heads, A // heads)), 0, 1)

    q, k, v = (by_head(qkv[:, :, index]) for index in range(3))
    scores = ops.batch_matmul(q, ops.swap(k, 1, 2)) / math.sqrt(A // heads)
    steps = ops.steps(T, z)
    known = ops.reshape(steps, (1, T)) <= ops.reshape(steps, (T, 1))
    weights = ops.exp(ops.log_softmax(ops.where(known, scores, NEVER)))
    read = ops.reshape(ops.swap(ops.batch_matmul(weights, v), 0, 1), (T, B, A))
    return ops.matmul(read, p["W_o"]) + p["b_o"]
