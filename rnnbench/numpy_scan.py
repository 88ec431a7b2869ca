"""s_t = a_t ⊙ s_{t-1} + b_t in NumPy, differentiable by HIPS autograd.

One step after the other, in place: NumPy runs on one core, where a scan in parallel would only do more work.
The gradient is the same recurrence, run backward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from autograd.extend import defvjp_argnums, primitive


@primitive  # type: ignore[untyped-decorator]
def affine_scan(a: np.ndarray, b: np.ndarray, start: np.ndarray, complex_state: bool) -> np.ndarray:
    """See ``rnnbench.cells.ops.Ops``."""
    s = np.empty(b.shape, b.dtype)
    a, b, start, out = _numbers(complex_state, a, b, start, s)
    h = start
    for factor, term, after in zip(a, b, out, strict=True):
        np.multiply(factor, h, out=after)
        after += term
        h = after
    return s


def _backward(
    argnums: Sequence[int], s: np.ndarray, arguments: tuple[Any, ...], _: Any
) -> Callable[[np.ndarray], tuple[np.ndarray, ...]]:
    *values, complex_state = arguments

    def vjp(g: np.ndarray) -> tuple[np.ndarray, ...]:
        # g_t + conj(a_{t+1}) ⊙ d_{t+1}
        d = np.array(g, order="C")
        a, b, start, states, total = _numbers(complex_state, *values, s, d)
        factors = a.conj() if complex_state else a
        for t in range(len(total) - 2, -1, -1):
            total[t] += factors[t + 1] * total[t + 1]
        da = np.empty_like(total)
        np.multiply(total[1:], states[:-1].conj(), out=da[1:])
        np.multiply(total[0], start.conj(), out=da[0])
        if a.shape[1] != b.shape[1]:
            da = da.sum(1, keepdims=True)
        gradients = da, total, factors[0] * total[0]
        return tuple(_parts(complex_state, gradients[number]) for number in argnums)

    return vjp


defvjp_argnums(affine_scan, _backward)


def _numbers(complex_state: bool, *arrays: np.ndarray) -> Sequence[np.ndarray]:
    """Complex views of (...,2), (...); arrays that are real as they are."""
    if not complex_state:
        return arrays
    kind = np.result_type(arrays[0], np.complex64)
    return [np.ascontiguousarray(array).view(kind)[..., 0] for array in arrays]


def _parts(complex_state: bool, array: np.ndarray) -> np.ndarray:
    return np.stack([array.real, array.imag], -1) if complex_state else array
