"""torch's own SGD and Adam, equal to ``rnnbench.training.update``, and its exact clipping.

``torch.nn.utils.clip_grad_norm_`` divides by the norm plus 1e-6, which is another function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rnnbench.contracts import TrainingSpec
from rnnbench.training import ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON


def make_update(leaves: Sequence[Tensor], training: TrainingSpec) -> Callable[[], None]:
    """A function that updates ``leaves`` from their ``.grad`` in place; None counts as zero.

    What stands in ``.grad`` but is no canonical parameter must be zero by then.
    """
    optimizer: torch.optim.Optimizer
    # fused: one kernel for all leaves; on a CPU 2.5 times as fast as foreach for Adam, equal for SGD
    if training.optimizer == "sgd":
        optimizer = torch.optim.SGD(leaves, lr=training.lr, fused=True)
    else:
        betas = (ADAM_BETA1, ADAM_BETA2)
        optimizer = torch.optim.Adam(leaves, lr=training.lr, betas=betas, eps=ADAM_EPSILON, fused=True)

    def update() -> None:
        if training.clip is not None:
            clip_gradients([leaf.grad for leaf in leaves if leaf.grad is not None], training.clip)
        optimizer.step()

    return update


def clip_gradients(gradients: list[Tensor], bound: float) -> None:
    """g * min(1, bound / ‖g‖) in place, ‖g‖ over all; without waiting for the device."""
    norm = torch.nn.utils.get_total_norm(gradients)
    # a norm of 0 gives infinity, of which 1 is the smaller
    scale = torch.clamp(bound / norm, max=1.0)
    torch._foreach_mul_(gradients, scale)
