"""Opening, devices, what is recorded, and what is refused in which words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
from rnnbench_jax import JaxBackend

from rnnbench.cells.lstm import LSTM
from rnnbench.contracts import NetworkSpec, Settings
from rnnbench.errors import Unavailable, Unsupported
from rnnbench.reference import PROBE_TRAINING, probe_parameters

pytestmark = pytest.mark.framework

SPEC = NetworkSpec("lstm", 3, 5, 4, "last", "mse")


@dataclass(frozen=True, slots=True)
class Foreign:
    """A cell of somebody else: an LSTM of which this backend knows nothing."""

    name: str = "foreign"
    gates: tuple[str, ...] = ("i", "f", "g", "o")
    paper: str = ""

    def shapes(self, sizes):
        return LSTM().shapes(sizes)

    def state_shapes(self, sizes):
        return LSTM().state_shapes(sizes)

    def output_size(self, sizes):
        return sizes.hidden


def run(code: str) -> str:
    environment = {**os.environ, "XLA_FLAGS": ""}
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    ).stdout


def test_discovery_imports_no_jax():
    code = """
import sys, rnnbench_jax
from rnnbench.cells import rnnbench_cells
(backend,) = rnnbench_jax.rnnbench_backends()
offered = {cell.name: backend.implementations(cell) for cell in rnnbench_cells()}
print(offered["elman_hard_sigmoid"], offered["elman_gelu"], offered["gru"], "jax" in sys.modules)
"""
    assert run(code).strip() == "('native', 'portable') ('portable',) ('native', 'portable') False"


def test_a_worker_without_x64():
    code = """
import json
from rnnbench.cells.lstm import LSTM
from rnnbench.contracts import NetworkSpec, Settings
from rnnbench.testing import parity_of
from rnnbench_jax import JaxBackend
session = JaxBackend().open(Settings(), {"lstm": LSTM()})
spec = NetworkSpec("lstm", 3, 5, 4, "each", "mse", bidirectional="sum", lengths=True)
passed = [parity_of(session, LSTM(), spec, name, "float32").passed for name in ("native", "portable")]
print(json.dumps([passed, session.environment()]))
"""
    passed, environment = json.loads(run(code))
    assert passed == [True, True]
    assert environment["x64"] == "false"
    assert environment["compilation cache"] == "false"
    assert environment["matmul precision"] == "highest"
    assert environment["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


def test_an_absent_device_names_those_that_are_here(cells):
    with pytest.raises(Unavailable, match=r'jax has no device "cuda:7" here\. .*cpu'):
        JaxBackend().open(Settings(device="cuda:7"), cells)


def test_devices_and_versions(sessions):
    session = sessions["float64"]
    assert session.devices()[0] == "cpu"
    assert set(session.versions()) >= {"jax", "jaxlib"}


def test_an_unknown_implementation_names_ours(sessions, cells):
    parameters = probe_parameters(cells["lstm"], SPEC)
    with pytest.raises(Unsupported, match=r'no implementation "cudnn".*native'):
        sessions["float64"].build(SPEC, parameters, PROBE_TRAINING, "cudnn")


def test_a_foreign_cell_has_no_native_form():
    cell = Foreign()
    spec = NetworkSpec("foreign", 3, 5, 4, "last", "mse")
    backend = JaxBackend()
    assert backend.implementations(cell) == ("portable",)
    session = backend.open(Settings(), {"foreign": cell})
    with pytest.raises(Unsupported, match="no native form of cell foreign"):
        session.build(spec, probe_parameters(cell, spec), PROBE_TRAINING, "native")


def test_the_path_says_what_runs(sessions, cells):
    parameters = probe_parameters(cells["lstm"], SPEC)
    paths = {
        name: sessions["float32"].build(SPEC, parameters, PROBE_TRAINING, name).path
        for name in ("native", "portable")
    }
    assert paths == {"native": "lax.scan, custom VJP", "portable": "lax.scan"}
