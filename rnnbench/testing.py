"""The conformance kit: what a plugin author runs against a backend or a cell of their own.

Shipped with rnnbench; nothing in rnnbench imports it.

    from rnnbench.testing import conformance_specs, long_range_parity_of, optimizer_parity_of, parity_of

    @pytest.mark.parametrize("spec", list(conformance_specs(cell)), ids=str)
    def test_parity(session, spec):
        assert parity_of(session, cell, spec, "portable", "float64").passed

    def test_optimizer_and_long_range(session, spec):
        assert optimizer_parity_of(session, cell, spec, "portable", "float64").passed
        assert long_range_parity_of(session, cell, spec, "portable", "float64").passed
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import get_args

import numpy as np

from rnnbench.cells import rnnbench_cells
from rnnbench.cells.composing import running_of
from rnnbench.cells.network import part, sizes_of, unroll
from rnnbench.choices import Loss, Merge, Readout
from rnnbench.contracts import Batch, Cell, NetworkSpec, Parameters, SequenceCell, Session, TrainingSpec
from rnnbench.numpy_ops import NumpyOps
from rnnbench.records import Parity
from rnnbench.reference import (
    PROBE_TRAINING,
    Answers,
    ask,
    ask_decoded,
    ask_steps,
    compare_answers,
    compare_decoded,
    compare_steps,
    probe_batch,
    probe_parameters,
    reference_answers,
    reference_decoded,
    worst_error,
)
from rnnbench.training import global_norm, start_slots, update

CELLS: Mapping[str, Cell] = {cell.name: cell for cell in rnnbench_cells()}
"""The shipped ones, by name."""

RECURRENT: Mapping[str, Cell] = {
    name: cell for name, cell in CELLS.items() if not isinstance(cell, SequenceCell)
}
"""Those of them that carry a state from step to step."""

OPTIMIZER_TRAINING = TrainingSpec(optimizer="adam", lr=0.05, clip=0.01, l2=0.03)
"""Bounds every step, and leaves gradients far above ε=1e-8 yet small enough to show where ε stands."""
OPTIMIZER_STEPS = 3

MERGES: tuple[Merge, ...] = get_args(Merge)
HEADS: tuple[tuple[Readout, Loss], ...] = (("last", "cross_entropy"), ("each", "mse"))


def conformance_specs(cell: Cell) -> Iterator[NetworkSpec]:
    """Layers {1, 2} × directions × lengths × readout with its loss, and both kinds of token network.

    One direction alone for a cell that computes all steps at once.
    """
    for layers in (1, 2):
        for merge in MERGES[:1] if isinstance(cell, SequenceCell) else MERGES:
            for lengths in (False, True):
                for readout, loss in HEADS:
                    yield NetworkSpec(
                        cell=cell.name,
                        input_size=3,
                        hidden=5,
                        output_size=4,
                        readout=readout,
                        loss=loss,
                        layers=layers,
                        bidirectional=merge,
                        lengths=lengths,
                        projection=2,
                    )
    readouts: tuple[Readout, ...] = ("last", "each")
    for readout in readouts:
        yield _tokens(cell, readout)


def covering_specs(cell: Cell) -> Iterator[NetworkSpec]:
    """So few of ``conformance_specs`` that every two choices meet in one: where each costs seconds."""
    for number, spec in enumerate(conformance_specs(cell)):
        if number in _COVERING or spec == _tokens(cell, "last"):
            yield spec


_COVERING = (0, 7, 9, 15, 16, 22)
"""Layers, merge, lengths, head: (1, none, no, last), (1, concat, yes, each), (1, sum, no, each),
(2, none, yes, each), (2, concat, no, last), (2, sum, yes, last)."""


def _tokens(cell: Cell, readout: Readout) -> NetworkSpec:
    return NetworkSpec(cell.name, 3, 5, 4, readout, "cross_entropy", vocab=11, lengths=True)


@lru_cache(maxsize=1024)
def expected_answers(
    cell: Cell, spec: NetworkSpec, length: int, size: int, seed: int
) -> tuple[Parameters, Batch, Answers]:
    """Probe parameters, probe batch and the reference's answers, kept for the next backend."""
    parameters = probe_parameters(cell, spec, seed)
    batch = probe_batch(cell, spec, length, size, seed)
    return parameters, batch, reference_answers(cell, spec, parameters, batch)


