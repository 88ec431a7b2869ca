"""``ops`` over TensorFlow tensors with static shapes, for use inside a tf.function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf  # type: ignore[import-untyped]

from rnnbench.cells.ops import Array, Arrays, Body
from rnnbench_tensorflow.scan import affine_scan


class TensorflowOps:
    """See ``rnnbench.cells.ops.Ops``."""

    def matmul(self, a: Array, b: Array) -> Array:
        """One two-dimensional product: a batched one would copy b for every leading index."""
        if len(a.shape) == 2:
            return tf.matmul(a, b)
        return tf.reshape(tf.matmul(tf.reshape(a, (-1, a.shape[-1])), b), (*a.shape[:-1], b.shape[1]))

    def batch_matmul(self, a: Array, b: Array) -> Array:
        """See Ops."""
        return tf.matmul(a, b)

    def reshape(self, x: Array, shape: tuple[int, ...]) -> Array:
        """See Ops."""
        return tf.reshape(x, shape)

    def swap(self, x: Array, a: int, b: int) -> Array:
        """See Ops."""
        axes = list(range(len(x.shape)))
        axes[a], axes[b] = b, a
        return tf.transpose(x, axes)

    def concat(self, xs: Sequence[Array], axis: int) -> Array:
        """See Ops."""
        return tf.concat(list(xs), axis)

    def stack(self, xs: Sequence[Array], axis: int) -> Array:
        """See Ops."""
        return tf.stack(list(xs), axis)

    def flip(self, x: Array, axis: int) -> Array:
        """See Ops."""
        return tf.reverse(x, [axis])

    def rows(self, table: Array, index: Array) -> Array:
        """See Ops."""
        return tf.gather(table, index)

    def pick(self, x: Array, index: Array) -> Array:
        """A masked sum: the gradient of a batched gather is a scatter, many times slower."""
        chosen = tf.one_hot(index, x.shape[-1], on_value=True, off_value=False, dtype=tf.bool)
        return tf.reduce_sum(tf.where(chosen, x, tf.zeros((), x.dtype)), -1)

    def argmax(self, x: Array) -> Array:
        """See Ops."""
        return tf.argmax(x, -1)

    def where(self, condition: Array, a: Array, b: Array) -> Array:
        """See Ops."""
        dtype = a.dtype if tf.is_tensor(a) else b.dtype
        return tf.where(condition, tf.convert_to_tensor(a, dtype), tf.convert_to_tensor(b, dtype))

    def tanh(self, x: Array) -> Array:
        """See Ops."""
        return tf.tanh(x)

    def sigmoid(self, x: Array) -> Array:
        """See Ops."""
        return tf.sigmoid(x)

    def relu(self, x: Array) -> Array:
        """See Ops."""
        return tf.nn.relu(x)

    def exp(self, x: Array) -> Array:
        """See Ops."""
        return tf.exp(x)

    def log(self, x: Array) -> Array:
        """See Ops."""
        return tf.math.log(x)

    def sqrt(self, x: Array) -> Array:
        """See Ops."""
        return tf.sqrt(x)

    def sin(self, x: Array) -> Array:
        """See Ops."""
        return tf.sin(x)

    def cos(self, x: Array) -> Array:
        """See Ops."""
        return tf.cos(x)

    def erf(self, x: Array) -> Array:
        """See Ops."""
        return tf.math.erf(x)

    def stop_gradient(self, x: Array) -> Array:
        """See Ops."""
        return tf.stop_gradient(x)

    def minimum(self, x: Array, bound: float) -> Array:
        """See Ops."""
        return tf.minimum(x, tf.constant(bound, x.dtype))

    def log_softmax(self, x: Array) -> Array:
        """See Ops."""
        return tf.nn.log_softmax(x)

    def sum(self, x: Array, axis: int | None = None) -> Array:
        """See Ops."""
        return tf.reduce_sum(x, axis)

    def zeros(self, shape: tuple[int, ...], like: Array) -> Array:
        """See Ops."""
        return tf.zeros(shape, like.dtype)

    def steps(self, length: int, like: Array) -> Array:
        """See Ops."""
        return tf.range(length, dtype=like.dtype)

    def constant(self, value: np.ndarray, like: Array) -> Array:
        """See Ops."""
        return tf.constant(value, like.dtype)

    def cast(self, x: Array, like: Array) -> Array:
        """See Ops."""
        return tf.cast(x, like.dtype)

    def scan(self, body: Body, state: Arrays, inputs: Arrays) -> tuple[dict[str, Array], Array]:
        """A ``tf.while_loop`` over TensorArrays of known length and element shape."""
        length = next(iter(inputs.values())).shape[0]
        arrays = {name: _unstack(value) for name, value in inputs.items()}
        # shapes of y from a step that nothing uses, so that grappler prunes it
        _, y = body(dict(state), {name: value[0] for name, value in inputs.items()})
        ys = tf.TensorArray(y.dtype, size=length, element_shape=y.shape)

        def step(t: Any, current: dict[str, Array], ys: Any) -> tuple[Any, dict[str, Array], Any]:
            new, y = body(current, {name: array.read(t) for name, array in arrays.items()})
            return t + 1, new, ys.write(t, y)

        _, last, ys = tf.while_loop(
            lambda t, *_: t < length, step, (tf.constant(0), dict(state), ys), maximum_iterations=length
        )
        return last, ys.stack()

    def affine_scan(self, a: Array, b: Array, start: Array, complex_state: bool) -> Array:
        """See Ops."""
        return affine_scan(a, b, start, complex_state)


def _unstack(value: Array) -> Any:
    array = tf.TensorArray(value.dtype, size=value.shape[0], element_shape=value.shape[1:])
    return array.unstack(value)
