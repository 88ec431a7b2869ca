"""A batch on a device, and what a network says of it: for all backends that unroll cells over ``ops``.

What is added to ``Batch`` is carried here, and by no backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from rnnbench.cells.composing import running_of
from rnnbench.cells.decoding import Target, target_of
from rnnbench.cells.network import Stack, network_loss, network_outputs, stack_layers
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.cells.penalty import l2_penalty
from rnnbench.contracts import Batch, Cell, NetworkSpec, TrainingSpec

Put = Callable[[np.ndarray, bool], Array]
"""Host -> a copy on the device, of integers where the flag is set, else of the network's dtype."""


class DeviceBatch(NamedTuple):
    """A ``Batch`` in a backend's own arrays; a tuple, because JAX and TensorFlow see into no other class.

    Time-major: inputs (T,B,I) or tokens (T,B), dropout {"layers.1": (T,B,F) or (1,B,F)}, and where they have
    a time axis targets (S,B) or (S,B,O) and decoder_inputs (S,B). ``place`` may leave inputs and
    dropout batch-major.
    """

    inputs: Array
    targets: Array
    lengths: Array | None = None
    state: Arrays | None = None
    dropout: Arrays | None = None
    target_lengths: Array | None = None
    decoder_inputs: Array | None = None

    @property
    def target(self) -> Target | None:
        """What a decoder is to put out; None where the batch is for a network without one."""
        return target_of(self.targets, self.target_lengths, self.decoder_inputs)

    @property
    def output_lengths(self) -> Array | None:
        """As in ``Batch``."""
        return self.lengths if self.target_lengths is None else self.target_lengths


def time_major(spec: NetworkSpec, batch: Batch) -> Batch:
    """The batch with time first: inputs (T,B,...), and targets (T,B,...) for readout "each"; dropout too."""
    targets = np.swapaxes(batch.targets, 0, 1) if spec.readout == "each" else batch.targets
    dropout = batch.dropout
    if dropout is not None:
        dropout = {name: np.swapaxes(mask, 0, 1) for name, mask in dropout.items()}
    fed = None if batch.decoder_inputs is None else np.swapaxes(batch.decoder_inputs, 0, 1)
    return replace(
        batch,
        inputs=np.swapaxes(batch.inputs, 0, 1),
        targets=targets,
        dropout=dropout,
        decoder_inputs=fed,
    )


def place(spec: NetworkSpec, batch: Batch, put: Put, *, batch_major: bool = False) -> DeviceBatch:
    """Host -> device, all of it. ``batch_major``: inputs and dropout stay so, for layers of that kind."""
    data = time_major(spec, batch)
    layers = batch if batch_major else data

    def put_integers(values: np.ndarray | None) -> Array | None:
        return None if values is None else put(values, True)

    def put_numbers(values: Mapping[str, np.ndarray] | None) -> Arrays | None:
        return None if values is None else {name: put(value, False) for name, value in values.items()}

    return DeviceBatch(
        inputs=put(layers.inputs, spec.vocab is not None),
        targets=put(data.targets, spec.loss == "cross_entropy"),
        lengths=put_integers(data.lengths),
        state=put_numbers(data.state),
        dropout=put_numbers(layers.dropout),
        target_lengths=put_integers(data.target_lengths),
        decoder_inputs=put_integers(data.decoder_inputs),
    )


def batch_outputs(
    ops: Ops,
    cell: Cell,
    spec: NetworkSpec,
    parameters: Arrays,
    batch: DeviceBatch,
    stack: Stack = stack_layers,
    *,
    training: bool = False,
) -> tuple[Array, dict[str, Array]]:
    """``network_outputs`` of a time-major batch, of which something is dropped in ``training`` only."""
    return network_outputs(
        ops,
        cell,
        spec,
        parameters,
        batch.inputs,
        batch.lengths,
        batch.state,
        stack,
        batch.dropout if training else None,
        batch.target,
        training=training,
    )


def batch_loss(
    ops: Ops,
    cell: Cell,
    spec: NetworkSpec,
    training: TrainingSpec,
    parameters: Arrays,
    batch: DeviceBatch,
    stack: Stack = stack_layers,
) -> tuple[Array, dict[str, Array]]:
    """What is differentiated by the parameters, a scalar, and the running statistics after the batch."""
    outputs, final = batch_outputs(ops, cell, spec, parameters, batch, stack, training=True)
    loss = network_loss(ops, spec, outputs, batch.targets, batch.output_lengths)
    if training.l2:
        loss = loss + l2_penalty(ops, training, parameters, cell)
    return loss, running_of(final)
