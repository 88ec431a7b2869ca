"""Optimisers, clipping and initialisers: known answers and textbook formulas written apart."""

from __future__ import annotations

import re

import numpy as np
import pytest

from rnnbench.cells.elman import ELMAN_CELLS
from rnnbench.cells.gru import GRU
from rnnbench.cells.lstm import LSTM
from rnnbench.cells.network import parameter_shapes
from rnnbench.contracts import NetworkSpec, TrainingSpec
from rnnbench.errors import RequestError
from rnnbench.numpy_ops import NumpyOps
from rnnbench.training import INITS, clip_gradients, global_norm, initialise, start_slots, update

OPS = NumpyOps()
SPEC = NetworkSpec("lstm", 24, 32, 5, "last", "cross_entropy", 2, "concat", vocab=50)


def adam_after(gradient: float, steps: int) -> float:
    training = TrainingSpec("adam", 1e-3)
    parameters = {"w": np.zeros(1)}
    slots = start_slots(OPS, training, parameters)
    for step in range(1, steps + 1):
        gradients = {"w": np.array([gradient])}
        parameters, slots = update(OPS, training, parameters, gradients, slots, np.float64(step))
    return float(parameters["w"][0])


@pytest.mark.parametrize(("gradient", "expected"), [(1.0, -0.003), (1e-6, -0.002970297), (1e-8, -0.0015)])
def test_adam_with_a_constant_gradient_as_torch_and_optax(gradient: float, expected: float) -> None:
    assert adam_after(gradient, 3) == pytest.approx(expected, rel=1e-6)


def test_adam_is_the_paper_on_random_gradients() -> None:
    rng = np.random.default_rng(0)
    training = TrainingSpec("adam", 0.02)
    parameters = {"a": rng.standard_normal((3, 2)), "b": rng.standard_normal(4)}
    expected = {name: value.copy() for name, value in parameters.items()}
    moments = {name: (np.zeros(1), np.zeros(1)) for name in parameters}
    slots = start_slots(OPS, training, parameters)
    for t in range(1, 6):
        gradients = {name: rng.standard_normal(value.shape) for name, value in parameters.items()}
        parameters, slots = update(OPS, training, parameters, gradients, slots, np.float64(t))
        for name, g in gradients.items():
            m, v = moments[name]
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            moments[name] = m, v
            rate = 0.02 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            expected[name] -= rate * m / (np.sqrt(v) + 1e-8 * np.sqrt(1 - 0.999**t))
    for name, value in parameters.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12)


def test_sgd_and_its_clipping() -> None:
    parameters, gradients = {"a": np.array([1.0]), "b": np.array([2.0])}, {"a": [3.0], "b": [4.0]}
    arrays = {name: np.array(value) for name, value in gradients.items()}
    plain, slots = update(OPS, TrainingSpec("sgd", 0.5), parameters, arrays, {}, np.float64(1))
    assert (plain["a"].tolist(), plain["b"].tolist(), slots) == ([-0.5], [0.0], {})
    clipped, _ = update(OPS, TrainingSpec("sgd", 0.5, clip=1.0), parameters, arrays, {}, np.float64(1))
    np.testing.assert_allclose([clipped["a"][0], clipped["b"][0]], [1 - 0.3, 2 - 0.4], rtol=1e-15)


def test_clipping_is_exact_and_global() -> None:
    clipped = clip_gradients(OPS, {"w": np.array([3.0, 4.0])}, 1.0)
    np.testing.assert_allclose(clipped["w"], [0.6, 0.8], rtol=1e-15)
    apart = clip_gradients(OPS, {"a": np.array([[3.0]]), "b": np.array([4.0])}, 1.0)
    np.testing.assert_allclose([apart["a"][0, 0], apart["b"][0]], [0.6, 0.8], rtol=1e-15)
    assert float(global_norm(OPS, {"a": np.array([[3.0]]), "b": np.array([4.0])})) == 5.0


@pytest.mark.parametrize("gradient", [[0.3, 0.4], [0.0, 0.0]])
def test_clipping_leaves_small_and_zero_gradients_alone(gradient: list[float]) -> None:
    assert clip_gradients(OPS, {"w": np.array(gradient)}, 1.0)["w"].tolist() == gradient


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_updates_stay_in_float32_and_leave_their_arguments_alone(optimizer: str) -> None:
    training = TrainingSpec(optimizer, 0.1, clip=0.5)  # type: ignore[arg-type]
    parameters = {"w": np.ones(3, np.float32)}
    slots = start_slots(OPS, training, parameters)
    new, slots = update(OPS, training, parameters, {"w": np.ones(3, np.float32)}, slots, np.float32(1))
    values = [new["w"], *(moment["w"] for moment in slots.values())]
    assert {value.dtype for value in values} == {np.dtype(np.float32)}
    assert parameters["w"].tolist() == [1.0, 1.0, 1.0]


