"""The float64 oracle and the parity gate: does an implementation compute the same function?

The oracle runs the cell's own ``step`` over NumPy in float64. Every implementation gets the same
canonical parameters and the same probe, and must reproduce outputs, final state, loss, every
gradient and three SGD steps within a tolerance that grows with the length.
This module never times anything and never starts a process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from autograd import value_and_grad

from rnnbench.cells.composing import running_of
from rnnbench.cells.decoding import target_of
from rnnbench.cells.dropout import with_dropout
from rnnbench.cells.network import network_loss, network_outputs, parameter_shapes, state_shapes
from rnnbench.cells.normalising import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM
from rnnbench.cells.penalty import l2_penalty
from rnnbench.cells.placing import time_major
from rnnbench.contracts import Batch, Cell, Network, NetworkSpec, Parameters, SequenceCell, TrainingSpec
from rnnbench.numpy_ops import NumpyOps
from rnnbench.records import Parity
from rnnbench.training import update

PROBE_TRAINING = TrainingSpec(optimizer="sgd", lr=0.1, clip=1.0)
"""Clipped, or three steps of a wide network without bounds (linear, relu) leave the range of float32."""
PROBE_STEPS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a network says of one batch; all arrays on the host, batch-major.

    ``trained`` holds the parameters after three SGD steps on the batch, ``trained_outputs`` what they say:
    asked for where running statistics, which the loss does not see, take part in it; else None.
    ``magnified``: see ``compare_answers``; only of the reference.
    """

    outputs: np.ndarray
    state: Mapping[str, np.ndarray]
    loss: float
    gradients: Mapping[str, np.ndarray]
    trained: Mapping[str, np.ndarray]
    trained_outputs: np.ndarray | None = None
    magnified: float = 1.0


def probe_parameters(cell: Cell, spec: NetworkSpec, seed: int = 0) -> dict[str, np.ndarray]:
    """Random parameters in which nothing is zero or symmetric: zero biases hide most mistakes."""
    rng = np.random.default_rng([7, seed])

    def scale(shape: tuple[int, ...]) -> float:
        # kernels of a whole window have many rows, and three steps of SGD must not explode
        rows = shape[0] if isinstance(cell, SequenceCell) else 0
        return 1.0 / math.sqrt(max(spec.hidden, rows))

    values = {
        name: rng.uniform(-1.5, 1.5, shape) * (scale(shape) if "W" in name else 0.5)
        for name, shape in parameter_shapes(cell, spec).items()
    }
    # no variance is negative
    return {
        name: value if not name.endswith(".norm.variance") else 0.25 + np.abs(value)
        for name, value in values.items()
    }


