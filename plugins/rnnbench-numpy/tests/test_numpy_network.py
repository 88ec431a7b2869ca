"""What the kit does not ask: precision, ownership of results, changing sizes, optimiser, losses, doors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from rnnbench_numpy import session as session_module
from rnnbench_numpy.backend import NumpyBackend
from rnnbench_numpy.native.optimizer import Optimizer
from rnnbench_numpy.native.rows import rows_of
from rnnbench_numpy.native.space import Space

from rnnbench.cells.lstm import LSTM
from rnnbench.contracts import Network, NetworkSpec, Settings, TrainingSpec
from rnnbench.errors import Unavailable, Unsupported
from rnnbench.numpy_ops import NumpyOps
from rnnbench.reference import probe_batch, probe_parameters, reference_answers
from rnnbench.testing import CELLS, RECURRENT, parity_of
from rnnbench.training import start_slots, update

SPEC = NetworkSpec("lstm", 3, 5, 4, "each", "mse", 2, "concat", lengths=True)
OFFERED = [(name, way) for name, cell in RECURRENT.items() for way in NumpyBackend().implementations(cell)]
PAIRS = pytest.mark.parametrize(("cell", "implementation"), OFFERED)
NATIVE = pytest.mark.parametrize("cell", [name for name, way in OFFERED if way == "native"])
BOTH = pytest.mark.parametrize("implementation", ["native", "portable"])


def build(
    implementation: str,
    spec: NetworkSpec = SPEC,
    training: TrainingSpec = TrainingSpec(),  # noqa: B008 - frozen
    dtype: str = "float32",
) -> Network:
    session = NumpyBackend().open(Settings(dtype=dtype), CELLS)  # type: ignore[arg-type]
    return session.build(spec, probe_parameters(CELLS[spec.cell], spec), training, implementation)


@PAIRS
def test_float32_stays_float32(implementation: str, cell: str) -> None:
    spec = replace(SPEC, cell=cell)
    network = build(implementation, spec, TrainingSpec("adam", 0.01, clip=0.5))
    data = network.put(probe_batch(CELLS[cell], spec, 6, 3))
    y, state = network.forward(data)
    loss, gradients = network.gradients(data)
    first_loss = network.train_step(data)
    values = [y, loss, first_loss, *state.values(), *gradients.values(), *network.parameters().values()]
    assert {np.asarray(value).dtype for value in values} == {np.dtype(np.float32)}
    assert float(first_loss) == float(loss)


@BOTH
@pytest.mark.parametrize("readout", ["last", "each"])
@pytest.mark.parametrize("lengths", [False, True])
def test_later_calls_leave_results_alone(implementation: str, readout: str, lengths: bool) -> None:
    spec = replace(SPEC, readout=readout, lengths=lengths)
    network = build(implementation, spec)
    data = network.put(probe_batch(LSTM(), spec, 6, 3, seed=1))
    held = network.forward(data), network.gradients(data)
    copies = network.fetch(held)
    for seed in (2, 3):
        other = network.put(probe_batch(LSTM(), spec, 6, 3, seed=seed))
        network.forward(other)
        network.train_step(other)
    np.testing.assert_equal(held, copies)


def test_fetched_values_are_copies() -> None:
    network = build("native")
    y, _ = network.forward(network.put(probe_batch(LSTM(), SPEC, 6, 3)))
    assert not np.shares_memory(network.fetch(y), y)
    network.parameters()["head.b"][:] = 7
    assert not (network.parameters()["head.b"] == 7).any()


@pytest.mark.parametrize("merge", ["none", "concat", "sum"])
@NATIVE
def test_sizes_may_change_from_batch_to_batch(cell: str, merge: str) -> None:
    spec = replace(SPEC, cell=cell, bidirectional=merge)
    network, other = build("native", spec, dtype="float64"), build("portable", spec, dtype="float64")
    for length, size in ((7, 4), (3, 2), (12, 1), (1, 6), (7, 4)):
        batch = probe_batch(CELLS[cell], spec, length, size, seed=length)
        _, ours = network.gradients(network.put(batch))
        _, theirs = other.gradients(other.put(batch))
        for name, expected in theirs.items():
            np.testing.assert_allclose(ours[name], expected, atol=1e-12)


@BOTH
def test_no_state_is_a_state_of_zeros(implementation: str) -> None:
    network = build(implementation)
    batch = probe_batch(LSTM(), SPEC, 6, 3)
    assert batch.state is not None
    zeros = {name: np.zeros_like(value) for name, value in batch.state.items()}
    without, with_zeros, with_state = (
        network.fetch(network.forward(network.put(replace(batch, state=state))))
        for state in (None, zeros, batch.state)
    )
    np.testing.assert_equal(without, with_zeros)
    assert np.abs(without[0] - with_state[0]).max() > 0.01


@BOTH
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_is_the_defined_arithmetic(implementation: str, optimizer: str) -> None:
    training = TrainingSpec(optimizer, 0.05, clip=0.1, l2=0.02)  # type: ignore[arg-type]
    network = build(implementation, training=training, dtype="float64")
    batch = probe_batch(LSTM(), SPEC, 6, 3)
    data = network.put(batch)
    ops = NumpyOps()
    parameters = network.parameters()
    slots = start_slots(ops, training, parameters)
    for step in (1.0, 2.0, 3.0):
        loss, gradients = network.gradients(data)
        wanted = reference_answers(LSTM(), SPEC, parameters, batch, steps=0, training=training)
        assert float(loss) == pytest.approx(wanted.loss, rel=1e-12)
        for name, value in wanted.gradients.items():
            np.testing.assert_allclose(gradients[name], value, atol=1e-12)
        parameters, slots = update(ops, training, parameters, gradients, slots, np.float64(step))
        network.train_step(data)
    for name, value in network.parameters().items():
        np.testing.assert_allclose(value, parameters[name], rtol=1e-12)


@pytest.mark.parametrize("training", [TrainingSpec("sgd", 0.3, 0.7), TrainingSpec("adam", 0.02, 1e-3)])
def test_the_optimizer_in_place_is_the_defined_one(training: TrainingSpec) -> None:
    rng, ops = np.random.default_rng(5), NumpyOps()
    expected = {"a": rng.standard_normal((4, 3)), "b": rng.standard_normal(6)}
    parameters = {name: value.copy() for name, value in expected.items()}
    optimizer, slots = Optimizer(training, parameters), start_slots(ops, training, expected)
    for step in (1.0, 2.0, 3.0):
        gradients = {name: rng.standard_normal(value.shape) for name, value in expected.items()}
        expected, slots = update(ops, training, expected, gradients, slots, np.float64(step))
        optimizer.update(parameters, gradients)
        for name, value in parameters.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-12)


@BOTH
def test_divergence_is_a_loss_that_is_not_finite_and_no_warning(implementation: str) -> None:
    spec = replace(SPEC, cell="elman_relu")
    network = build(implementation, spec, TrainingSpec("sgd", 1e12))
    data = network.put(probe_batch(CELLS["elman_relu"], spec, 6, 3))
    losses = [float(network.train_step(data)) for _ in range(8)]
    assert np.isfinite(losses[0])
    assert not np.isfinite(losses[-1])


def test_large_preactivations_saturate_without_a_warning() -> None:
    network = build("native")
    batch = probe_batch(LSTM(), SPEC, 6, 3)
    loss, gradients = network.gradients(network.put(replace(batch, inputs=batch.inputs * 1e4)))
    assert np.isfinite(loss)
    assert all(np.isfinite(value).all() for value in gradients.values())


def test_padding_of_outputs_is_the_head_of_zeros() -> None:
    network, other = build("native", dtype="float64"), build("portable", dtype="float64")
    batch = probe_batch(LSTM(), SPEC, 6, 3)
    y, _ = network.forward(network.put(batch))
    expected, _ = other.forward(other.put(batch))
    np.testing.assert_allclose(y, expected, atol=1e-12)


def test_rows_by_hand() -> None:
    rows = rows_of(3, 4, np.array([2, 3, 1]))
    assert rows.order.tolist() == [1, 0, 2]
    assert rows.sequence.tolist() == [1, 0, 2, 1, 0, 1]
    assert rows.time.tolist() == [0, 0, 0, 1, 1, 2]
    assert (rows.first.tolist(), rows.last.tolist()) == ([1, 0, 2], [4, 5, 2])
    assert rows.forward == ((0, 3, 0, 0), (3, 5, 0, 2), (5, 6, 3, 1))
    assert rows.backward == ((5, 6, 0, 0), (3, 5, 5, 1), (0, 3, 3, 2))
    values = np.arange(12.0).reshape(3, 4, 1)
    packed = rows.pack(values)
    assert packed[:, 0].tolist() == [4, 0, 8, 5, 1, 6]
    back = rows.unpack(packed, np.array([-1.0]))
    assert back[..., 0].tolist() == [[0, 1, -1, -1], [4, 5, 6, -1], [8, -1, -1, -1]]


@pytest.mark.parametrize("lengths", [None, np.array([4, 4, 4])])
def test_rows_of_full_sequences_are_time_major(lengths: np.ndarray | None) -> None:
    rows = rows_of(3, 4, lengths)
    values = np.random.default_rng(0).standard_normal((3, 4, 2))
    assert rows.dense
    np.testing.assert_array_equal(rows.pack(values), values.swapaxes(0, 1).reshape(12, 2))
    np.testing.assert_array_equal(rows.unpack(rows.pack(values), np.zeros(2)), values)


def test_space_is_kept_and_grows() -> None:
    space = Space("float32")
    large = space.take("a", (4, 5))
    assert np.shares_memory(large, space.take("a", (2, 3)))
    assert not np.shares_memory(large, space.take("a", (5, 5)))
    assert not np.shares_memory(space.take("a", (2, 2)), space.take("b", (2, 2)))


def test_words_of_the_session() -> None:
    session = NumpyBackend().open(Settings(threads=1), CELLS)
    assert session.devices() == ("cpu",)
    assert session.versions()["numpy"] == np.__version__
    assert len(session.versions()) >= 2
    assert session.environment()["blas_threads"] == "1"
    network = build("native")
    assert (network.path, network.compilations(), network.memory()) == ("hand-derived BPTT", 0, None)
    assert build("portable").path == "autograd tape"


def test_an_unknown_blas_is_said_to_be_unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    session = NumpyBackend().open(Settings(threads=1), CELLS)
    monkeypatch.setattr(session_module, "threadpool_info", list)
    assert session.versions() == {"numpy": np.__version__}
    assert "not limited" in session.environment()["blas_threads"]


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_blas_numpys_own_is_told(monkeypatch: pytest.MonkeyPatch, order: int) -> None:
    pools = [
        {"user_api": "blas", "internal_api": "openblas", "version": version, "filepath": f"/env/{file}"}
        for version, file in (("2.0", "scipy.libs/blas.so"), ("1.0", "numpy.libs/blas.so"))
    ]
    session = NumpyBackend().open(Settings(threads=1), CELLS)
    monkeypatch.setattr(session_module, "threadpool_info", lambda: pools[::order])
    assert session.versions() == {"numpy": np.__version__, "openblas": "1.0"}


def test_an_absent_device_is_named_with_what_is_here() -> None:
    with pytest.raises(Unavailable, match=r'no device "cuda". Here: cpu'):
        NumpyBackend().open(Settings(device="cuda"), CELLS)


def test_an_unknown_implementation_names_ours() -> None:
    with pytest.raises(Unsupported, match="native, portable"):
        build("compiled")


def test_a_cell_derived_from_ours_is_not_taken_for_ours() -> None:
    @dataclass(frozen=True, slots=True)
    class Peephole(LSTM):
        name: str = "peephole"

    cell = Peephole()
    assert NumpyBackend().implementations(cell) == ("portable",)
    session = NumpyBackend().open(Settings(), {"peephole": cell})
    spec = replace(SPEC, cell="peephole")
    with pytest.raises(Unsupported, match="derived by hand"):
        session.build(spec, probe_parameters(cell, spec), TrainingSpec(), "native")


def test_truncated_gradients_are_those_of_the_reference() -> None:
    spec = NetworkSpec("lstm", 3, 5, 4, "each", "mse", layers=2, bidirectional="sum", lengths=True, window=3)
    session = NumpyBackend().open(Settings(dtype="float64"), CELLS)
    assert parity_of(session, CELLS["lstm"], spec, "portable", "float64").passed
    with pytest.raises(Unsupported, match=r"window.*use portable"):
        session.build(spec, probe_parameters(CELLS["lstm"], spec), TrainingSpec(), "native")
