"""Normalisation: over the features of one example at one time step, or of each feature over a batch."""

from __future__ import annotations

from rnnbench.cells.ops import Array, Ops

LAYER_NORM_EPSILON = 1e-5
"""Added to the variance, inside the root: torch's and equinox's default (Keras: 1e-3, flax: 1e-6)."""
BATCH_NORM_EPSILON = 1e-5
"""The same of batch normalisation: torch's and flax's default (Keras: 1e-3)."""
BATCH_NORM_MOMENTUM = 0.9
"""What running statistics keep of themselves: torch's default, which it writes 0.1 (Keras: 0.99)."""


def layer_norm(ops: Ops, x: Array, gain: Array, shift: Array | float) -> Array:
    """gain ⊙ (x - μ) / √(σ² + ε) + shift, with μ and σ² (biased) over the last axis (Ba et al. 2016, eq. 3).

    x (...,N), gain and shift (N,), or 0.0 for no shift -> (...,N).
    """
    N, kept = x.shape[-1], (*x.shape[:-1], 1)
    last = len(kept) - 1
    centred = x - ops.reshape(ops.sum(x, last), kept) / N
    variance = ops.reshape(ops.sum(centred * centred, last), kept) / N
    return gain * centred / ops.sqrt(variance + LAYER_NORM_EPSILON) + shift


def batch_norm(
    ops: Ops, x: Array, gain: Array, shift: Array, mask: Array | None
) -> tuple[Array, Array, Array]:
    """gain ⊙ (x - μ) / √(σ² + ε) + shift, with μ and σ² (N,) of each feature over all else; also μ and σ².

    Ioffe & Szegedy 2015, algorithm 1. x (...,N); where mask (...,1) is False x does not count. σ² is that of
    the population: the sum of squares is divided by how many there are.
    """
    features = x.shape[-1]
    rows = ops.reshape(x, (-1, features))
    valid = None if mask is None else ops.reshape(mask, (-1, 1))
    count: Array = 1
    if valid is None:
        for size in x.shape[:-1]:
            count = count * size
    else:
        count = ops.sum(ops.where(valid, ops.zeros((1,), x) + 1.0, 0.0))
        rows = ops.where(valid, rows, 0.0)
    mean = ops.sum(rows, 0) / count
    centred = rows - mean if valid is None else ops.where(valid, rows - mean, 0.0)
    variance = ops.sum(centred * centred, 0) / count
    return batch_norm_by(ops, x, gain, shift, mean, variance), mean, variance


def batch_norm_by(ops: Ops, x: Array, gain: Array, shift: Array, mean: Array, variance: Array) -> Array:
    """gain ⊙ (x - μ) / √(σ² + ε) + shift with given statistics (N,): a function of each example alone."""
    return gain * (x - mean) / ops.sqrt(variance + BATCH_NORM_EPSILON) + shift


def layer_norm_gates(ops: Ops, z: Array, gain: Array) -> Array:
    """z (...,G,H), gain (G,H) -> the same, normalised over G and H as one axis: the gates share μ and σ²."""
    G, H = gain.shape
    flat = ops.reshape(z, (*z.shape[:-2], G * H))
    y = layer_norm(ops, flat, ops.reshape(gain, (G * H,)), 0.0)
    return ops.reshape(y, (*z.shape[:-2], G, H))
