"""The oracle and its gate: true gradients, sound tolerances, and every classic mistake caught."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wrong_cells import WRONG

from rnnbench.cells.elman import Elman
from rnnbench.cells.gru import GRU
from rnnbench.cells.lstm import LSTM
from rnnbench.cells.network import network_loss, network_outputs
from rnnbench.cells.placing import time_major
from rnnbench.contracts import Batch, Cell, FixedCell, Network, NetworkSpec, Settings, TrainingSpec
from rnnbench.numpy_ops import NumpyOps
from rnnbench.records import Parity
from rnnbench.reference import (
    PROBE_STEPS,
    PROBE_TRAINING,
    Answers,
    ask,
    compare_answers,
    probe_batch,
    probe_parameters,
    reference_answers,
    tolerance,
)
from rnnbench.testing import (
    CELLS,
    OPTIMIZER_TRAINING,
    RECURRENT,
    conformance_specs,
    covering_specs,
    long_range_parity_of,
    optimizer_parity_of,
    parity_of,
)

sys.path.insert(0, str(Path(__file__).parent / "example-plugin"))
import rnnbench_example as toy  # type: ignore[import-not-found]


def spec_of(cell: Cell, **changes: Any) -> NetworkSpec:
    spec = NetworkSpec(cell.name, 3, 5, 4, "last", "cross_entropy", lengths=True)
    return replace(spec, **changes)


class ReferenceNetwork:
    """A network that answers with a reference: of ``cell``, rounded to ``dtype``."""

    path = "reference"

    def __init__(
        self, cell: Cell, spec: NetworkSpec, parameters: Mapping[str, np.ndarray], dtype: str
    ) -> None:
        self._cell, self._spec, self._dtype = cell, spec, dtype
        self._parameters = {name: value.astype(dtype) for name, value in parameters.items()}
        self._known: tuple[Batch, Answers] | None = None

    def _answers(self, batch: Batch) -> Answers:
        if self._known is None or self._known[0] is not batch:
            answers = reference_answers(self._cell, self._spec, self._parameters, batch, steps=0)
            self._known = batch, answers
        return self._known[1]

    def put(self, batch: Batch) -> Batch:
        return batch

    def forward(self, batch: Batch) -> Any:
        return self._answers(batch).outputs, dict(self._answers(batch).state)

    def gradients(self, batch: Batch) -> Any:
        return self._answers(batch).loss, dict(self._answers(batch).gradients)

    def train_step(self, batch: Batch) -> float:
        loss, gradients = self.gradients(batch)
        for name, value in clipped_step(self._parameters, gradients).items():
            self._parameters[name] = value.astype(self._dtype)
        self._known = None
        return float(loss)

    def sync(self, value: Any) -> None:
        pass

    def fetch(self, value: Any) -> Any:
        return value

    def parameters(self) -> dict[str, np.ndarray]:
        return dict(self._parameters)

    def compilations(self) -> int:
        return 0

    def memory(self) -> int | None:
        return None


def judged(wrong: Cell, right: Cell, spec: NetworkSpec, dtype: str) -> Parity:
    """The gate's word on an implementation that computes ``wrong`` where ``right`` is asked for."""
    parameters, batch = probe_parameters(right, spec), probe_batch(right, spec, 7, 4)
    expected, given = (reference_answers(cell, spec, parameters, batch) for cell in (right, wrong))
    return compare_answers(spec, expected, given, batch, dtype)


@pytest.mark.parametrize("cell", RECURRENT.values(), ids=RECURRENT)
@pytest.mark.parametrize(
    "changes",
    [
        {"layers": 2, "bidirectional": "concat"},
        {"bidirectional": "sum", "readout": "each", "loss": "mse"},
        {"readout": "each", "vocab": 11},
    ],
    ids=str,
)
def test_gradients_are_central_differences(cell: Cell, changes: dict[str, Any]) -> None:
    spec = spec_of(cell, **changes)
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 5, 3)
    answers = reference_answers(cell, spec, parameters, batch)
    rng = np.random.default_rng(0)
    fixed = cell.fixed if isinstance(cell, FixedCell) else ()
    for name, value in parameters.items():
        if name.startswith("layers.") and name.rsplit(".", 1)[-1] in fixed:
            assert not answers.gradients[name].any(), name
            continue
        direction = rng.standard_normal(value.shape)
        up, down = (
            _loss(cell, spec, {**parameters, name: value + step * direction}, batch) for step in (1e-5, -1e-5)
        )
        along = float((answers.gradients[name] * direction).sum())
        assert along == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-8), name
        assert along != 0


