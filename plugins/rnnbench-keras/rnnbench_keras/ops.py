"""The part of ``rnnbench.cells.ops.Ops`` that losses, updates and joints need, over ``keras.ops``.

Cells never run through it: their place is taken by Keras' layers.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops  # type: ignore[import-untyped]

from rnnbench.cells.ops import Array


class KerasOps:
    """The same for all three frameworks; see ``rnnbench.cells.ops.Ops`` for what each function does."""

    def matmul(self, a: Array, b: Array) -> Array:
        """See Ops."""
        return ops.matmul(a, b)

    def reshape(self, x: Array, shape: tuple[int, ...]) -> Array:
        """See Ops."""
        return ops.reshape(x, shape)

    def swap(self, x: Array, a: int, b: int) -> Array:
        """See Ops."""
        return ops.swapaxes(x, a, b)

    def concat(self, xs: Sequence[Array], axis: int) -> Array:
        """See Ops."""
        return ops.concatenate(list(xs), axis)

    def rows(self, table: Array, index: Array) -> Array:
        """As ``keras.layers.Embedding`` does it."""
        return ops.take(table, index, axis=0)

    def pick(self, x: Array, index: Array) -> Array:
        """A masked sum: in TensorFlow the gradient of a batched gather is a scatter, many times slower."""
        chosen = ops.expand_dims(index, -1) == ops.arange(x.shape[-1], dtype="int32")
        return ops.sum(ops.where(chosen, x, 0.0), -1)

    def where(self, condition: Array, a: Array, b: Array) -> Array:
        """See Ops."""
        return ops.where(condition, a, b)

    def exp(self, x: Array) -> Array:
        """See Ops."""
        return ops.exp(x)

    def sqrt(self, x: Array) -> Array:
        """See Ops."""
        return ops.sqrt(x)

    def stop_gradient(self, x: Array) -> Array:
        """See Ops."""
        return ops.stop_gradient(x)

    def minimum(self, x: Array, bound: float) -> Array:
        """See Ops."""
        return ops.minimum(x, bound)

    def log_softmax(self, x: Array) -> Array:
        """See Ops."""
        return ops.log_softmax(x, axis=-1)

    def sum(self, x: Array, axis: int | None = None) -> Array:
        """See Ops."""
        return ops.sum(x, axis)

    def zeros(self, shape: tuple[int, ...], like: Array) -> Array:
        """See Ops."""
        return ops.zeros(shape, like.dtype)

    def steps(self, length: int, like: Array) -> Array:
        """See Ops."""
        return ops.arange(length, dtype=like.dtype)

    def cast(self, x: Array, like: Array) -> Array:
        """See Ops."""
        return ops.cast(x, like.dtype)
