"""What gated cells share: parameter shapes with a named gate axis, and the product that keeps it."""

from __future__ import annotations

from rnnbench.cells.ops import Array, Ops
from rnnbench.contracts import Sizes


def gated_shapes(sizes: Sizes, gates: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """W_x (I,G,H), W_h (H,G,H), b (G,H): one bias per gate."""
    G, H = len(gates), sizes.hidden
    return {"W_x": (sizes.input, G, H), "W_h": (H, G, H), "b": (G, H)}


def projected_size(sizes: Sizes) -> int:
    """Features P of a projected output: a quarter of H where none are given, at least 1."""
    return max(1, sizes.hidden // 4) if sizes.projection is None else sizes.projection


def linear(ops: Ops, x: Array, W: Array) -> Array:
    """x (...,N) times W (N,G,H) -> (...,G,H), as one matrix product."""
    N, G, H = W.shape
    y = ops.matmul(x, ops.reshape(W, (N, G * H)))
    return ops.reshape(y, (*x.shape[:-1], G, H))