def _loss(cell: Cell, spec: NetworkSpec, parameters: Mapping[str, np.ndarray], batch: Batch) -> float:
    data, ops = time_major(spec, batch), NumpyOps()
    outputs, _ = network_outputs(ops, cell, spec, parameters, data.inputs, data.lengths, data.state)
    return float(network_loss(ops, spec, outputs, data.targets, data.lengths))


def clipped_step(
    parameters: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """p - 0.1 g, with g shortened to a length of 1 where it is longer."""
    length = np.linalg.norm(np.concatenate([np.ravel(g) for g in gradients.values()]))
    return {name: value - 0.1 * gradients[name] / max(1.0, length) for name, value in parameters.items()}


def test_trained_parameters_are_three_clipped_steps_of_sgd() -> None:
    cell, spec = LSTM(), spec_of(LSTM(), readout="each", loss="mse")
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 5, 3)
    expected = {name: value.copy() for name, value in parameters.items()}
    for _ in range(PROBE_STEPS):
        gradients = reference_answers(cell, spec, expected, batch).gradients
        expected = clipped_step(expected, gradients)
    trained = reference_answers(cell, spec, parameters, batch).trained
    for name, value in trained.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-13)
        assert np.abs(value - parameters[name]).max() > 1e-4


@pytest.mark.parametrize("name", ["elman_linear", "tcn"])
def test_three_steps_of_a_wide_network_without_bounds_stay_small(name: str) -> None:
    spec = replace(spec_of(CELLS[name]), hidden=80, layers=2, loss="mse", readout="last")
    parameters, batch = probe_parameters(CELLS[name], spec), probe_batch(CELLS[name], spec, 7, 4)
    answers = reference_answers(CELLS[name], spec, parameters, batch)
    norm = np.linalg.norm(np.concatenate([np.ravel(g) for g in answers.gradients.values()]))
    assert norm > 10, "or a plain step would do"
    moved = [float(np.abs(value - parameters[key]).max()) for key, value in answers.trained.items()]
    assert 1e-4 < max(moved) <= 0.3


def test_the_probe_hides_nothing() -> None:
    spec = spec_of(LSTM(), readout="each", loss="mse", layers=2, bidirectional="concat")
    for value in probe_parameters(LSTM(), spec).values():
        assert len(np.unique(value)) == value.size
        assert (value != 0).all()
    batch = probe_batch(LSTM(), spec, 9, 6)
    assert batch.lengths is not None
    assert batch.state is not None
    assert batch.lengths.min() >= 1
    assert batch.lengths.max() == 9
    assert len(set(batch.lengths.tolist())) > 1
    padding = np.arange(9)[None] >= batch.lengths[:, None]
    assert np.isnan(batch.inputs[padding]).all()
    assert np.isnan(batch.targets[padding]).all()
    assert np.isfinite(batch.inputs[~padding]).all()
    assert all((value != 0).all() for value in batch.state.values())


def test_the_reference_is_blind_to_padding() -> None:
    spec = spec_of(GRU(), readout="each", loss="mse", bidirectional="concat")
    parameters, batch = probe_parameters(GRU(), spec), probe_batch(GRU(), spec, 6, 4)
    expected = reference_answers(GRU(), spec, parameters, batch)
    other = replace(batch, inputs=np.nan_to_num(batch.inputs, nan=3.0), targets=np.nan_to_num(batch.targets))
    given = reference_answers(GRU(), spec, parameters, other)
    assert compare_answers(spec, expected, given, batch, "float64").worst["gradients"] == 0


@pytest.mark.parametrize(("name", "dtype"), [("lstm", "float32"), ("gru", "float32"), ("elman", "float64")])
def test_a_network_that_rounds_passes_and_is_not_perfect(name: str, dtype: str) -> None:
    cell, spec = CELLS[name], spec_of(CELLS[name], bidirectional="concat")
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 7, 4)
    expected = reference_answers(cell, spec, parameters, batch)
    given = ask(ReferenceNetwork(cell, spec, parameters, dtype), batch)
    parity = compare_answers(spec, expected, given, batch, dtype)
    assert parity.passed, parity.worst
    assert dtype == "float64" or parity.worst["outputs"] > 1e-4


