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

from rnnbench.cells.at_once import check_recurrent
from rnnbench.cells.decoding import Target, decode, readout_size
from rnnbench.cells.network import feature_size, parameter_shapes, sizes_of, state_shapes
from rnnbench.contracts import Cell, DecoderSpec, NetworkSpec, RecurrentCell, SequenceCell, Sizes
from rnnbench.numpy_ops import NumpyOps


class _Counting(NumpyOps):
    """Adds up what products would take, and gives zeros of their shape, or NaN where they read NaN.

    ``of_inputs`` are those of the products whose left side holds no NaN.
    """

    def __init__(self) -> None:
        self.flops = self.of_inputs = 0

    def _count(self, a: Any, b: Any) -> Any:
        flops = 2 * math.prod(a.shape) * b.shape[-1]
        marked = bool(np.isnan(a).any())
        self.flops += flops
        self.of_inputs += 0 if marked else flops
        value = np.nan if marked or np.isnan(b.flat[0]) else 0.0
        return np.full((*a.shape[:-1], b.shape[-1]), value)

    def matmul(self, a: Any, b: Any) -> Any:
        """See Ops."""
        return self._count(a, b)

    def batch_matmul(self, a: Any, b: Any) -> Any:
        """See Ops."""
        return self._count(a, b)


@dataclass(frozen=True, slots=True)
class StepFlops:
    """Of one time step of one sequence in one layer and direction.

    ``inputs``: products that do not need the state (``project``); ``recurrent``: those of ``step``. Of a
    ``SequenceCell``: products of the layer's input as it is; all others; and ``pair``, of attention, for each
    step t and each s <= t. So T steps take T (inputs + recurrent) + T (T + 1) / 2 pair: what a step reads of
    later ones, the function does not need.
    """

    inputs: int
    recurrent: int
    pair: int = 0


def step_flops(cell: Cell, sizes: Sizes) -> StepFlops:
    """Counted while the cell takes a step over zeros, so that it holds for every cell there will be."""
    if isinstance(cell, SequenceCell):
        return _sequence_flops(cell, sizes)
    return _recurrent_flops(check_recurrent(cell, "step"), sizes)


def _sequence_flops(cell: SequenceCell, sizes: Sizes) -> StepFlops:
    """From sequences of one and two steps, of which all others are made: a T + b T²."""
    # NaN marks what depends on a parameter, through whatever the layer computes
    p = {name: np.broadcast_to(np.nan, shape) for name, shape in cell.shapes(sizes).items()}
    once, twice = _Counting(), _Counting()
    for T, ops in ((1, once), (2, twice)):
        cell.over(ops, p, np.zeros((T, 1, sizes.input)))
    pair = (twice.flops - 2 * once.flops) // 2
    return StepFlops(once.of_inputs, once.flops - pair - once.of_inputs, pair)


def _recurrent_flops(cell: RecurrentCell, sizes: Sizes) -> StepFlops:
    ops = _Counting()
    # one zero, seen as many: nothing is allocated
    p = {name: np.broadcast_to(0.0, shape) for name, shape in cell.shapes(sizes).items()}
    state = {name: np.zeros((1, *shape)) for name, shape in cell.state_shapes(sizes).items()}
    projected = cell.project(ops, p, np.zeros((1, 1, sizes.input)))
    inputs = ops.flops
    cell.step(ops, p, {name: value[0] for name, value in projected.items()}, state)
    return StepFlops(inputs, ops.flops - inputs)


@dataclass(frozen=True, slots=True)
class DecoderFlops:
    """Of one step of the source, of one of the answer, and of a pair of both."""

    source: int
    target: int
    pair: int


def decoder_flops(cell: Cell, spec: NetworkSpec, decoder: DecoderSpec) -> DecoderFlops:
    """Of one sequence: what is prepared of each source step, a decoder's step, and what attention reads.

    Counted over sources and answers of one and two steps, of which all others are made.
    """
    recurrent = check_recurrent(cell, "a decoder")
    memory = feature_size(cell, spec)
    p = {name: np.broadcast_to(0.0, shape) for name, shape in parameter_shapes(cell, spec).items()}
    encoded = {name: np.zeros((1, *shape)) for name, shape in state_shapes(cell, spec).items()}
    query = np.zeros((1, readout_size(cell, spec, decoder, memory)))

    def count(T: int, S: int) -> int:
        ops = _Counting()
        target = Target(S, np.array([S]), None)
        decode(ops, recurrent, spec, decoder, p, encoded, np.zeros((T, 1, memory)), None, query, target)
        return ops.flops

    once = count(1, 1)
    another_source, another_target = count(2, 1) - once, count(1, 2) - once
    target = once - another_source
    pair = another_target - target
    return DecoderFlops(source=another_source - pair, target=target, pair=pair)


def network_flops(
    cell: Cell, spec: NetworkSpec, size: int, steps: int, answers: int = 0, pairs: int = 0, past: int = 0
) -> Mapping[str, int]:
    """FLOPs of one call of each timed phase, for B=size sequences of ``steps`` valid time steps in all.

    For a decoder the answers have ``answers`` valid steps in all, and ``pairs`` is the sum over sequences of
    the steps of the source times those of the answer. ``past``, which attention in a layer reads, is the sum
    of L (L + 1) / 2 over sequences of L valid steps. ``gradients``: beside the forward pass, for each
    product two of its size, towards its weights and towards what it was multiplied with; the latter not
    where that is the network's input. ``train_step``: the same. ``stream``: one time step of one sequence,
    its readout included, where there is such a step.
    """
    layers = [step_flops(cell, sizes_of(cell, spec, index)) for index in range(spec.layers)]
    directions = len(spec.directions)
    head = 2 * feature_size(cell, spec) * spec.output_size
    step = directions * sum(layer.inputs + layer.recurrent for layer in layers)
    readings = steps if spec.readout == "each" else size
    forward = steps * step + past * sum(layer.pair for layer in layers) + readings * head
    if spec.decoder is not None:
        decoder = decoder_flops(cell, spec, spec.decoder)
        forward = steps * (step + decoder.source) + answers * decoder.target + pairs * decoder.pair
    unneeded = 0 if spec.vocab is not None else steps * directions * layers[0].inputs
    gradients = 3 * forward - unneeded
    phases = {"forward": forward, "gradients": gradients, "train_step": gradients}
    whole = spec.decoder is not None or isinstance(cell, SequenceCell)
    return phases if whole else {"stream": step + head, **phases}
