"""``ops`` over NumPy, differentiable by HIPS autograd: what the reference and the NumPy backend run on.

autograd is no framework: it records NumPy calls. Called with plain arrays these functions are
plain NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence

import autograd.numpy as anp
import numpy as np
from autograd.extend import defvjp, notrace_primitive, primitive
from autograd.numpy.numpy_vjps import unbroadcast_f
from autograd.scipy.special import erf

from rnnbench.cells.ops import Array, Arrays, Body
from rnnbench.numpy_scan import affine_scan


def _stable_sigmoid(x: np.ndarray) -> np.ndarray:
    # tanh never overflows, and is one vectorised call in either sign
    return 0.5 * (np.tanh(0.5 * x) + 1.0)


_sigmoid = primitive(_stable_sigmoid)
defvjp(_sigmoid, lambda y, x: lambda g: g * y * (1.0 - y))

_relu = primitive(lambda x: np.maximum(x, 0))
# the derivative at 0 is 0, as in torch, JAX and TensorFlow; autograd's maximum gives 1/2
defvjp(_relu, lambda y, x: lambda g: g * (x > 0))

_where = primitive(np.where)
# autograd's own fills up with float64 zeros, and a float32 network would be differentiated in float64
defvjp(
    _where,
    None,
    lambda y, condition, a, b: unbroadcast_f(a, lambda g: np.where(condition, g, 0.0)),
    lambda y, condition, a, b: unbroadcast_f(b, lambda g: np.where(condition, 0.0, g)),
)


# what leaves the tape: a number that is kept beside a loss must be a plain array afterwards
_stop_gradient = notrace_primitive(lambda x: x)


def _stable_log_softmax(x: np.ndarray) -> np.ndarray:
    shifted: np.ndarray = x - x.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


_log_softmax = primitive(_stable_log_softmax)
defvjp(_log_softmax, lambda y, x: lambda g: g - np.exp(y) * g.sum(axis=-1, keepdims=True))


class NumpyOps:
    """See ``rnnbench.cells.ops.Ops``."""

    def matmul(self, a: Array, b: Array) -> Array:
        """One two-dimensional product: BLAS sees all leading axes at once."""
        if a.ndim == 2:
            return anp.dot(a, b)
        return anp.reshape(anp.dot(anp.reshape(a, (-1, a.shape[-1])), b), (*a.shape[:-1], b.shape[1]))

    def batch_matmul(self, a: Array, b: Array) -> Array:
        """See Ops."""
        return anp.matmul(a, b)

    def reshape(self, x: Array, shape: tuple[int, ...]) -> Array:
        """See Ops."""
        return anp.reshape(x, shape)

    def swap(self, x: Array, a: int, b: int) -> Array:
        """See Ops."""
        return anp.swapaxes(x, a, b)

    def concat(self, xs: Sequence[Array], axis: int) -> Array:
        """See Ops."""
        return anp.concatenate(xs, axis)

    def stack(self, xs: Sequence[Array], axis: int) -> Array:
        """See Ops."""
        return anp.stack(xs, axis)

    def flip(self, x: Array, axis: int) -> Array:
        """See Ops."""
        return x[(slice(None),) * axis + (slice(None, None, -1),)]

    def rows(self, table: Array, index: Array) -> Array:
        """See Ops."""
        return table[index]

    def pick(self, x: Array, index: Array) -> Array:
        """See Ops."""
        flat = anp.reshape(x, (-1, x.shape[-1]))
        return anp.reshape(flat[np.arange(flat.shape[0]), index.reshape(-1)], index.shape)

    def argmax(self, x: Array) -> Array:
        """See Ops."""
        return anp.argmax(x, -1)

    def where(self, condition: Array, a: Array, b: Array) -> Array:
        """See Ops."""
        return _where(condition, a, b)

    def tanh(self, x: Array) -> Array:
        """See Ops."""
        return anp.tanh(x)

    def sigmoid(self, x: Array) -> Array:
        """See Ops."""
        return _sigmoid(x)

    def relu(self, x: Array) -> Array:
        """See Ops."""
        return _relu(x)

    def exp(self, x: Array) -> Array:
        """See Ops."""
        return anp.exp(x)

    def log(self, x: Array) -> Array:
        """See Ops."""
        return anp.log(x)

    def sqrt(self, x: Array) -> Array:
        """See Ops."""
        return anp.sqrt(x)

    def sin(self, x: Array) -> Array:
        """See Ops."""
        return anp.sin(x)

    def cos(self, x: Array) -> Array:
        """See Ops."""
        return anp.cos(x)

    def erf(self, x: Array) -> Array:
        """See Ops."""
        return erf(x)

    def stop_gradient(self, x: Array) -> Array:
        """See Ops."""
        return _stop_gradient(x)

    def minimum(self, x: Array, bound: float) -> Array:
        """See Ops."""
        return _where(x < bound, x, bound)

    def log_softmax(self, x: Array) -> Array:
        """See Ops."""
        return _log_softmax(x)

    def sum(self, x: Array, axis: int | None = None) -> Array:
        """See Ops."""
        return anp.sum(x, axis)

    def zeros(self, shape: tuple[int, ...], like: Array) -> Array:
        """See Ops."""
        return np.zeros(shape, like.dtype)

    def steps(self, length: int, like: Array) -> Array:
        """See Ops."""
        return np.arange(length, dtype=like.dtype)

    def constant(self, value: np.ndarray, like: Array) -> Array:
        """See Ops."""
        return value.astype(like.dtype)

    def cast(self, x: Array, like: Array) -> Array:
        """See Ops."""
        return x.astype(like.dtype)

    def scan(self, body: Body, state: Arrays, inputs: Arrays) -> tuple[dict[str, Array], Array]:
        """A Python loop."""
        length = next(iter(inputs.values())).shape[0]
        current = dict(state)
        ys = []
        for t in range(length):
            current, y = body(current, {name: value[t] for name, value in inputs.items()})
            ys.append(y)
        # autograd's stack joins T arrays in one node; concatenate would need T reshapes
        return current, anp.stack(ys)

    def affine_scan(self, a: Array, b: Array, start: Array, complex_state: bool) -> Array:
        """See Ops."""
        return affine_scan(a, b, start, complex_state)