def parity_of(
    session: Session,
    cell: Cell,
    spec: NetworkSpec,
    implementation: str,
    dtype: str,
    *,
    length: int = 7,
    size: int = 4,
    seed: int = 0,
) -> Parity:
    """Build, ask, compare. Raises whatever ``build`` raises, ``Unsupported`` included."""
    parameters, batch, expected = expected_answers(cell, spec, length, size, seed)
    network = session.build(spec, parameters, PROBE_TRAINING, implementation)
    return compare_answers(spec, expected, ask(network, batch), batch, dtype)


@lru_cache(maxsize=1024)
def expected_updates(
    cell: Cell, spec: NetworkSpec, length: int, size: int
) -> tuple[Parameters, tuple[tuple[Batch, Parameters], ...]]:
    """Probe parameters; then each step's batch and the parameters after it, kept for the next backend."""
    training, ops = OPTIMIZER_TRAINING, NumpyOps()
    start: Parameters = probe_parameters(cell, spec)
    expected, slots, steps = start, start_slots(ops, training, start), []
    for step in range(1, OPTIMIZER_STEPS + 1):
        batch = probe_batch(cell, spec, length, size, seed=step)
        answers = reference_answers(cell, spec, expected, batch, steps=1, training=training)
        gradients = answers.gradients
        assert training.clip is not None
        assert global_norm(ops, gradients) > training.clip, "the probe must be clipped"
        updated, slots = update(ops, training, expected, gradients, slots, np.float64(step))
        expected = updated | running_of(answers.trained)
        steps.append((batch, expected))
    return start, tuple(steps)


@lru_cache(maxsize=1024)
def expected_long_range(
    cell: Cell, spec: NetworkSpec, length: int, size: int
) -> tuple[Parameters, Batch, Answers]:
    """As ``expected_answers`` with ``remembering_parameters``, without training.

    What remembers everything explodes at the first large step.
    """
    parameters = remembering_parameters(cell, spec)
    batch = probe_batch(cell, spec, length, size)
    return parameters, batch, reference_answers(cell, spec, parameters, batch, steps=0)


def step_parity_of(
    session: Session,
    cell: Cell,
    spec: NetworkSpec,
    implementation: str,
    dtype: str,
    *,
    length: int = 7,
    size: int = 4,
    seed: int = 0,
) -> Parity:
    """``step`` over all of a sequence against the reference's whole. Raises whatever ``build`` raises."""
    parameters, batch, expected = expected_answers(cell, spec, length, size, seed)
    network = session.build(spec, parameters, PROBE_TRAINING, implementation)
    error = compare_steps(spec, expected.outputs, ask_steps(network, batch), batch, dtype)
    return Parity(dtype=dtype, worst={"steps": error})


def decoding_parity_of(
    session: Session,
    cell: Cell,
    spec: NetworkSpec,
    implementation: str,
    dtype: str,
    *,
    length: int = 7,
    size: int = 4,
    seed: int = 0,
) -> Parity:
    """Of a decoder: greedy decoding against the reference's. Raises whatever ``build`` raises."""
    parameters = probe_parameters(cell, spec, seed)
    batch = probe_batch(cell, spec, length, size, seed)
    network = session.build(spec, parameters, PROBE_TRAINING, implementation)
    expected = reference_decoded(cell, spec, parameters, batch)
    error = compare_decoded(expected, ask_decoded(network, batch), batch, dtype)
    return Parity(dtype=dtype, worst={"decoded": error})