@pytest.mark.parametrize(("wrong", "right"), WRONG, ids=lambda cell: type(cell).__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_wrong_cell_is_caught_by_a_hundred_tolerances(wrong: Cell, right: Cell, dtype: str) -> None:
    parity = judged(wrong, right, spec_of(right), dtype)
    assert not parity.passed
    for quantity in ("outputs", "state", "gradients", "parameters"):
        assert parity.worst[quantity] > 100, quantity


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_wrong_slope_is_caught(dtype: str) -> None:
    # the subtlest of mistakes: relu for leaky relu changes less than the classic ones
    right = CELLS["elman_relu"]
    parity = judged(Elman("elman_relu", "leaky_relu"), right, spec_of(right), dtype)
    assert min(parity.worst[quantity] for quantity in ("outputs", "gradients", "parameters")) > 50


def test_a_bias_dropped_from_the_gradient_alone_is_caught() -> None:
    cell, spec = LSTM(), spec_of(LSTM())
    parity = _doctored(
        cell, spec, lambda a: replace(a, gradients={**a.gradients, "head.b": 0 * a.gradients["head.b"]})
    )
    assert parity.worst["outputs"] == 0
    assert parity.worst["gradients"] > 100


def test_padding_that_leaks_is_caught_poisoned_or_not() -> None:
    cell, spec = LSTM(), spec_of(LSTM())
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 7, 4)
    expected = reference_answers(cell, spec, parameters, batch)
    for inputs, ratio in ((batch.inputs, float("inf")), (np.nan_to_num(batch.inputs), 100)):
        leaking = replace(batch, inputs=inputs, lengths=None)
        given = reference_answers(cell, replace(spec, lengths=False), parameters, leaking)
        found = compare_answers(spec, expected, given, batch, "float32").worst
        assert found["outputs"] >= ratio
        assert found["state"] >= ratio
        assert found["gradients"] >= ratio


@pytest.mark.parametrize(
    ("quantity", "doctor"),
    [
        ("outputs", lambda a: replace(a, outputs=a.outputs * np.nan)),
        ("outputs", lambda a: replace(a, outputs=a.outputs[:, :-1])),
        ("outputs", lambda a: replace(a, outputs=a.outputs[None])),
        ("loss", lambda a: replace(a, loss=float("nan"))),
        ("state", lambda a: replace(a, state={"h": np.zeros(3)})),
        ("state", lambda a: replace(a, state={})),
        ("gradients", lambda a: replace(a, gradients={**a.gradients, "more": np.zeros(1)})),
        ("gradients", lambda a: replace(a, gradients=dict(list(a.gradients.items())[1:]))),
        ("parameters", lambda a: replace(a, trained={})),
    ],
)
def test_missing_misshaped_and_nan_answers_are_infinitely_wrong(
    quantity: str, doctor: Callable[[Answers], Answers]
) -> None:
    parity = _doctored(LSTM(), spec_of(LSTM()), doctor)
    assert parity.worst[quantity] == float("inf")
    assert sum(ratio > 0 for ratio in parity.worst.values()) == 1


def _doctored(cell: Cell, spec: NetworkSpec, doctor: Callable[[Answers], Answers]) -> Parity:
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 5, 3)
    expected = reference_answers(cell, spec, parameters, batch)
    return compare_answers(spec, expected, doctor(expected), batch, "float32")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_reference_that_overflows_proves_nothing(value: float) -> None:
    cell, spec = LSTM(), spec_of(LSTM())
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 5, 3)
    good = reference_answers(cell, spec, parameters, batch)
    # neither the first nor the last name, where a careless max() would lose it
    lost = {**good.gradients, "layers.0.forward.b": good.gradients["layers.0.forward.b"] + value}
    parity = compare_answers(spec, replace(good, gradients=lost), good, batch, "float32")
    assert not parity.passed
    assert "gradients" not in parity.worst
    assert parity.worst["gradients of the reference, which overflowed,"] == np.inf
    assert sum(ratio > 0 for ratio in parity.worst.values()) == 1
    parity = compare_answers(spec, replace(good, loss=value), replace(good, loss=value), batch, "float32")
    assert not parity.passed, "equal infinities are no agreement"


