"""Causal convolution over time: a product with a window of the past, the same one at every step."""

from __future__ import annotations

from rnnbench.cells.ops import Array, Ops


def convolve(ops: Ops, x: Array, W: Array, b: Array, taps: int, dilation: int = 1) -> Array:
    """y_t = Σ_k x_{t - k·dilation} W_k + b, k = 0 ... taps-1, with zeros before the first step.

    x (T,B,I), W (taps·I,H) with the oldest step's rows first, b (H) -> (T,B,H).
    """
    T, B, features = x.shape
    before = (taps - 1) * dilation
    if before:
        padded = ops.concat([ops.zeros((before, B, features), x), x], 0)
        # one product with all taps side by side: narrow ones would keep a core waiting for memory
        x = ops.concat([padded[start : start + T] for start in range(0, before + 1, dilation)], 2)
    return ops.matmul(x, W) + b
