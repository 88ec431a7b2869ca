"""The array functions that cells, losses and optimisers are written over; each backend supplies one shim.

Names follow the Python Array API. Constructors take ``like`` and never a default dtype, so a
float32 network stays float32. Arithmetic, comparison, indexing with constants and ``.shape``
are the arrays' own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

Array = Any
"""An array of the backend at hand."""

Arrays = Mapping[str, Array]
Body = Callable[[dict[str, Array], dict[str, Array]], tuple[dict[str, Array], Array]]


class Ops(Protocol):
    """Some thirty functions and ``scan``. Axes are non-negative integers."""

    def matmul(self, a: Array, b: Array) -> Array:
        """a (...,N) times b (N,M) -> (...,M); b always has two axes."""
        ...

    def batch_matmul(self, a: Array, b: Array) -> Array:
        """a (...,N,K) times b (...,K,M) -> (...,N,M), both with the same leading axes."""
        ...

    def reshape(self, x: Array, shape: tuple[int, ...]) -> Array:
        """At most one axis of ``shape`` is -1."""
        ...

    def swap(self, x: Array, a: int, b: int) -> Array:
        """Exchange two axes."""
        ...

    def concat(self, xs: Sequence[Array], axis: int) -> Array:
        """Join along an axis that exists."""
        ...

    def stack(self, xs: Sequence[Array], axis: int) -> Array:
        """Join along a new axis."""
        ...

    def flip(self, x: Array, axis: int) -> Array:
        """Reverse along an axis."""
        ...

    def rows(self, table: Array, index: Array) -> Array:
        """table (V,I), index (...) of integers -> (...,I)."""
        ...

    def pick(self, x: Array, index: Array) -> Array:
        """x (...,O), index (...) of integers -> x[..., index] (...)."""
        ...

    def argmax(self, x: Array) -> Array:
        """x (...,N) -> index (...) of the largest entry, as integers that ``rows`` takes; no gradient."""
        ...

    def where(self, condition: Array, a: Array, b: Array) -> Array:
        """Elementwise choice; a or b may be a Python number."""
        ...

    def tanh(self, x: Array) -> Array: ...  # noqa: D102 - the function of that name
    def sigmoid(self, x: Array) -> Array: ...  # noqa: D102
    def relu(self, x: Array) -> Array: ...  # noqa: D102
    def exp(self, x: Array) -> Array: ...  # noqa: D102
    def log(self, x: Array) -> Array: ...  # noqa: D102
    def sqrt(self, x: Array) -> Array: ...  # noqa: D102
    def sin(self, x: Array) -> Array: ...  # noqa: D102
    def cos(self, x: Array) -> Array: ...  # noqa: D102
    def erf(self, x: Array) -> Array: ...  # noqa: D102

    def stop_gradient(self, x: Array) -> Array:
        """x, as a constant: no gradient flows into it."""
        ...

    def minimum(self, x: Array, bound: float) -> Array:
        """Elementwise smaller of x and a Python number."""
        ...

    def log_softmax(self, x: Array) -> Array:
        """Over the last axis, in the stable form."""
        ...

    def sum(self, x: Array, axis: int | None = None) -> Array:
        """Over one axis or over all."""
        ...

    def zeros(self, shape: tuple[int, ...], like: Array) -> Array:
        """Zeros of the dtype and on the device of ``like``."""
        ...

    def steps(self, length: int, like: Array) -> Array:
        """0, 1, ..., length-1, of the dtype and on the device of ``like``."""
        ...

    def constant(self, value: np.ndarray, like: Array) -> Array:
        """An array of the host in the dtype and on the device of ``like``; no gradient flows into it."""
        ...

    def cast(self, x: Array, like: Array) -> Array:
        """x in the dtype of ``like``."""
        ...

    def scan(self, body: Body, state: Arrays, inputs: Arrays) -> tuple[dict[str, Array], Array]:
        """Apply ``body(state, inputs_t) -> (state, y)`` over axis 0 of every input.

        Returns the last state and y stacked along a new axis 0.
        """
        ...

    def affine_scan(self, a: Array, b: Array, start: Array, complex_state: bool) -> Array:
        """All s_t = a_t ⊙ s_{t-1} + b_t, with s_{-1} = ``start`` (B,...).

        b and the result are (T,B,...), a is so too or (T,1,...). With ``complex_state`` the last axis (2)
        holds real and imaginary part, and ⊙ multiplies complex numbers.
        """
        ...
