"""Dropout masks, drawn on the host as a pure function of (seed, step), so that every backend drops the same.

They travel inside a batch, and act where ``rnnbench.cells.composing`` says: on what a layer passes to the
next one, not on what the head reads, and never on what a layer passes to itself from step to step.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rnnbench.cells.network import feature_size
from rnnbench.contracts import Batch, Cell, NetworkSpec


def with_dropout(cell: Cell, spec: NetworkSpec, batch: Batch, seed: int, step: int) -> Batch:
    """The batch with a mask for the input of each layer but the first, "layers.<l>"; as it is for dropout 0.

    An entry is 0 with probability p = ``spec.dropout`` and otherwise 1/(1-p), so that its mean is 1
    (Srivastava et al. 2014, scaled in training). "between": drawn for every sequence, step and feature,
    (B,T,F) (Zaremba et al. 2014). "variational": the same at all steps, (B,1,F) (Gal & Ghahramani 2016, of
    which this is the part between layers).
    """
    if spec.dropout == 0:
        return batch
    size, length = batch.inputs.shape[:2]
    steps = 1 if spec.dropout_kind == "variational" else length
    shape = (size, steps, feature_size(cell, spec))
    masks = {}
    for layer in range(1, spec.layers):
        kept = np.random.default_rng([13, seed, step, layer]).random(shape) >= spec.dropout
        masks[f"layers.{layer}"] = kept / (1.0 - spec.dropout)
    return replace(batch, dropout=masks)
