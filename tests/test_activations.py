"""Activations and the Elman cells that differ in them: known values, differences, torch, Keras."""

from __future__ import annotations

from math import erf, sqrt
from typing import Any

import numpy as np
import pytest
from autograd import elementwise_grad, grad
from oracles import bare_layers, keras_on_one_thread, probe

from rnnbench.cells.activations import ACTIVATIONS, LEAKY_SLOPE, prelu
from rnnbench.contracts import Sizes, StartingCell
from rnnbench.numpy_ops import NumpyOps
from rnnbench.testing import CELLS

OPS = NumpyOps()
X = np.random.default_rng(0).uniform(-5, 5, (40, 3))
SLOPE = np.array([0.25, -0.4, 1.7])


def value(name: str, x: Any) -> Any:
    return ACTIVATIONS[name](OPS, np.asarray(x, float))


def test_known_values() -> None:
    assert LEAKY_SLOPE == 0.01
    assert value("leaky_relu", [-1.0, 2.0]).tolist() == [-0.01, 2.0]
    assert value("hard_sigmoid", [-4.0, -3.0, 0.0, 1.5, 3.0, 9.0]).tolist() == [0, 0, 0.5, 0.75, 1, 1]
    # not Keras 2's 0.2 x + 0.5
    assert value("hard_sigmoid", 1.0) == pytest.approx(2 / 3, rel=1e-15)
    # x Φ(x), and not the approximation by tanh, which gives 0.841192
    assert value("gelu", 1.0) == pytest.approx(0.8413447460685429, rel=1e-14)
    np.testing.assert_allclose(value("gelu", X), [[v / 2 * (1 + erf(v / sqrt(2))) for v in r] for r in X])
    np.testing.assert_array_equal(value("linear", X), X)
    assert prelu(OPS, np.array([[-2.0, -2.0, -2.0], [3.0, 3.0, 3.0]]), SLOPE).tolist() == [
        [-0.5, 0.8, -3.4],
        [3.0, 3.0, 3.0],
    ]


def test_softmax_at_the_output_does_not_care_for_a_shift() -> None:
    logits = np.array([[0.0, np.log(3.0)]])
    np.testing.assert_allclose(np.exp(OPS.log_softmax(logits)), [[0.25, 0.75]], rtol=1e-15)
    np.testing.assert_allclose(np.exp(OPS.log_softmax(logits + 1e4)), [[0.25, 0.75]], rtol=1e-11)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_are_differences(name: str) -> None:
    away = X[np.abs(np.abs(X) - 3) > 1e-3]  # from hard_sigmoid's kinks
    found = elementwise_grad(lambda x: ACTIVATIONS[name](OPS, x))(away)
    differences = (value(name, away + 1e-5) - value(name, away - 1e-5)) / 2e-5
    np.testing.assert_allclose(found, differences, atol=1e-9)


def test_derivatives_of_prelu_reach_its_input_and_its_slopes() -> None:
    weights = np.random.default_rng(1).standard_normal(X.shape)

    def weighted(x: Any, slope: Any) -> Any:
        return OPS.sum(weights * prelu(OPS, x, slope))

    np.testing.assert_allclose(grad(weighted)(X, SLOPE), weights * np.where(X > 0, 1.0, SLOPE))
    np.testing.assert_allclose(grad(weighted, 1)(X, SLOPE), (weights * np.minimum(X, 0)).sum(0))


@pytest.mark.parametrize("name", ["elman_prelu", "elman_hard_sigmoid", "elman_gelu"])
def test_an_elman_cell_is_its_equation(name: str) -> None:
    parameters, batch, y, _, _ = probe(CELLS[name], bare_layers(CELLS[name]))
    assert batch.state is not None
    W_x, W_h, b = (parameters[f"layers.0.forward.{key}"] for key in ("W_x", "W_h", "b"))
    h = batch.state["layers.0.forward.h"]
    seen = set()
    for t in range(y.shape[1]):
        z = batch.inputs[:, t] @ W_x[:, 0] + h @ W_h[:, 0] + b[0]
        seen |= set(np.sign(z).ravel())
        match name:
            case "elman_prelu":
                h = np.maximum(z, 0) + parameters["layers.0.forward.a"] * np.minimum(z, 0)
            case "elman_hard_sigmoid":
                h = np.clip(z / 6 + 0.5, 0, 1)
            case _:
                h = z * np.vectorize(lambda v: (1 + erf(v / sqrt(2))) / 2)(z)
        np.testing.assert_allclose(y[:, t], h, atol=1e-14)
    assert seen == {-1.0, 1.0}


def test_prelu_starts_with_the_slope_of_its_paper() -> None:
    cell = CELLS["elman_prelu"]
    assert isinstance(cell, StartingCell)
    assert cell.start(Sizes(2, 3), np.random.default_rng(0))["a"].tolist() == [0.25] * 3


@pytest.mark.framework
def test_values_and_derivatives_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    theirs = {
        "linear": lambda x: x * 1,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "hard_sigmoid": F.hardsigmoid,
        "relu": F.relu,
        "leaky_relu": F.leaky_relu,
        "gelu": F.gelu,
    }
    assert set(theirs) == set(ACTIVATIONS)
    for name, function in theirs.items():
        x = torch.tensor(X, requires_grad=True)
        y = function(x)
        y.sum().backward()
        np.testing.assert_allclose(value(name, X), y.detach().numpy(), atol=1e-15, err_msg=name)
        ours = elementwise_grad(lambda x, name=name: ACTIVATIONS[name](OPS, x))(X)
        np.testing.assert_allclose(ours, x.grad.numpy(), atol=1e-14, err_msg=name)
    found = F.prelu(torch.tensor(X), torch.tensor(SLOPE)).numpy()
    np.testing.assert_array_equal(prelu(OPS, X, SLOPE), found)
    # a negative control: the slope of Keras' function
    assert np.abs(F.leaky_relu(torch.tensor(X), 0.2).numpy() - value("leaky_relu", X)).max() > 0.5


@pytest.mark.framework
@pytest.mark.slow
def test_values_are_those_of_keras() -> None:
    keras = keras_on_one_thread()
    for name in ACTIVATIONS:
        options = {"negative_slope": LEAKY_SLOPE} if name == "leaky_relu" else {}
        found = np.asarray(getattr(keras.activations, name)(X, **options))
        # its leaky_relu and its gelu keep a constant in float32
        np.testing.assert_allclose(found, value(name, X), atol=1e-6, err_msg=name)
