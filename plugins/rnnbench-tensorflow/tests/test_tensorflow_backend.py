"""Parity on the hardest compositions, the gate's teeth, the optimiser, and what open refuses."""

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from rnnbench_tensorflow import TensorflowBackend
from rnnbench_tensorflow.forms import keras_form

from rnnbench.cells.network import parameter_shapes
from rnnbench.contracts import NetworkSpec, Settings, TrainingSpec
from rnnbench.errors import Unavailable, Unsupported
from rnnbench.numpy_ops import NumpyOps
from rnnbench.reference import probe_batch, probe_parameters, reference_answers
from rnnbench.testing import CELLS, MERGES, parity_of, step_parity_of
from rnnbench.training import start_slots, update

pytestmark = pytest.mark.framework

# all others are portable alone, and the parity matrix has them
NATIVE = [name for name, cell in CELLS.items() if "native" in TensorflowBackend().implementations(cell)]
SMALL = NetworkSpec("lstm", 3, 5, 4, "last", "cross_entropy")
HARD = replace(SMALL, readout="each", loss="mse", layers=2, bidirectional="concat", lengths=True)


@pytest.fixture(scope="module")
def sessions():
    return {dtype: TensorflowBackend().open(Settings(dtype=dtype), CELLS) for dtype in ("float64", "float32")}


def network_of(session, spec, training=TrainingSpec(), implementation="native", seed=0):  # noqa: B008
    parameters = probe_parameters(CELLS[spec.cell], spec, seed)
    return session.build(spec, parameters, training, implementation), parameters


@pytest.mark.parametrize("implementation", ["native", "portable"])
@pytest.mark.parametrize("cell", NATIVE)
def test_parity_of_every_cell_in_the_hardest_composition(sessions, cell, implementation):
    spec = replace(HARD, cell=cell)
    parity = parity_of(sessions["float64"], CELLS[cell], spec, implementation, "float64")
    assert parity.passed, parity.worst


@pytest.mark.parametrize(
    ("cell", "implementation"),
    [("lstm", "native"), ("gru", "native"), ("elman_leaky_relu", "native"), ("lstm", "portable")],
)
def test_parity_in_float32(sessions, cell, implementation):
    spec = replace(HARD, cell=cell, layers=1)
    parity = parity_of(sessions["float32"], CELLS[cell], spec, implementation, "float32")
    assert parity.passed, parity.worst


@pytest.mark.parametrize("cell", NATIVE)
@pytest.mark.parametrize("vocab", [None, 11])
def test_repeated_steps_are_the_whole(sessions, cell, vocab):
    spec = replace(SMALL, cell=cell, readout="each", layers=2, vocab=vocab)
    parity = step_parity_of(sessions["float64"], CELLS[cell], spec, "native", "float64")
    assert parity.passed, parity


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "dtype"), [("lstm", "float64"), ("gru_reset_before", "float64"), ("elman", "float32")]
)
def test_compiled_is_the_reference(sessions, cell, dtype):
    spec = replace(HARD, cell=cell)
    parity = parity_of(sessions[dtype], CELLS[cell], spec, "compiled", dtype)
    assert parity.passed, parity.worst
    spec = replace(spec, bidirectional="none")
    assert step_parity_of(sessions[dtype], CELLS[cell], spec, "compiled", dtype).passed


def test_tracing_is_clocked_once_for_each_shape(sessions):
    network, _ = network_of(sessions["float32"], SMALL)
    assert network.compile_times() == {"trace": 0.0}
    data = network.put(probe_batch(CELLS["lstm"], SMALL, 5, 2))
    network.forward(data)
    traced = network.compile_times()
    assert traced["trace"] > 0
    network.forward(data)
    assert network.compile_times() == traced
    network.forward(network.put(probe_batch(CELLS["lstm"], SMALL, 6, 2)))
    assert network.compile_times()["trace"] > traced["trace"]


def test_compiled_runs_under_xla(sessions):
    network, _ = network_of(sessions["float32"], SMALL, implementation="compiled")
    assert network.path == "the cell's step, XLA, tf.while_loop"
    assert network.step_path == "the cell's step, XLA"
    assert all(function._jit_compile for function in network._functions.values())


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("layers", [1, 2])
def test_parity_of_every_composition_read_at_the_end(sessions, layers, merge, lengths):
    spec = replace(SMALL, cell="gru", layers=layers, bidirectional=merge, lengths=lengths)
    parity = parity_of(sessions["float64"], CELLS["gru"], spec, "native", "float64")
    assert parity.passed, parity.worst


