"""``ops`` over jax.numpy; see ``rnnbench.cells.ops.Ops`` for what each function does."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnbench.cells.ops import Array, Arrays, Body
from rnnbench_jax.scan import affine_scan


class JaxOps:
    """Python numbers stay weakly typed in JAX, so that a float32 network stays float32 under x64."""

    def matmul(self, a: Array, b: Array) -> Array:
        """See Ops."""
        return jnp.matmul(a, b)

    def batch_matmul(self, a: Array, b: Array) -> Array:
        """See Ops."""
        return jnp.matmul(a, b)

    def reshape(self, x: Array, shape: tuple[int, ...]) -> Array:
        """See Ops."""
        return jnp.reshape(x, shape)

    def swap(self, x: Array, a: int, b: int) -> Array:
        """See Ops."""
        return jnp.swapaxes(x, a, b)

    def concat(self, xs: Sequence[Array], axis: int) -> Array:
        """See Ops."""
        return jnp.concatenate(xs, axis)

    def stack(self, xs: Sequence[Array], axis: int) -> Array:
        """See Ops."""
        return jnp.stack(xs, axis)

    def flip(self, x: Array, axis: int) -> Array:
        """See Ops."""
        return jnp.flip(x, axis)

    def rows(self, table: Array, index: Array) -> Array:
        """See Ops."""
        return table[index]

    def pick(self, x: Array, index: Array) -> Array:
        """See Ops."""
        return jnp.take_along_axis(x, index[..., None], axis=-1)[..., 0]

    def argmax(self, x: Array) -> Array:
        """See Ops."""
        return jnp.argmax(x, axis=-1)

    def where(self, condition: Array, a: Array, b: Array) -> Array:
        """See Ops."""
        return jnp.where(condition, a, b)

    def tanh(self, x: Array) -> Array:
        """See Ops."""
        return jnp.tanh(x)

    def sigmoid(self, x: Array) -> Array:
        """See Ops."""
        return jax.nn.sigmoid(x)

    def relu(self, x: Array) -> Array:
        """See Ops."""
        return jax.nn.relu(x)

    def exp(self, x: Array) -> Array:
        """See Ops."""
        return jnp.exp(x)

    def log(self, x: Array) -> Array:
        """See Ops."""
        return jnp.log(x)

    def sqrt(self, x: Array) -> Array:
        """See Ops."""
        return jnp.sqrt(x)

    def sin(self, x: Array) -> Array:
        """See Ops."""
        return jnp.sin(x)

    def cos(self, x: Array) -> Array:
        """See Ops."""
        return jnp.cos(x)

    def erf(self, x: Array) -> Array:
        """See Ops."""
        return lax.erf(x)

    def stop_gradient(self, x: Array) -> Array:
        """See Ops."""
        return lax.stop_gradient(x)

    def minimum(self, x: Array, bound: float) -> Array:
        """See Ops."""
        return jnp.minimum(x, bound)

    def log_softmax(self, x: Array) -> Array:
        """See Ops."""
        return jax.nn.log_softmax(x, axis=-1)

    def sum(self, x: Array, axis: int | None = None) -> Array:
        """See Ops."""
        return jnp.sum(x, axis)

    def zeros(self, shape: tuple[int, ...], like: Array) -> Array:
        """See Ops."""
        return jnp.zeros(shape, like.dtype)

    def steps(self, length: int, like: Array) -> Array:
        """See Ops."""
        return jnp.arange(length, dtype=like.dtype)

    def constant(self, value: np.ndarray, like: Array) -> Array:
        """See Ops."""
        return jnp.asarray(value, like.dtype)

    def cast(self, x: Array, like: Array) -> Array:
        """See Ops."""
        return x.astype(like.dtype)

    def scan(self, body: Body, state: Arrays, inputs: Arrays) -> tuple[dict[str, Array], Array]:
        """``lax.scan``: one compiled step, run T times."""
        last, y = lax.scan(body, dict(state), dict(inputs))
        return last, y

    def affine_scan(self, a: Array, b: Array, start: Array, complex_state: bool) -> Array:
        """See Ops."""
        return affine_scan(a, b, start, complex_state)
