"""Each backend in a process of its own (``keras_answers.py``): parity, paths, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import rnnbench_keras
from rnnbench_keras.forms import a_step, keras_form

from rnnbench import plugins
from rnnbench.cells import rnnbench_cells

CELLS = {cell.name: cell for cell in rnnbench_cells()}


@pytest.fixture(scope="module", params=["tensorflow", "jax", "torch"])
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def answers(framework: str) -> dict[str, Any]:
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    script = Path(__file__).with_name("keras_answers.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), framework],
        env={**os.environ, "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def passed(worst: dict[str, float]) -> bool:
    return bool(worst) and all(ratio <= 1 for ratio in worst.values())


@pytest.mark.framework
def test_backend_computes_the_reference(answers: dict[str, Any]) -> None:
    assert {name: worst for name, worst in answers["parity"].items() if not passed(worst)} == {}
    assert set(answers["parity"]["lstm"]) == {"outputs", "loss", "state", "gradients", "parameters"}
    assert passed(answers["optimizer"])


@pytest.mark.framework
def test_float64_is_for_tensorflow_alone(framework: str, answers: dict[str, Any]) -> None:
    if framework == "tensorflow":
        assert {name: worst for name, worst in answers["parity64"].items() if not passed(worst)} == {}
        assert answers["refused"]["float64"] == ""
    else:
        assert "Unsupported: Keras casts float64 to float32" in answers["refused"]["float64"]
        assert "keras-tensorflow" in answers["refused"]["float64"]


@pytest.mark.framework
def test_gate_catches_every_planted_mistake(framework: str, answers: dict[str, Any]) -> None:
    if framework != "torch":
        return  # the layers' mapping is the same code on all three
    mistakes = dict(answers["mistakes"])
    assert mistakes.pop("none") <= 1
    assert len(mistakes) == 6
    assert {name: worst for name, worst in mistakes.items() if worst <= 1} == {}
    assert passed(answers["layer norm"])
    assert passed(answers["batch norm"])


@pytest.mark.framework
def test_path_tells_what_ran(framework: str, answers: dict[str, Any]) -> None:
    paths = answers["paths"]
    loop, mode = {
        "tensorflow": ("tf.while_loop", "tf.function"),
        "jax": ("lax.scan", "jit"),
        "torch": ("Python loop over T", "eager"),
    }[framework]
    for name, path in paths.items():
        if name != "step":
            assert path.startswith("keras "), path
            assert f"on {framework}, {loop} (" in path, path
            assert path.endswith(f", {mode}"), path
    # a mask costs Keras the product over all steps at once, where it has one
    hoisted = {"tensorflow": set(), "jax": {"gru"}, "torch": {"lstm", "gru"}}[framework]
    for name in ("lstm", "gru"):
        assert ("1 matrix product a step" in paths[name]) == (name in hoisted), paths[name]
        assert "2 matrix products a step" in paths[f"{name} lengths"]
    assert "3 matrix products a step" in paths["gru_reset_before"]
    assert "keras SimpleRNN (relu)" in paths["elman_relu"]
    assert paths["step"] == f"keras LSTM's cell on {framework}, {mode}"


@pytest.mark.framework
def test_path_would_tell_a_fused_kernel(framework: str, answers: dict[str, Any]) -> None:
    expected = {
        "tensorflow": "keras LSTM on tensorflow, CudnnRNNV3, tf.function",
        "jax": "keras LSTM on jax, cuDNN, jit",
        "torch": "cuDNN",
    }
    assert answers["fused"] == expected[framework]


@pytest.mark.framework
def test_network_keeps_the_contract(framework: str, answers: dict[str, Any]) -> None:
    network = answers["network"]
    assert network["zero state"]
    assert network["owned"]
    assert network["memory"] is None
    first, *_, last = network["times"]
    if framework == "torch":
        assert network["counts"] == [0, 0, 0]
        assert first == last == {}
    else:
        assert network["counts"] == [1, 1, 2]
        assert last["trace"] > first["trace"] > 0


@pytest.mark.framework
def test_refusals_say_what_is_allowed(framework: str, answers: dict[str, Any]) -> None:
    refused = answers["refused"]
    assert refused["cell"].endswith(f'no layer for cell "elman_prelu"; ask {framework} for it')
    assert "Allowed: native" in refused["implementation"]
    assert "no window (3)" in refused["window"]
    assert 'no device "tpu:3". Here is: cpu' in refused["device"]
    assert f"Keras already runs on {framework} in this process" in refused["framework"]


@pytest.mark.framework
def test_environment_says_what_decides_speed(framework: str, answers: dict[str, Any]) -> None:
    assert set(answers["versions"]) >= {"keras", framework}
    assert answers["devices"][0] == "cpu"
    precision = {
        "tensorflow": "matmul_precision",
        "jax": "matmul precision",
        "torch": "cuda.matmul.fp32_precision",
    }
    assert answers["environment"][precision[framework]] in ("highest", "ieee")
    others = {"tensorflow", "jax", "torch"} - {framework}
    # Keras itself imports JAX where it finds it, for its checkpoints; nothing else may come along
    assert set(answers["environment"]["also imported by Keras"].split(", ")) & others <= {"jax"}


def test_subclass_with_another_step_is_not_taken_for_its_parent() -> None:
    class Mine(type(CELLS["gru"])):  # type: ignore[misc]
        pass

    assert keras_form(Mine()) is None


def test_availability_is_that_of_each_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "torch":
            return "2.9"
        raise PackageNotFoundError(name)

    monkeypatch.setattr(plugins, "version", version)
    found = {backend.name: plugins.availability(backend) for backend in rnnbench_keras.BACKENDS}
    assert found["keras-torch"] == ("2.9", "")
    assert found["keras-jax"] == (None, "jax is not installed. Install it with: pip install jax")
    assert found["keras-tensorflow"][1].startswith("tensorflow or tensorflow-cpu or ")


def test_importing_the_plugin_imports_no_framework() -> None:
    frameworks = {"keras", "tensorflow", "jax", "torch"}
    code = f"import sys, rnnbench_keras; sys.exit(bool({frameworks} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_products_are_counted_in_words() -> None:
    assert [a_step(1), a_step(2.0), a_step(1.5)] == [
        "1 matrix product a step", "2 matrix products a step", "1.5 matrix products a step"
    ]  # fmt: skip