def test_path_names_what_the_graph_contains(sessions):
    native, _ = network_of(sessions["float32"], replace(HARD, cell="gru_reset_before"))
    portable, _ = network_of(sessions["float32"], SMALL, implementation="portable")
    assert native.path == "keras GRU (reset_after=False), tf.while_loop"
    assert portable.path == "the cell's step, tf.while_loop"
    assert native.compilations() == 0


def test_other_sizes_and_lengths_are_traced_once_each_and_counted(sessions):
    spec = replace(SMALL, lengths=True)
    network, _ = network_of(sessions["float64"], spec)
    counts = []
    for length, size in ((7, 4), (7, 4), (9, 4), (9, 2), (7, 4)):
        y, state = network.fetch(network.forward(network.put(probe_batch(CELLS["lstm"], spec, length, size))))
        assert y.shape == (size, 4)
        assert {name: value.shape for name, value in state.items()} == {
            "layers.0.forward.h": (size, 5),
            "layers.0.forward.c": (size, 5),
        }
        counts.append(network.compilations())
    assert counts == [1, 1, 2, 3, 3]


def test_no_state_is_a_zero_state(sessions):
    network, _ = network_of(sessions["float64"], SMALL)
    batch = probe_batch(CELLS["lstm"], SMALL, 6, 3)
    zeros = {name: np.zeros_like(value) for name, value in batch.state.items()}
    none, zero, other = (
        network.fetch(network.forward(network.put(replace(batch, state=state))))[0]
        for state in (None, zeros, batch.state)
    )
    assert np.array_equal(none, zero)
    assert np.abs(none - other).max() > 1e-2


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_updates_are_the_arithmetic_of_training(sessions, optimizer, clip):
    spec = replace(SMALL, cell="gru", vocab=11, lengths=True)
    training = TrainingSpec(optimizer, lr=0.1, clip=clip, l2=0.0 if clip is None else 0.02)
    network, expected = network_of(sessions["float64"], spec, training)
    batch = probe_batch(CELLS["gru"], spec, 5, 4)
    data = network.put(batch)
    ops, slots = NumpyOps(), start_slots(NumpyOps(), training, expected)
    for step in (1.0, 2.0, 3.0):
        loss, gradients = network.fetch(network.gradients(data))
        wanted = reference_answers(CELLS["gru"], spec, expected, batch, steps=0, training=training)
        assert float(loss) == pytest.approx(wanted.loss, rel=1e-12)
        for name, value in wanted.gradients.items():
            np.testing.assert_allclose(gradients[name], value, atol=1e-12, err_msg=name)
        expected, slots = update(ops, training, expected, gradients, slots, np.float64(step))
        before = network.fetch(network.train_step(data))
        assert before == pytest.approx(loss, rel=1e-13)
    given = network.parameters()
    assert {name: value.shape for name, value in given.items()} == parameter_shapes(CELLS["gru"], spec)
    for name, value in expected.items():
        np.testing.assert_allclose(given[name], value, rtol=1e-10, atol=1e-12, err_msg=name)


def with_gates(*gates):
    return lambda cell: replace(keras_form(cell), gates=gates)


def without_bias(native):
    weights = native.keras_weights
    return lambda *given: [*weights(*given)[:2], 0 * weights(*given)[2]]


def without_mask(native):
    run = native.KerasLayers._run
    return lambda self, layer, p, x, mask, state: run(self, layer, p, x, None, state)


FORMS = {
    "permuted gate": ("lstm", with_gates("i", "f", "o", "g")),
    "unpermuted gates": ("gru", with_gates("r", "z", "n")),
    "swapped h and c": ("lstm", lambda cell: replace(keras_form(cell), states=("c", "h"))),
    "reset before for after": ("gru", lambda cell: replace(keras_form(cell), reset_after=False)),
    "another activation": ("elman", lambda cell: replace(keras_form(cell), activation="relu")),
}


@pytest.mark.parametrize("mistake", FORMS)
def test_gate_catches_a_wrong_form(sessions, monkeypatch, mistake):
    from rnnbench_tensorflow import session as module

    cell, wrong = FORMS[mistake]
    monkeypatch.setattr(module, "keras_form", wrong)
    parity = parity_of(sessions["float32"], CELLS[cell], replace(SMALL, cell=cell), "native", "float32")
    assert not parity.passed


def test_gate_catches_a_dropped_bias(sessions, monkeypatch):
    from rnnbench_tensorflow import native

    monkeypatch.setattr(native, "keras_weights", without_bias(native))
    assert not parity_of(
        sessions["float32"], CELLS["gru"], replace(SMALL, cell="gru"), "native", "float32"
    ).passed


