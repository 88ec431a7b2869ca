"""The shim against NumPy's, function by function, on random asymmetric arrays."""

import numpy as np
import pytest

from rnnbench.numpy_ops import NumpyOps

pytestmark = pytest.mark.framework

RNG = np.random.default_rng(5)
X = RNG.standard_normal((4, 3, 5))
W = RNG.standard_normal((5, 2))
INDEX = RNG.integers(0, 5, (4, 3)).astype(np.int32)

CALLS = {
    "matmul": lambda ops, a: ops.matmul(a(X), a(W)),
    "matmul_flat": lambda ops, a: ops.matmul(a(X[0]), a(W)),
    "reshape": lambda ops, a: ops.reshape(a(X), (3, -1)),
    "swap": lambda ops, a: ops.swap(a(X), 0, 2),
    "concat": lambda ops, a: ops.concat([a(X), a(2 * X)], 1),
    "flip": lambda ops, a: ops.flip(a(X), 1),
    "rows": lambda ops, a: ops.rows(a(W), a(INDEX)),
    "pick": lambda ops, a: ops.pick(a(X), a(INDEX)),
    "where": lambda ops, a: ops.where(a(X) > 0, a(X), 0.25),
    "where_number_first": lambda ops, a: ops.where(a(X) > 0, 0.25, a(X)),
    "where_integers": lambda ops, a: ops.where(a(INDEX) > 2, a(INDEX), 0),
    "tanh": lambda ops, a: ops.tanh(a(X)),
    "sigmoid": lambda ops, a: ops.sigmoid(a(X)),
    "relu": lambda ops, a: ops.relu(a(X)),
    "exp": lambda ops, a: ops.exp(a(X)),
    "sqrt": lambda ops, a: ops.sqrt(a(X * X)),
    "minimum": lambda ops, a: ops.minimum(a(X), 0.5),
    "log_softmax": lambda ops, a: ops.log_softmax(a(300 * X)),
    "sum": lambda ops, a: ops.sum(a(X)),
    "sum_axis": lambda ops, a: ops.sum(a(X), 1),
    "zeros": lambda ops, a: ops.zeros((2, 3), a(X)),
    "steps": lambda ops, a: ops.steps(6, a(INDEX)),
    "cast": lambda ops, a: ops.cast(a(INDEX), a(X)),
}


def shim():
    import tensorflow as tf
    from rnnbench_tensorflow.ops import TensorflowOps

    return TensorflowOps(), tf


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CALLS)
def test_function_gives_numpys_values_and_dtype(name, dtype):
    ops, tf = shim()

    def host(value):
        return value.astype(dtype) if value.dtype == np.float64 else value

    expected = CALLS[name](NumpyOps(), host)
    given = CALLS[name](ops, lambda value: tf.constant(host(value))).numpy()
    assert given.shape == expected.shape
    assert given.dtype == expected.dtype
    np.testing.assert_allclose(given, expected, rtol=1e-12 if dtype == "float64" else 2e-5, atol=1e-6)


def test_scan_keeps_static_shapes_in_a_function():
    ops, tf = shim()
    seen = []

    def body(state, u):
        h = ops.tanh(u["u"] + 0.5 * state["h"])
        return {"h": h}, 2 * h

    @tf.function
    def run(x, h):
        last, y = ops.scan(body, {"h": h}, {"u": x})
        seen.append((tuple(y.shape), tuple(last["h"].shape)))
        return last["h"], y

    last, y = run(tf.constant(X), tf.constant(X[0]))
    expected_last, expected = NumpyOps().scan(
        lambda s, u: (lambda h: ({"h": h}, 2 * h))(np.tanh(u["u"] + 0.5 * s["h"])), {"h": X[0]}, {"u": X}
    )
    assert seen == [((4, 3, 5), (3, 5))]
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    np.testing.assert_allclose(last, expected_last["h"], rtol=1e-12)
