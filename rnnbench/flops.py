"""Floating-point operations of a network, counted from the shapes of its matrix products.

Convention: a product (m,k) times (k,n) counts 2·m·n·k, a multiplication and an addition for each term.
Pointwise work (activations, gates, biases, the loss, the optimiser) and the lookup of an embedding
count nothing: beside the products they are some per cent, and how many operations a tanh is, is nobody's
to say. Steps of padding count nothing: the function does not need them, and a backend that packs them
away would otherwise seem faster than its machine. Nothing here depends on how a backend computes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnbench.cells.network import feature_size, sizes_of
from rnnbench.contracts import Cell, NetworkSpec, Sizes
from rnnbench.numpy_ops import NumpyOps


class _Counting(NumpyOps):
    """Adds up what products would take, and gives zeros of their shape."""

    def __init__(self) -> None:
        self.flops = 0

    def matmul(self, a: Any, b: Any) -> Any:
        """See Ops."""
        self.flops += 2 * math.prod(a.shape) * b.shape[1]
        return np.zeros((*a.shape[:-1], b.shape[1]))

    def batch_matmul(self, a: Any, b: Any) -> Any:
        """See Ops."""
        self.flops += 2 * math.prod(a.shape) * b.shape[-1]
        return np.zeros((*a.shape[:-1], b.shape[-1]))


@dataclass(frozen=True, slots=True)
class StepFlops:
    """Of one time step of one sequence in one layer and direction.

    ``inputs``: products that do not need the state (``Cell.project``); ``recurrent``: those of ``Cell.step``.
    """

    inputs: int
    recurrent: int


def step_flops(cell: Cell, sizes: Sizes) -> StepFlops:
    """Counted while the cell takes a step over zeros, so that it holds for every cell there will be."""
    ops = _Counting()
    # one zero, seen as many: nothing is allocated
    p = {name: np.broadcast_to(0.0, shape) for name, shape in cell.shapes(sizes).items()}
    state = {name: np.zeros((1, *shape)) for name, shape in cell.state_shapes(sizes).items()}
    projected = cell.project(ops, p, np.zeros((1, 1, sizes.input)))
    inputs = ops.flops
    cell.step(ops, p, {name: value[0] for name, value in projected.items()}, state)
    return StepFlops(inputs, ops.flops - inputs)


def network_flops(cell: Cell, spec: NetworkSpec, size: int, steps: int) -> Mapping[str, int]:
    """FLOPs of one call of each timed phase, for B=size sequences of ``steps`` valid time steps in all.

    ``gradients``: beside the forward pass, for each product two of its size, towards its weights and
    towards what it was multiplied with; the latter not where that is the network's input. ``train_step``:
    the same. ``stream``: one time step of one sequence, its readout included.
    """
    layers = [step_flops(cell, sizes_of(cell, spec, index)) for index in range(spec.layers)]
    directions = len(spec.directions)
    head = 2 * feature_size(cell, spec) * spec.output_size
    step = directions * sum(layer.inputs + layer.recurrent for layer in layers)
    readings = steps if spec.readout == "each" else size
    forward = steps * step + readings * head
    unneeded = 0 if spec.vocab is not None else steps * directions * layers[0].inputs
    gradients = 3 * forward - unneeded
    return {"stream": step + head, "forward": forward, "gradients": gradients, "train_step": gradients}