def test_outputs_in_the_padding_do_not_count() -> None:
    cell, spec = LSTM(), spec_of(LSTM(), readout="each")

    def garbage(answers: Answers) -> Answers:
        outputs = answers.outputs.copy()
        outputs[-1, 3:] = np.nan
        return replace(answers, outputs=outputs)

    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 5, 3)
    batch = replace(batch, inputs=np.nan_to_num(batch.inputs), lengths=np.array([5, 4, 3], np.int32))
    expected = reference_answers(cell, spec, parameters, batch)
    assert compare_answers(spec, expected, garbage(expected), batch, "float32").passed
    batch = replace(batch, lengths=np.array([5, 4, 4], np.int32))
    assert not compare_answers(spec, expected, garbage(expected), batch, "float32").passed


def test_no_update_is_caught() -> None:
    cell, spec = GRU(), spec_of(GRU())
    frozen = _doctored(cell, spec, lambda a: replace(a, trained=probe_parameters(cell, spec)))
    assert frozen.worst["parameters"] > 100


def test_tolerances() -> None:
    assert tolerance("float64", 1) == tolerance("float64", 1000) == 1e-9
    assert tolerance("float32", 100) == pytest.approx(10 * tolerance("float32", 1))
    assert tolerance("float32", 1) == pytest.approx(16 * 2.0**-23)
    # an error of exactly one tolerance is the bound: 1
    assert Parity("float32", {"loss": 1.0}).passed
    assert not Parity("float32", {"loss": 1.0000001}).passed
    assert not Parity("float32", {"loss": float("nan")}).passed


def test_the_kit_asks_for_every_structure_once() -> None:
    specs = list(conformance_specs(LSTM()))
    assert len(set(specs)) == len(specs) == 26
    for layers in (1, 2):
        for merge in ("none", "concat", "sum"):
            for lengths in (True, False):
                assert any((s.layers, s.bidirectional, s.lengths) == (layers, merge, lengths) for s in specs)
    assert {s.readout for s in specs if s.vocab} == {"last", "each"}


def test_of_the_few_every_two_choices_meet_in_one() -> None:
    def choices(spec: NetworkSpec) -> tuple[Any, ...]:
        return spec.layers, spec.bidirectional, spec.lengths, spec.readout

    every, few = ([s for s in specs(LSTM()) if not s.vocab] for specs in (conformance_specs, covering_specs))
    assert len(few) == 6
    for a, b in combinations(range(4), 2):
        assert {(choices(s)[a], choices(s)[b]) for s in few} == {
            (choices(s)[a], choices(s)[b]) for s in every
        }


def test_the_kit_builds_with_the_probes_own_training() -> None:
    seen: list[Any] = []

    class Session:
        def build(self, spec: Any, parameters: Any, training: Any, implementation: str) -> Network:
            seen.append((training, implementation))
            return ReferenceNetwork(LSTM(), spec, parameters, "float64")

    spec = spec_of(LSTM())
    assert parity_of(Session(), LSTM(), spec, "portable", "float64").passed  # type: ignore[arg-type]
    assert seen == [(PROBE_TRAINING, "portable")]


def per_tensor_clipping(gradients: Mapping[str, np.ndarray], training: TrainingSpec) -> dict[str, np.ndarray]:
    assert training.clip is not None
    return {n: g * min(1.0, training.clip / np.linalg.norm(g)) for n, g in gradients.items()}


def global_clipping(gradients: Mapping[str, np.ndarray], training: TrainingSpec) -> dict[str, np.ndarray]:
    assert training.clip is not None
    norm = np.sqrt(sum((g * g).sum() for g in gradients.values()))
    return {n: g * min(1.0, training.clip / norm) for n, g in gradients.items()}


class AdamNetwork(ReferenceNetwork):
    """Adam by hand; ``keras_epsilon``: added before the bias correction, as Keras does."""

    keras_epsilon = False
    clip = staticmethod(global_clipping)
    training = OPTIMIZER_TRAINING
    number = 0

    def train_step(self, batch: Batch) -> float:
        loss, gradients = self.gradients(batch)
        fixed = self._cell.fixed if isinstance(self._cell, FixedCell) else ()
        for n, W in self._parameters.items():
            leaf = n.rsplit(".", 1)[-1]
            if leaf.startswith("W") and (leaf not in fixed or n == "head.W"):
                gradients[n] = gradients[n] + self.training.l2 * W
        self.number += 1
        if self.number == 1:
            self.m = {n: 0 * g for n, g in gradients.items()}
            self.v = {n: 0 * g for n, g in gradients.items()}
        c1, c2 = 1 - 0.9**self.number, 1 - 0.999**self.number
        for n, g in self.clip(gradients, self.training).items():
            self.m[n] = 0.9 * self.m[n] + 0.1 * g
            self.v[n] = 0.999 * self.v[n] + 0.001 * g**2
            if self.keras_epsilon:
                update = np.sqrt(c2) / c1 * self.m[n] / (np.sqrt(self.v[n]) + 1e-8)
            else:
                update = self.m[n] / c1 / (np.sqrt(self.v[n] / c2) + 1e-8)
            self._parameters[n] = self._parameters[n] - self.training.lr * update
        return float(loss)


