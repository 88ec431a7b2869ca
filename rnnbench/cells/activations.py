"""Activations by name, written once over ``ops``. Libraries disagree on slopes, so each is explicit here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from rnnbench.cells.ops import Array, Ops

LEAKY_SLOPE = 0.01
"""Slope below zero: torch's and JAX's default (Keras: 0.3 in its layer, 0.2 in its function)."""

PRELU_START = 0.25
"""Every unit's slope before training (He et al. 2015, and torch; Keras starts at 0)."""

_HALF_ROOT = math.sqrt(0.5)


def prelu(ops: Ops, x: Array, slope: Array) -> Array:
    """X above zero, slope * x below; ``slope`` (H) is learned (He et al. 2015, arXiv:1502.01852)."""
    return ops.where(x > 0, x, slope * x)


def _hard_sigmoid(ops: Ops, x: Array) -> Array:
    # Keras 3 and torch; Keras 1 and 2 had 0.2 x + 0.5
    return ops.minimum(ops.relu(x + 3.0), 6.0) / 6.0


def _gelu(ops: Ops, x: Array) -> Array:
    # x Φ(x) exactly, as in torch and Keras; JAX's default is the approximation by tanh
    return 0.5 * x * (1.0 + ops.erf(x * _HALF_ROOT))


ACTIVATIONS: Mapping[str, Callable[[Ops, Array], Array]] = {
    "linear": lambda ops, x: x,
    "tanh": lambda ops, x: ops.tanh(x),
    "sigmoid": lambda ops, x: ops.sigmoid(x),
    "hard_sigmoid": _hard_sigmoid,
    "relu": lambda ops, x: ops.relu(x),
    "leaky_relu": lambda ops, x: prelu(ops, x, LEAKY_SLOPE),
    "gelu": _gelu,
}
"""Name -> φ, elementwise. ``prelu`` stands apart: it has a parameter."""
