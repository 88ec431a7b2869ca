"""Opening torch: devices, names, precision, threads, and what a person reads when something is not here."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from rnnbench_torch import Torch

from rnnbench.contracts import NetworkSpec, Session, Settings, TrainingSpec
from rnnbench.errors import RequestError, Unavailable, Unsupported
from rnnbench.reference import PROBE_TRAINING, probe_batch, probe_parameters
from rnnbench.testing import CELLS

pytestmark = pytest.mark.framework
SPEC = NetworkSpec("lstm", 3, 5, 4, "last", "mse")


@pytest.fixture(scope="module")
def session() -> Session:
    return Torch().open(Settings(), CELLS)


def test_describing_the_backend_does_not_import_torch() -> None:
    code = (
        "import sys, rnnbench_torch as r\n"
        "from rnnbench.cells import rnnbench_cells\n"
        "print({c.name: r.Torch().implementations(c) for c in rnnbench_cells()})\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'lstm': ('native', 'portable', 'compiled')" in done.stdout
    assert "'gru_reset_before': ('portable', 'compiled')" in done.stdout


def test_an_absent_device_is_named_with_what_is_here() -> None:
    with pytest.raises(Unavailable, match=r'torch .* has no device "tpu" here\. It has: cpu'):
        Torch().open(Settings(device="tpu"), CELLS)


@pytest.mark.parametrize(
    ("cell", "implementation", "message"),
    [
        ("elman_sigmoid", "native", "nn.RNN knows tanh and relu only. Use portable"),
        ("gru_reset_before", "native", "resets after the product"),
        ("lstm", "fused", "Allowed: native, portable, compiled"),
        ("lstmm", "native", 'Did you mean "lstm"'),
    ],
)
def test_what_cannot_be_built_says_why(
    session: Session, cell: str, implementation: str, message: str
) -> None:
    with pytest.raises(Unsupported, match=message):
        session.build(replace(SPEC, cell=cell), {}, PROBE_TRAINING, implementation)


def test_float32_is_float32_everywhere(session: Session) -> None:
    held = session.environment()
    precisions = {name: value for name, value in held.items() if name.endswith("fp32_precision")}
    assert set(precisions.values()) == {"ieee"}
    assert "cudnn.rnn.fp32_precision" in precisions
    assert held["threads"] == "1"


def test_versions_and_devices(session: Session) -> None:
    import torch

    assert session.versions()["torch"] == torch.__version__
    assert session.devices()[0] == "cpu"


@pytest.mark.parametrize("implementation", ["native", "portable"])
def test_a_network_keeps_its_contract(session: Session, implementation: str) -> None:
    cell = CELLS["lstm"]
    start = probe_parameters(cell, SPEC)
    training = TrainingSpec("sgd", lr=0.1)
    network = session.build(SPEC, start, training, implementation)
    batch = probe_batch(cell, SPEC, 6, 4)
    data = network.put(batch)
    before = network.parameters()
    loss, _ = network.fetch(network.gradients(data))
    np.testing.assert_array_equal(network.parameters()["head.W"], before["head.W"])
    step = network.train_step(data)
    network.sync(step)
    assert float(network.fetch(step)) == float(loss)
    after = network.parameters()
    assert all(np.abs(after[name] - before[name]).max() > 0 for name in before)
    np.testing.assert_allclose(before["head.W"], start["head.W"], atol=1e-6)
    assert network.memory() is None
    assert float(network.fetch(network.train_step(data))) < float(loss)
    # what was put is a copy
    batch.inputs[:] = np.nan
    assert np.isfinite(network.fetch(network.forward(data))[0]).all()


def test_lengths_against_the_spec_are_refused(session: Session) -> None:
    network = session.build(SPEC, probe_parameters(CELLS["lstm"], SPEC), PROBE_TRAINING, "native")
    batch = probe_batch(CELLS["lstm"], replace(SPEC, lengths=True), 6, 4)
    with pytest.raises(RequestError, match="built without"):
        network.put(batch)
