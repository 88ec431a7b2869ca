"""The mapping to cuDNN, proven on the CPU with JAX's own reference of that kernel in its place."""

from __future__ import annotations

import jax
import pytest
from jax.experimental import rnn
from rnnbench_jax import JaxBackend, cudnn
from rnnbench_jax.cudnn import cudnn_stack, cudnn_takes
from rnnbench_jax.network import JaxNetwork

from rnnbench.contracts import NetworkSpec, Settings
from rnnbench.reference import PROBE_TRAINING, ask, compare_answers
from rnnbench.testing import expected_answers, parity_of

pytestmark = pytest.mark.framework

SPECS = [
    NetworkSpec("lstm", 3, 5, 4, "each", "mse", layers=2, bidirectional="concat"),
    NetworkSpec("lstm", 3, 5, 4, "last", "mse", bidirectional="sum"),
]


def reference_lstm(x, h, c, weights, lengths, input_size, hidden_size, layers, dropout, both, precision):
    unpacked = rnn.unpack_lstm_weights(weights, input_size, hidden_size, layers, both)
    return rnn.lstm_ref(x, h, c, *unpacked, lengths, input_size, hidden_size, layers, dropout, both)


def stub_parity(cells, spec):
    parameters, batch, expected = expected_answers(cells["lstm"], spec, 7, 4, 0)
    device = jax.devices("cpu")[0]
    network = JaxNetwork(
        cells["lstm"], spec, parameters, PROBE_TRAINING, device, "float32", stack=cudnn_stack, path="cuDNN"
    )
    return compare_answers(spec, expected, ask(network, batch), batch, "float32")


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_the_mapping_equals_the_reference(sessions, cells, spec, monkeypatch):
    monkeypatch.setattr(rnn, "lstm", reference_lstm)
    parity = stub_parity(cells, spec)
    assert parity.passed, parity


def test_a_permuted_gate_is_caught(sessions, cells, monkeypatch):
    monkeypatch.setattr(rnn, "lstm", reference_lstm)
    monkeypatch.setattr(cudnn, "CUDNN_GATES", ("i", "g", "f", "o"))
    assert not stub_parity(cells, SPECS[1]).passed


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({}, True),
        ({"platform": "cpu"}, False),
        ({"dtype": "float64"}, False),
        ({"cell": "gru"}, False),
        ({"lengths": True}, False),
        ({"bidirectional": "sum"}, True),
        ({"bidirectional": "sum", "layers": 2}, False),
        ({"bidirectional": "concat", "layers": 2}, True),
    ],
)
def test_when_cudnn_is_taken(cells, change, taken):
    given = {"cell": "lstm", "platform": "cuda", "dtype": "float32", **change}
    structure = {name: given[name] for name in ("lengths", "bidirectional", "layers") if name in given}
    spec = NetworkSpec(given["cell"], 3, 5, 4, "last", "mse", **structure)
    assert cudnn_takes(cells[given["cell"]], spec, given["platform"], given["dtype"]) is taken


@pytest.mark.gpu
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_cudnn_equals_the_reference(sessions, cells, spec):
    if "cuda" not in sessions["float32"].devices():
        pytest.skip("no CUDA device")
    session = JaxBackend().open(Settings(device="cuda"), cells)
    parameters, _, _ = expected_answers(cells["lstm"], spec, 7, 4, 0)
    network = session.build(spec, parameters, PROBE_TRAINING, "native")
    assert network.path == "cuDNN"
    assert network.memory()
    parity = parity_of(session, cells["lstm"], spec, "native", "float32")
    assert parity.passed, parity
