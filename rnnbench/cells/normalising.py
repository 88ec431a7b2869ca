"""Normalisation over the features of one example at one time step: no batch takes part in it."""

from __future__ import annotations

from rnnbench.cells.ops import Array, Ops

LAYER_NORM_EPSILON = 1e-5
"""Added to the variance, inside the root: torch's and equinox's default (Keras: 1e-3, flax: 1e-6)."""


def layer_norm(ops: Ops, x: Array, gain: Array, shift: Array | float) -> Array:
    """gain ⊙ (x - μ) / √(σ² + ε) + shift, with μ and σ² (biased) over the last axis (Ba et al. 2016, eq. 3).

    x (...,N), gain and shift (N,), or 0.0 for no shift -> (...,N).
    """
    N, kept = x.shape[-1], (*x.shape[:-1], 1)
    last = len(kept) - 1
    centred = x - ops.reshape(ops.sum(x, last), kept) / N
    variance = ops.reshape(ops.sum(centred * centred, last), kept) / N
    return gain * centred / ops.sqrt(variance + LAYER_NORM_EPSILON) + shift


def layer_norm_gates(ops: Ops, z: Array, gain: Array) -> Array:
    """z (...,G,H), gain (G,H) -> the same, normalised over G and H as one axis: the gates share μ and σ²."""
    G, H = gain.shape
    flat = ops.reshape(z, (*z.shape[:-2], G * H))
    y = layer_norm(ops, flat, ops.reshape(gain, (G * H,)), 0.0)
    return ops.reshape(y, (*z.shape[:-2], G, H))