class AdamSession:
    def __init__(self, **changes: Any) -> None:
        self.network = type("Changed", (AdamNetwork,), changes)

    def build(self, spec: Any, parameters: Any, training: TrainingSpec, implementation: str) -> Any:
        assert training == OPTIMIZER_TRAINING
        return self.network(CELLS[spec.cell], spec, parameters, "float64")


def optimizer_parity(session: Any, name: str = "elman", implementation: str = "portable") -> Parity:
    return optimizer_parity_of(session, CELLS[name], spec_of(CELLS[name]), implementation, "float64")


@pytest.mark.parametrize("name", CELLS)
def test_adam_written_by_hand_passes(name: str) -> None:
    parity = optimizer_parity(AdamSession(), name)
    assert parity.passed, parity.worst
    assert len(parity.worst) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"keras_epsilon": True},
        {"clip": staticmethod(per_tensor_clipping)},
        {"clip": staticmethod(lambda gradients, training: gradients)},
        {"training": replace(OPTIMIZER_TRAINING, lr=0.0501)},
        {"number": 1, "m": {}, "v": {}, "train_step": lambda self, batch: 0.0},
    ],
    ids=["Keras' epsilon", "per-tensor clipping", "no clipping", "another rate", "no update"],
)
def test_another_optimizer_is_caught(changes: dict[str, Any]) -> None:
    parity = optimizer_parity(AdamSession(**changes))
    assert min(parity.worst.values()) > 100, parity.worst


class TruncatedSession:
    """Forward as it should be; gradients of the last ``last`` steps only."""

    def __init__(self, last: int) -> None:
        self.last = last

    def build(self, spec: Any, parameters: Any, training: TrainingSpec, implementation: str) -> Any:
        cell, last = CELLS[spec.cell], self.last

        class Truncated(ReferenceNetwork):
            def gradients(self, batch: Batch) -> Any:
                early = replace(batch, inputs=batch.inputs[:, :-last])
                state = reference_answers(cell, spec, self._parameters, early, steps=0).state
                return super().gradients(replace(batch, inputs=batch.inputs[:, -last:], state=state))

        return Truncated(cell, spec, parameters, "float64")


# they contract whatever the probe's parameters, or have no gradient that could be cut short
FORGETTING = ("elman_sigmoid", "elman_hard_sigmoid", "elman_gelu", "jordan", "indrnn", "cornn", "esn")


@pytest.mark.parametrize("name", [name for name in RECURRENT if name not in FORGETTING])
def test_a_backward_pass_cut_short_is_caught_by_the_long_probe(name: str) -> None:
    session: Any = TruncatedSession(50)
    spec = spec_of(CELLS[name], lengths=False)
    parity = long_range_parity_of(session, CELLS[name], spec, "portable", "float64")
    assert parity.worst["outputs"] < 1
    assert parity.worst["gradients"] > 1e4


@pytest.mark.parametrize("implementation", ["native", "portable"])
def test_the_numpy_plugin_reaches_far_back(implementation: str) -> None:
    backend = pytest.importorskip("rnnbench_numpy.backend").NumpyBackend()
    for dtype in ("float32", "float64"):
        session = backend.open(Settings(dtype=dtype), CELLS)
        parity = long_range_parity_of(session, LSTM(), spec_of(LSTM(), layers=2), implementation, dtype)
        assert parity.passed, parity.worst


def test_the_example_plugins_optimizer_is_the_defined_one() -> None:
    parity = optimizer_parity(toy.ToySession(Settings(dtype="float64"), CELLS))
    assert parity.passed, parity.worst


@pytest.mark.parametrize("implementation", ["native", "portable"])
def test_the_numpy_plugins_optimizer_is_the_defined_one(implementation: str) -> None:
    backend = pytest.importorskip("rnnbench_numpy.backend").NumpyBackend()
    session = backend.open(Settings(dtype="float64"), CELLS)
    for name in ("elman", "gru"):
        parity = optimizer_parity(session, name, implementation)
        assert parity.passed, parity.worst
