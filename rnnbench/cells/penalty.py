"""L2 regularisation: a part of the loss, and so of its gradient, before clipping and whatever the optimiser.

Not decoupled weight decay, which with Adam is another function (Loshchilov & Hutter 2019).
"""

from __future__ import annotations

from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Cell, FixedCell, TrainingSpec


def is_kernel(name: str) -> bool:
    """Whether L2 bears on this parameter: on matrices W_x, ..., head.W, and on no bias, embedding or norm."""
    return name.rsplit(".", 1)[-1].startswith("W")


def l2_penalty(ops: Ops, training: TrainingSpec, parameters: Arrays, cell: Cell | None = None) -> Array:
    """(λ/2) Σ ‖W‖² over all kernels, λ = ``training.l2``; its gradient is λ W.

    What a ``FixedCell`` keeps as it started counts not, or the penalty alone would move it.
    """
    fixed = cell.fixed if isinstance(cell, FixedCell) else ()
    total: Array = 0.0
    for name, value in parameters.items():
        kept = name.startswith("layers.") and name.rsplit(".", 1)[-1] in fixed
        if is_kernel(name) and not kept:
            total = total + ops.sum(value * value)
    return total * (0.5 * training.l2)