def test_zero_leaves_the_forget_bias_and_the_head() -> None:
    parameters = initialise(LSTM(), SPEC, "zero", 3.0, 0)
    head = initialise(LSTM(), SPEC, "glorot", 3.0, 0)["head.W"]
    for name, value in parameters.items():
        if name.endswith(".b") and name.startswith("layers."):
            np.testing.assert_array_equal(value[1], 3.0)
            np.testing.assert_array_equal(value[[0, 2, 3]], 0.0)
        elif name not in ("embed.E", "head.W"):
            np.testing.assert_array_equal(value, 0.0)
    np.testing.assert_array_equal(parameters["head.W"], head)


def test_gain_is_the_spectral_radius_of_orthogonal_kernels() -> None:
    scaled, plain = (initialise(LSTM(), SPEC, "orthogonal", 1.0, 0, gain) for gain in (0.7, 1.0))
    for name, value in plain.items():
        np.testing.assert_array_equal(scaled[name], 0.7 * value if name.endswith("W_h") else value)
    gates = np.moveaxis(scaled["layers.0.forward.W_h"], 1, 0)
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(gates)), 0.7, rtol=1e-12)


@pytest.mark.parametrize("init", INITS)
def test_initialisation_gives_every_parameter_and_repeats_itself(init: str) -> None:
    first, again, other = (initialise(LSTM(), SPEC, init, 1.0, seed) for seed in (3, 3, 4))
    assert {name: value.shape for name, value in first.items()} == parameter_shapes(LSTM(), SPEC)
    assert {value.dtype for value in first.values()} == {np.dtype(np.float64)}
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(first["head.W"], other["head.W"])
    W = first["layers.0.forward.W_x"]
    assert init == "zero" or not np.array_equal(W, first["layers.0.backward.W_x"])


def test_orthogonal_recurrent_kernels_are_orthogonal_gate_by_gate() -> None:
    W_h = initialise(LSTM(), SPEC, "orthogonal", 0.0, 0)["layers.1.backward.W_h"]
    for gate in range(4):
        np.testing.assert_allclose(W_h[:, gate].T @ W_h[:, gate], np.eye(32), atol=1e-12)
    assert np.abs(W_h[:, 0] - W_h[:, 1]).max() > 0.1


def test_identity_recurrent_kernels() -> None:
    W_h = initialise(ELMAN_CELLS[1], SPEC, "identity", 0.0, 0)["layers.0.forward.W_h"]
    np.testing.assert_array_equal(W_h[:, 0], np.eye(32))


def test_forget_bias_is_on_the_gate_named_f_alone() -> None:
    parameters = initialise(LSTM(), SPEC, "glorot", 1.5, 0)
    for layer in ("layers.0.forward", "layers.1.backward"):
        assert parameters[f"{layer}.b"].tolist() == [[0.0] * 32, [1.5] * 32, [0.0] * 32, [0.0] * 32]
    uniform = (initialise(LSTM(), SPEC, "uniform", bias, 0)["layers.0.forward.b"] for bias in (0.0, 2.0))
    without, with_bias = uniform
    np.testing.assert_allclose((with_bias - without)[:, 0], [0, 2, 0, 0])


def test_a_cell_without_a_forget_gate_has_no_forget_bias() -> None:
    parameters = initialise(GRU(), SPEC, "orthogonal", 1.0, 0)
    assert not parameters["layers.0.forward.b"].any()
    assert not parameters["layers.0.forward.b_hn"].any()


def test_uniform_bounds() -> None:
    parameters = initialise(GRU(), SPEC, "uniform", 0.0, 0)
    for name, value in parameters.items():
        if name == "embed.E":
            continue
        bound = 1 / np.sqrt(64 if name == "head.W" else 32)
        assert np.abs(value).max() <= bound
        assert value.size < 30 or np.abs(value).max() > 0.9 * bound
        assert value.any()


def test_glorot_bounds_count_one_gate() -> None:
    W_x = initialise(LSTM(), SPEC, "glorot", 0.0, 0)["layers.0.forward.W_x"]
    bound = np.sqrt(6 / (24 + 32))
    assert 0.98 * bound < np.abs(W_x).max() <= bound
    assert W_x.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)


def test_embeddings_are_standard_normal() -> None:
    E = initialise(LSTM(), SPEC, "glorot", 0.0, 0)["embed.E"]
    assert abs(E.mean()) < 0.1
    assert E.std() == pytest.approx(1.0, abs=0.1)


def test_an_unknown_initialiser_is_named_with_the_nearest() -> None:
    with pytest.raises(
        RequestError, match=re.escape('no initialiser "ortogonal". Did you mean "orthogonal"?')
    ):
        initialise(LSTM(), SPEC, "ortogonal", 1.0, 0)