def test_gate_catches_padding_that_reaches_the_state(sessions, monkeypatch):
    from rnnbench_tensorflow import native

    monkeypatch.setattr(native.KerasLayers, "_run", without_mask(native))
    spec = replace(SMALL, lengths=True)
    assert not parity_of(sessions["float32"], CELLS["lstm"], spec, "native", "float32").passed


def test_gate_catches_a_backward_direction_that_starts_in_the_padding(sessions, monkeypatch):
    from rnnbench_tensorflow import native

    reverse = native._reverse
    monkeypatch.setattr(native, "_reverse", lambda x, lengths: reverse(x, None))
    spec = replace(SMALL, bidirectional="sum", lengths=True)
    assert not parity_of(sessions["float32"], CELLS["lstm"], spec, "native", "float32").passed


def test_unknown_implementation_names_those_there_are(sessions):
    with pytest.raises(Unsupported, match=r'"fused".*native, portable'):
        network_of(sessions["float32"], SMALL, implementation="fused")


def test_cell_without_a_keras_layer_is_portable_only(sessions):
    class Strange:
        name = "strange"

    assert TensorflowBackend().implementations(Strange()) == ("portable", "compiled")
    assert TensorflowBackend().implementations(CELLS["gru"]) == ("native", "portable", "compiled")
    session = replace(sessions["float32"], cells={"strange": Strange(), **CELLS})
    with pytest.raises(Unsupported, match="Keras has no layer"):
        session.build(replace(SMALL, cell="strange"), {}, TrainingSpec(), "native")


def test_environment_says_what_decides_speed(sessions):
    environment = sessions["float32"].environment()
    assert environment["intra_op_threads"] == environment["inter_op_threads"] == "1"
    assert environment["matmul_precision"] == "highest"
    assert set(sessions["float32"].versions()) >= {"tensorflow", "keras"}
    assert sessions["float32"].devices()[0] == "cpu"


def test_open_refuses_an_absent_device_and_says_what_is_here(sessions):
    with pytest.raises(Unavailable, match=r'no device "tpu:3"\. Here is: cpu'):
        TensorflowBackend().open(Settings(device="tpu:3"), CELLS)


def test_open_refuses_other_threads_once_tensorflow_runs(sessions):
    network_of(sessions["float32"], SMALL)
    with pytest.raises(Unavailable, match="cannot change to 2 threads"):
        TensorflowBackend().open(Settings(threads=2), CELLS)


def test_open_without_tensorflow_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"pip install .*\[cpu\].*pip install .*\[tensorflow\]"):
        TensorflowBackend().open(Settings(), CELLS)


def test_importing_the_plugin_imports_no_framework():
    code = "import sys, rnnbench_tensorflow; sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


GPU = """
from rnnbench.cells import rnnbench_cells
from rnnbench.contracts import NetworkSpec, Settings
from rnnbench.testing import parity_of
from rnnbench.training import initialise
from rnnbench.contracts import TrainingSpec
from rnnbench_tensorflow import TensorflowBackend

cells = {cell.name: cell for cell in rnnbench_cells()}
session = TensorflowBackend().open(Settings(device="cuda"), cells)
for name in ("lstm", "gru"):
    spec = NetworkSpec(name, 3, 5, 4, "each", "mse", 2, "concat", None, True)
    network = session.build(spec, initialise(cells[name], spec, "glorot", 1.0, 0), TrainingSpec(), "native")
    assert "CudnnRNN" in network.path, network.path
    parity = parity_of(session, cells[name], spec, "native", "float32")
    assert parity.passed, parity.worst
    assert network.memory() > 0
"""


@pytest.mark.gpu
@pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="needs a GPU")
def test_native_is_cudnn_on_a_gpu():
    # the CPU sessions above have hidden the GPUs of this process
    answer = subprocess.run([sys.executable, "-c", GPU], capture_output=True, text=True, check=False)
    if "no device" in answer.stderr:
        pytest.skip("TensorFlow sees no GPU")
    assert answer.returncode == 0, answer.stderr


def test_truncated_gradients_are_those_of_the_reference(sessions):
    spec = replace(HARD, layers=1, bidirectional="none", window=3)
    parity = parity_of(sessions["float64"], CELLS["lstm"], spec, "portable", "float64")
    assert parity.passed, parity.worst
    with pytest.raises(Unsupported, match="window"):
        network_of(sessions["float64"], spec)
