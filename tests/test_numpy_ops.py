"""The shim over NumPy: values against plain NumPy, derivatives against differences and known values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from autograd import elementwise_grad

from rnnbench.cells.activations import ACTIVATIONS
from rnnbench.numpy_ops import NumpyOps

OPS = NumpyOps()
X = np.random.default_rng(0).standard_normal((3, 4))


def test_matmul_keeps_leading_axes() -> None:
    a, b = np.random.default_rng(1).standard_normal((2, 3, 4)), X.T.copy()
    np.testing.assert_allclose(OPS.matmul(a, b), np.einsum("xij,jk->xik", a, b))
    np.testing.assert_allclose(OPS.matmul(a[0], b), a[0] @ b)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (OPS.reshape(X, (2, -1)), X.reshape(2, 6)),
        (OPS.swap(X, 0, 1), X.T),
        (OPS.concat([X, 2 * X], 1), np.hstack([X, 2 * X])),
        (OPS.flip(X, 1), X[:, ::-1]),
        (OPS.rows(X, np.array([[2, 0]])), X[[2, 0]][None]),
        (OPS.pick(X, np.array([3, 0, 1])), np.array([X[0, 3], X[1, 0], X[2, 1]])),
        (OPS.pick(X[None], np.array([[3, 0, 1]])), np.array([[X[0, 3], X[1, 0], X[2, 1]]])),
        (OPS.where(X > 0, X, 0.0), np.maximum(X, 0)),
        (OPS.tanh(X), np.tanh(X)),
        (OPS.sigmoid(X), 1 / (1 + np.exp(-X))),
        (OPS.relu(X), np.clip(X, 0, None)),
        (OPS.exp(X), np.exp(X)),
        (OPS.sqrt(X**2), np.abs(X)),
        (OPS.minimum(X, 0.1), np.minimum(X, 0.1)),
        (OPS.log_softmax(X), np.log(np.exp(X) / np.exp(X).sum(1, keepdims=True))),
        (OPS.sum(X), X.sum()),
        (OPS.sum(X, 0), X.sum(0)),
        (OPS.zeros((2, 5), X), np.zeros((2, 5))),
        (OPS.steps(4, np.array([7], np.int32)), np.arange(4)),
    ],
)
def test_values(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-15)


def test_constructors_take_the_dtype_of_like() -> None:
    narrow = X.astype(np.float32)
    assert OPS.zeros((2,), narrow).dtype == np.float32
    assert OPS.steps(3, np.array([1], np.int32)).dtype == np.int32
    assert OPS.cast(np.array([1, 2], np.int32), narrow).dtype == np.float32


@pytest.mark.parametrize(
    "function",
    [
        OPS.tanh,
        OPS.sigmoid,
        OPS.relu,
        OPS.exp,
        OPS.log_softmax,
        OPS.sum,
        lambda x: OPS.minimum(x, 0.1),
        lambda x: OPS.where(x > 0, x, 0.0),
        *(lambda x, f=f: f(OPS, x) for f in ACTIVATIONS.values()),
    ],
)
def test_float32_stays_float32_and_so_does_its_derivative(function: Callable[..., Any]) -> None:
    x = X.astype(np.float32)
    assert function(x).dtype == np.float32
    assert elementwise_grad(function)(x).dtype == np.float32


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_of_activations_are_differences(name: str) -> None:
    def activation(x: np.ndarray) -> np.ndarray:
        return ACTIVATIONS[name](OPS, x)  # type: ignore[no-any-return]

    step = 1e-6
    differences = (activation(X + step) - activation(X - step)) / (2 * step)
    np.testing.assert_allclose(elementwise_grad(activation)(X), differences, atol=1e-9)


def test_derivative_of_log_softmax_is_differences() -> None:
    weights = np.random.default_rng(2).standard_normal((3, 4))

    def weighted(x: np.ndarray) -> Any:
        return OPS.sum(weights * OPS.log_softmax(x))

    found = elementwise_grad(weighted)(X)
    for place in np.ndindex(*X.shape):
        step = np.zeros_like(X)
        step[place] = 1e-6
        difference = (weighted(X + step) - weighted(X - step)) / 2e-6
        assert found[place] == pytest.approx(difference, abs=1e-9)


def test_derivative_of_where_reaches_both_sides_and_sums_what_was_broadcast() -> None:
    condition = X > 0
    left = elementwise_grad(lambda a: OPS.where(condition, a, X))(np.ones((1, 4)))
    right = elementwise_grad(lambda b: OPS.where(condition, X, b))(np.ones((1, 4)))
    assert left.tolist() == [condition.sum(0).tolist()]
    assert right.tolist() == [(~condition).sum(0).tolist()]


def test_sigmoid_of_large_numbers_neither_overflows_nor_warns() -> None:
    found = OPS.sigmoid(np.array([-1e30, -1000.0, 0.0, 1000.0, 1e30]))
    assert found.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_kinks_have_the_derivative_of_the_frameworks() -> None:
    zero = np.zeros(1)
    assert elementwise_grad(OPS.relu)(zero).tolist() == [0.0]
    leaky = ACTIVATIONS["leaky_relu"]
    assert elementwise_grad(lambda x: leaky(OPS, x))(zero).tolist() == [0.01]


def test_known_values() -> None:
    assert ACTIVATIONS["leaky_relu"](OPS, np.array([-1.0, 2.0])).tolist() == [-0.01, 2.0]
    softmax = np.exp(OPS.log_softmax(np.array([[0.0, np.log(3.0)]])))
    np.testing.assert_allclose(softmax, [[0.25, 0.75]])
    np.testing.assert_allclose(OPS.log_softmax(X + 1e4), OPS.log_softmax(X), atol=1e-11)
    assert np.isfinite(OPS.log_softmax(np.array([[1e30, 0.0]]))).all()


def test_scan_carries_the_state_and_stacks_y() -> None:
    inputs = {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([10.0, 20.0, 30.0])}

    def body(state: dict[str, Any], u: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        total = state["total"] * 2 + u["a"]
        return {"total": total}, total + u["b"]

    last, y = OPS.scan(body, {"total": np.array(1.0)}, inputs)
    assert float(last["total"]) == 19.0
    assert y.tolist() == [13.0, 28.0, 49.0]