def probe_batch(cell: Cell, spec: NetworkSpec, length: int, size: int, seed: int = 0) -> Batch:
    """Random batch (B=size, T=length) with non-zero states and, with lengths, padding of NaN."""
    rng = np.random.default_rng([11, seed])
    inputs: np.ndarray
    if spec.vocab is not None:
        inputs = rng.integers(0, spec.vocab, (size, length)).astype(np.int32)
    else:
        inputs = rng.standard_normal((size, length, spec.input_size))
    steps = length if spec.decoder is None else max(1, length - 2)
    shape = (size, steps) if spec.readout == "each" else (size,)
    targets: np.ndarray
    if spec.loss == "cross_entropy":
        targets = rng.integers(0, spec.output_size, shape).astype(np.int32)
    else:
        targets = rng.standard_normal((*shape, spec.output_size))
    lengths = None
    if spec.lengths:
        lengths = rng.integers(1, length + 1, size).astype(np.int32)
        lengths[0], lengths[-1] = length, max(1, length // 2)
        padding = np.arange(length)[None, :] >= lengths[:, None]
        if spec.vocab is None:
            inputs[padding] = np.nan
        if spec.readout == "each" and spec.loss == "mse":
            targets[padding] = np.nan
    state = {
        name: 0.5 * rng.standard_normal((size, *shape)) for name, shape in state_shapes(cell, spec).items()
    }
    batch = with_dropout(cell, spec, Batch(inputs, targets, lengths, state), seed, 0)
    return batch if spec.decoder is None else _with_target(spec, batch, seed)


def _with_target(spec: NetworkSpec, batch: Batch, seed: int) -> Batch:
    """Lengths of the targets, and random tokens that the decoder is fed."""
    rng = np.random.default_rng([13, seed])
    size, steps = batch.targets.shape
    fed = rng.integers(0, spec.output_size + 1, (size, steps)).astype(np.int32)
    fed[:, 0] = spec.output_size
    lengths = rng.integers(1, steps + 1, size).astype(np.int32)
    lengths[0], lengths[-1] = max(1, steps // 2), steps
    return replace(batch, decoder_inputs=fed, target_lengths=lengths)


def reference_answers(
    cell: Cell,
    spec: NetworkSpec,
    parameters: Parameters,
    batch: Batch,
    steps: int = PROBE_STEPS,
    training: TrainingSpec = PROBE_TRAINING,
) -> Answers:
    """The oracle's answers, in float64; ``trained`` after so many SGD steps.

    Of ``training`` only ``l2`` counts, which is part of the loss; the steps are those of PROBE_TRAINING.
    """
    ops = NumpyOps()
    data = time_major(spec, batch)
    target = target_of(data.targets, data.target_lengths, data.decoder_inputs)

    def outputs_of(values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
        outputs, state = network_outputs(
            ops, cell, spec, values, data.inputs, data.lengths, data.state, target=target
        )
        return (np.swapaxes(outputs, 0, 1) if spec.readout == "each" else outputs), state

    running: dict[str, np.ndarray] = {}

    def loss_of(values: Mapping[str, np.ndarray]) -> np.ndarray:
        outputs, final = network_outputs(
            ops,
            cell,
            spec,
            values,
            data.inputs,
            data.lengths,
            data.state,
            dropout=data.dropout,
            target=target,
            training=True,
        )
        running.update(running_of(final))
        loss: np.ndarray = network_loss(ops, spec, outputs, data.targets, data.output_lengths)
        return loss + l2_penalty(ops, training, values, cell) if training.l2 else loss

    start = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    outputs, state = outputs_of(start)
    loss, gradients = value_and_grad(loss_of)(start)
    magnified = _magnification(start, running)
    trained = start
    step = gradients
    for number in range(steps):
        trained = update(ops, PROBE_TRAINING, trained, step, {}, np.float64(number + 1))[0] | running
        if number < steps - 1:
            _, step = value_and_grad(loss_of)(trained)
    after = outputs_of(trained)[0] if steps and running else None
    return Answers(outputs, state, float(loss), gradients, trained, after, magnified)


def _magnification(before: Parameters, running: Parameters) -> float:
    """The largest 1 / √(σ² + ε) of batch norms, from what a batch has made of their running statistics."""
    batch = {
        name: (value - BATCH_NORM_MOMENTUM * before[name]) / (1.0 - BATCH_NORM_MOMENTUM)
        for name, value in running.items()
        if name.endswith(".variance")
    }
    least = min((float(variance.min()) for variance in batch.values()), default=1.0)
    return max(1.0, 1.0 / math.sqrt(max(least, 0.0) + BATCH_NORM_EPSILON))


def reference_decoded(cell: Cell, spec: NetworkSpec, parameters: Parameters, batch: Batch) -> np.ndarray:
    """The oracle's outputs (B,S,O) where the decoder is fed what it puts out."""
    data = time_major(spec, replace(batch, decoder_inputs=None))
    start = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    target = target_of(data.targets, data.target_lengths, None)
    outputs, _ = network_outputs(
        NumpyOps(), cell, spec, start, data.inputs, data.lengths, data.state, target=target
    )
    return np.swapaxes(outputs, 0, 1)


def ask(network: Network, batch: Batch) -> Answers:
    """The same questions to a network, which must have been built with ``PROBE_TRAINING``."""
    data = network.put(batch)
    outputs, state = network.fetch(network.forward(data))
    loss, gradients = network.fetch(network.gradients(data))
    for _ in range(PROBE_STEPS):
        network.train_step(data)
    parameters = network.parameters()
    after = network.fetch(network.forward(data))[0] if running_of(parameters) else None
    return Answers(outputs, state, float(loss), gradients, parameters, after)


def ask_steps(network: Network, batch: Batch) -> np.ndarray:
    """Outputs (B,T,O) of one time step after the other, from the batch's initial state."""
    inputs, state = network.put_steps(batch)
    outputs = []
    for x in inputs:
        y, state = network.step(x, state)
        outputs.append(np.array(network.fetch(y)))
    return np.stack(outputs, axis=1)


def ask_decoded(network: Network, batch: Batch) -> np.ndarray:
    """Outputs (B,S,O) of a decoder that is fed what it puts out."""
    data = network.put(replace(batch, decoder_inputs=None))
    decoded: np.ndarray = network.fetch(network.forward(data))[0]
    return decoded


def compare_decoded(expected: np.ndarray, decoded: np.ndarray, batch: Batch, dtype: str) -> float:
    """Error / tolerance of ``ask_decoded`` at all steps: one token that differs is far beyond 1."""
    return worst_error({"": expected}, {"": decoded}, _length_of(batch), dtype)


def compare_steps(
    spec: NetworkSpec, expected: np.ndarray, stepped: np.ndarray, batch: Batch, dtype: str
) -> float:
    """Error / tolerance of ``ask_steps`` against the whole's outputs: (B,O), or (B,T,O), valid steps only."""
    size, length = batch.inputs.shape[:2]
    if spec.readout == "last":
        lengths = np.full(size, length) if batch.lengths is None else batch.lengths
        stepped = stepped[np.arange(size), lengths - 1]
    wanted, got = _valid(spec, expected, stepped, batch)
    return worst_error({"": wanted}, {"": got}, length, dtype)


def compare_answers(
    spec: NetworkSpec, expected: Answers, given: Answers, batch: Batch, dtype: str, *, magnified: float = 1.0
) -> Parity:
    """Errors divided by their tolerance; a missing, mis-shaped or NaN answer counts as infinite.

    A reference that is not finite itself proves nothing: its quantity fails under a name that says so.

    ``magnified``: that of ``expected``, where the batch is a task's. A batch norm divides what flows back
    by σ, and then takes its mean away: of a feature that all sequences agree on, gradients of biases are sums
    of large terms that cancel, whose rounding is that of the terms. Loss and gradients may err by so much.
    """
    length = _length_of(batch)
    outputs, given_outputs = _valid(spec, expected.outputs, given.outputs, batch)
    pairs: dict[str, tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]] = {
        "outputs": ({"": outputs}, {"": given_outputs}),
        "loss": ({"": np.asarray(expected.loss)}, {"": np.asarray(given.loss)}),
        "state": (expected.state, given.state),
        "gradients": (expected.gradients, given.gradients),
        "parameters": (expected.trained, given.trained),
    }
    if expected.trained_outputs is not None:
        missing = np.asarray(np.nan) if given.trained_outputs is None else given.trained_outputs
        after, given_after = _valid(spec, expected.trained_outputs, missing, batch)
        pairs["trained outputs"] = ({"": after}, {"": given_after})
    worst: dict[str, float] = {}
    for quantity, (wanted, got) in pairs.items():
        if all(np.isfinite(value).all() for value in wanted.values()):
            least = magnified if quantity in ("loss", "gradients") else 1.0
            worst[quantity] = worst_error(wanted, got, length, dtype, least)
        else:
            worst[f"{quantity} of the reference, which overflowed,"] = float("inf")
    return Parity(dtype=dtype, worst=worst)


def tolerance(dtype: str, length: int) -> float:
    """Bound on |error| / (1 + max |expected|): rounding that may add up over ``length`` steps.

    float64: 1e-9, the bound of the conformance kit. float32: 16 ε √T (ε = 1.19e-7): errors of
    independent sign add as √T; 16 covers sums over features and the derivative chain. On CPUs the four
    first-party backends use a seventh of it at most (T up to 200, B=32, H=64), and the subtlest of the
    negative controls, a slightly wrong slope, exceeds it seventyfold.
    """
    return 1e-9 if dtype == "float64" else 16 * float(np.finfo(np.float32).eps) * float(np.sqrt(length))


def _length_of(batch: Batch) -> int:
    """Time steps over which rounding adds up."""
    return int(batch.inputs.shape[1]) + (0 if batch.target_lengths is None else int(batch.targets.shape[1]))


def _valid(
    spec: NetworkSpec, expected: np.ndarray, given: np.ndarray, batch: Batch
) -> tuple[np.ndarray, np.ndarray]:
    lengths = batch.output_lengths
    if spec.readout == "last" or lengths is None or np.shape(given) != expected.shape:
        return expected, given
    valid = np.arange(expected.shape[1])[None, :] < lengths[:, None]
    return expected[valid], given[valid]


def worst_error(
    expected: Mapping[str, np.ndarray],
    given: Mapping[str, np.ndarray],
    length: int,
    dtype: str,
    least: float = 1.0,
) -> float:
    """The largest error / tolerance of arrays by name; infinite where the names differ.

    Errors are divided by ``least`` + max |expected| first.
    """
    if set(expected) != set(given):
        return float("inf")
    errors = [_error(value, given[name], length, dtype, least) for name, value in expected.items()]
    return float(np.max(errors, initial=0.0))


def _error(expected: np.ndarray, given: np.ndarray, length: int, dtype: str, least: float) -> float:
    given = np.asarray(given, np.float64)
    if given.shape != expected.shape or not np.isfinite(given).all():
        return float("inf")
    if expected.size == 0:
        return 0.0
    scale = least + float(np.abs(expected).max())
    return float(np.abs(given - expected).max()) / scale / tolerance(dtype, length)
