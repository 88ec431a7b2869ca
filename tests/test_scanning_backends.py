"""The affine scan of each framework against plain loops, and what is built on it against the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from affine import affine_gradients, affine_loop, draw_affine
from oracles import tensorflow_on_one_thread

from rnnbench.contracts import Batch, NetworkSpec, Parameters, Session, Settings
from rnnbench.errors import Unsupported
from rnnbench.numpy_ops import NumpyOps
from rnnbench.plugins import FIRST_PARTY, discover
from rnnbench.reference import (
    PROBE_TRAINING,
    Answers,
    probe_batch,
    probe_parameters,
    reference_answers,
    worst_error,
)
from rnnbench.testing import CELLS, parity_of

DENSE = NetworkSpec("mingru", 3, 5, 4, "last", "mse")
HARD = replace(DENSE, readout="each", layers=2, bidirectional="concat", lengths=True)
BACKENDS = [
    name if name == "numpy" else pytest.param(name, marks=pytest.mark.framework) for name in FIRST_PARTY
]
FRAMEWORKS = [parameter for parameter in BACKENDS if not isinstance(parameter, str)]


@pytest.fixture(scope="module")
def sessions() -> Mapping[tuple[str, str], Session]:
    """By backend and dtype, each opened when it is first asked for."""

    class Sessions(dict[tuple[str, str], Session]):
        def __missing__(self, key: tuple[str, Any]) -> Session:
            self[key] = discover().backends[key[0]].open(Settings(dtype=key[1], optimize=False), CELLS)
            return self[key]

    return Sessions()


def scanned(backend: str, values: tuple[Any, ...], weights: Any, complex_state: bool) -> tuple[Any, ...]:
    """All states, and the gradients of their weighted sum by a, b and start."""
    if backend == "torch":
        import torch
        from rnnbench_torch.ops import TorchOps

        leaves = [torch.tensor(value, requires_grad=True) for value in values]
        states = TorchOps().affine_scan(*leaves, complex_state)
        total = (states * torch.tensor(weights)).sum()
        return states.detach().numpy(), *(each.numpy() for each in torch.autograd.grad(total, leaves))
    if backend == "jax":
        import jax
        from rnnbench_jax.ops import JaxOps

        def weighted(*values: Any) -> Any:
            states = JaxOps().affine_scan(*values, complex_state)
            return (states * weights).sum(), states

        gradients, states = jax.jit(jax.grad(weighted, (0, 1, 2), has_aux=True))(*values)
        return states, *gradients
    tensorflow_on_one_thread()
    import tensorflow as tf
    from rnnbench_tensorflow.ops import TensorflowOps

    def differentiate(*values: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(values)
            states = TensorflowOps().affine_scan(*values, complex_state)
            total = tf.reduce_sum(states * weights)
        return states, *tape.gradient(total, values)

    found = tf.function(differentiate, autograph=False)(*map(tf.constant, values))
    return tuple(each.numpy() for each in found)


@pytest.mark.parametrize(("complex_state", "shared"), [(False, False), (True, True)])
@pytest.mark.parametrize("backend", FRAMEWORKS)
def test_states_and_gradients_are_those_of_the_loop(
    sessions: Any, backend: str, complex_state: bool, shared: bool
) -> None:
    assert sessions[backend, "float64"]  # JAX computes in float64 only where it was told so
    # 13 is three chunks of three steps, and one over; five numbers a step are chunked on every device
    values = draw_affine(13, complex_state, shared)
    weights = np.random.default_rng(3).standard_normal(values[1].shape)
    states, *gradients = scanned(backend, values, weights, complex_state)
    np.testing.assert_allclose(states, affine_loop(*values, complex_state), rtol=1e-13, atol=1e-13)
    expected = affine_gradients(*values, weights, complex_state)
    for found, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.framework
def test_torch_gives_the_same_where_a_step_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    import rnnbench_torch.scan

    values = draw_affine(13, True, False)
    weights = np.random.default_rng(3).standard_normal(values[1].shape)
    chunked = scanned("torch", values, weights, True)
    monkeypatch.setattr(rnnbench_torch.scan, "ENOUGH", 1)
    for found, wanted in zip(scanned("torch", values, weights, True), chunked, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_scan_equals_the_sequential_form_in_float64(sessions: Any, backend: str) -> None:
    """A tenth of the gate's bound, 1e-10; the parity matrix has the other cells."""
    cell, spec = CELLS["lru"], replace(HARD, cell="lru")
    parity = parity_of(sessions[backend, "float64"], cell, spec, "scan", "float64", length=11)
    assert max(parity.worst.values()) < 0.1, parity


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_over_many_steps_stay_within_the_bound_of_float32(sessions: Any, backend: str) -> None:
    length = 1024
    parameters, batch, expected = expected_long(length)
    network = sessions[backend, "float32"].build(DENSE, parameters, PROBE_TRAINING, "scan")
    loss, gradients = network.fetch(network.gradients(network.put(batch)))
    assert worst_error({"": np.asarray(expected.loss)}, {"": np.asarray(loss)}, length, "float32") < 1
    assert worst_error(expected.gradients, gradients, length, "float32") < 1


@cache
def expected_long(length: int) -> tuple[Parameters, Batch, Answers]:
    parameters = probe_parameters(CELLS["mingru"], DENSE)
    batch = probe_batch(CELLS["mingru"], DENSE, length, 2)
    return parameters, batch, reference_answers(CELLS["mingru"], DENSE, parameters, batch, steps=0)


def test_the_gate_catches_a_scan_of_the_wrong_state(sessions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = NumpyOps.affine_scan

    def late(self: Any, a: Any, b: Any, start: Any, complex_state: bool) -> Any:
        return self.concat([start[None], right(self, a, b, start, complex_state)[:-1]], 0)

    monkeypatch.setattr(NumpyOps, "affine_scan", late)
    assert not parity_of(sessions["numpy", "float32"], CELLS["mingru"], DENSE, "scan", "float32").passed


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_runs_is_said_and_other_cells_are_refused(sessions: Any, backend: str) -> None:
    session = sessions[backend, "float64"]
    network = session.build(DENSE, probe_parameters(CELLS["mingru"], DENSE), PROBE_TRAINING, "scan")
    words = {
        "numpy": "affine states one after the other, in place",
        "torch": "affine scan in chunks of √T steps (a loop in place from 4096 numbers a step)",
        "jax": "lax.associative_scan, custom VJP",
        "tensorflow": "affine scan in chunks of √T steps, unrolled graph",
    }
    assert network.path == words[backend]
    assert "step" in network.step_path
    lstm = replace(DENSE, cell="lstm")
    with pytest.raises(Unsupported, match='"lstm" is not affine in its state'):
        session.build(lstm, probe_parameters(CELLS["lstm"], lstm), PROBE_TRAINING, "scan")