def optimizer_parity_of(
    session: Session,
    cell: Cell,
    spec: NetworkSpec,
    implementation: str,
    dtype: str,
    *,
    length: int = 7,
    size: int = 4,
) -> Parity:
    """Three steps of Adam with clipping, each on a batch of its own: the parameters after every step.

    Expected is ``rnnbench.training.update`` on the reference's gradients. Take float64: in float32 Adam
    divides rounding errors by gradients that are hardly larger. Raises whatever ``build`` raises.
    """
    start, steps = expected_updates(cell, spec, length, size)
    network = session.build(spec, start, OPTIMIZER_TRAINING, implementation)
    worst = {}
    for step, (batch, expected) in enumerate(steps, start=1):
        network.train_step(network.put(batch))
        worst[f"parameters after step {step}"] = worst_error(expected, network.parameters(), length, dtype)
    return Parity(dtype=dtype, worst=worst)


def remembering_parameters(cell: Cell, spec: NetworkSpec, seed: int = 0) -> dict[str, np.ndarray]:
    """The probe's parameters, near those that forget nothing, so that gradients reach far back.

    Recurrent kernels near the identity (Le et al. 2015), small inputs, decays (nu_log) near 1, gates "i" and
    "u" shut, and gates "f" and "z" open, or shut where that is what keeps the state. A cell that contracts
    whatever its parameters are still forgets.
    """
    kept = _held(cell, spec, seed, {"f": 5.0, "z": 5.0, "i": -5.0, "u": -5.0})
    if _memory(cell, spec, kept) > REMEMBERED:
        return kept
    other = _held(cell, spec, seed, {"f": -5.0, "z": -5.0})
    return other if _memory(cell, spec, other) > REMEMBERED else kept


REMEMBERED = 0.1
"""Of a difference of 0.5 between initial states, after 64 steps, for a cell that remembers."""


def _held(cell: Cell, spec: NetworkSpec, seed: int, shifts: Mapping[str, float]) -> dict[str, np.ndarray]:
    parameters = probe_parameters(cell, spec, seed)
    for name, value in parameters.items():
        leaf = name.rsplit(".", 1)[-1]
        if not name.startswith("layers.") or leaf not in ("W_x", "W_h", "b", "nu_log"):
            continue
        value *= 0.1
        if leaf == "W_h":
            value += np.eye(value.shape[0], value.shape[-1])[:, None, :]
        elif leaf == "b":
            value += np.array([[shifts.get(gate, 0.0)] for gate in cell.gates])
        elif leaf == "nu_log":
            value -= 5.0
    return parameters


def _memory(cell: Cell, spec: NetworkSpec, parameters: Parameters, length: int = 64) -> float:
    """How far apart the final states of the first layer are that began apart; 0 where there are none."""
    rng = np.random.default_rng(17)
    x = rng.standard_normal((length, 1, spec.input_size))
    shapes = cell.state_shapes(sizes_of(cell, spec, 0))
    starts = [{name: scale * np.ones((1, *shape)) for name, shape in shapes.items()} for scale in (0.0, 0.5)]
    p = part(parameters, "layers.0.forward.")
    first, second = (unroll(NumpyOps(), cell, p, x, None, start)[1] for start in starts)
    return max((float(np.abs(first[name] - second[name]).max()) for name in shapes), default=0.0)


def long_range_parity_of(
    session: Session,
    cell: Cell,
    spec: NetworkSpec,
    implementation: str,
    dtype: str,
    *,
    length: int = 64,
    size: int = 4,
) -> Parity:
    """As ``parity_of``, over many steps that all matter: a backward pass cut short somewhere is caught."""
    parameters, batch, expected = expected_long_range(cell, spec, length, size)
    network = session.build(spec, parameters, PROBE_TRAINING, implementation)
    data = network.put(batch)
    outputs, state = network.fetch(network.forward(data))
    loss, gradients = network.fetch(network.gradients(data))
    given = Answers(outputs, state, float(loss), gradients, network.parameters())
    return compare_answers(spec, expected, given, batch, dtype)
