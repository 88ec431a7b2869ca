"""L2 regularisation: a part of the loss, and so of its gradient, before clipping and whatever the optimiser.

Not decoupled weight decay, which with Adam is another function (Loshchilov & Hutter 2019).
"""

from __future__ import annotations

from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import TrainingSpec


def is_kernel(name: str) -> bool:
    """Whether L2 bears on this parameter: on matrices W_x, W_h, ..., head.W; on no bias, embedding or norm."""
    return name.rsplit(".", 1)[-1].startswith("W")


def penalty(ops: Ops, training: TrainingSpec, parameters: Arrays) -> Array:
    """(λ/2) Σ ‖W‖² over all kernels, λ = ``training.l2``; its gradient is λ W."""
    total: Array = 0.0
    for name, value in parameters.items():
        if is_kernel(name):
            total = total + ops.sum(value * value)
    return total * (0.5 * training.l2)
