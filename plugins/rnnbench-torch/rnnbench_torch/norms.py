"""torch's own kernels of the norms between layers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from rnnbench.cells.composing import Norms
from rnnbench.cells.normalising import BATCH_NORM_EPSILON, LAYER_NORM_EPSILON
from rnnbench.cells.ops import Ops


def _layer_norm(ops: Ops, x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    return functional.layer_norm(x, gain.shape, gain, shift, LAYER_NORM_EPSILON)


def _batch_norm(
    ops: Ops, x: Tensor, gain: Tensor, shift: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Packed rows hold no padding, so there is never a mask."""
    rows = x.reshape(-1, x.shape[-1])
    # with a momentum of 1 torch's running statistics are those of this batch
    mean, variance = torch.zeros_like(gain.detach()), torch.zeros_like(gain.detach())
    y = torch.batch_norm(
        rows, gain, shift, mean, variance, True, 1.0, BATCH_NORM_EPSILON, torch.backends.cudnn.enabled
    )
    # of one row torch's variance is 0/0; of others it divides by one less than there are
    scale = (len(rows) - 1) / len(rows)
    return y.view(x.shape), mean, variance * scale if scale else torch.zeros_like(variance)


NORMS = Norms(layer=_layer_norm, batch=_batch_norm)
