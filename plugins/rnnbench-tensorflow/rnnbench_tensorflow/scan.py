"""s_t = a_t ⊙ s_{t-1} + b_t in a TensorFlow graph: chunks of √T steps side by side, and its own gradient.

All chunks take their first step in one operation, then their second, ...; what each hands to the next
follows in √T steps more. So some √T operations, laid out in the graph, stand in the place of T turns of a
``tf.while_loop``. Automatic differentiation would keep all of them; the gradient is the same recurrence, run
backward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isqrt
from typing import Any

import tensorflow as tf  # type: ignore[import-untyped]

from rnnbench.cells.ops import Array


def affine_scan(a: Array, b: Array, start: Array, complex_state: bool) -> Array:
    """See ``rnnbench.cells.ops.Ops``."""
    if not complex_state:
        return _scan(a, b, start)
    s = _scan(*(tf.complex(value[..., 0], value[..., 1]) for value in (a, b, start)))
    return tf.stack([tf.math.real(s), tf.math.imag(s)], -1)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _scan(a: Array, b: Array, start: Array) -> tuple[Array, Callable[[Array], tuple[Array, Array, Array]]]:
    s = _states(a, b, start, reverse=False)

    def gradient(g: Array) -> tuple[Array, Array, Array]:
        # d_t = g_t + conj(a_{t+1}) ⊙ d_{t+1}
        factors = tf.math.conj(a)
        d = tf.concat([_states(factors[1:], g[:-1], g[-1], reverse=True), g[-1:]], 0)
        da = d * tf.math.conj(tf.concat([start[None], s[:-1]], 0))
        if a.shape[1] != b.shape[1]:
            da = tf.reduce_sum(da, 1, keepdims=True)
        return da, d, factors[0] * d[0]

    return s, gradient


def _states(a: Array, b: Array, start: Array, *, reverse: bool) -> Array:
    """The states after ``start`` (T,B,...), from the last step to the first where ``reverse``."""
    T = b.shape[0]
    if T == 0:
        return b
    size = isqrt(T)
    count, rest = divmod(T, size)
    chunks, left = (slice(rest, T), slice(0, rest)) if reverse else (slice(0, T - rest), slice(T - rest, T))
    factors, terms = (_steps(tf.reshape(x[chunks], (count, size, *x.shape[1:])), reverse, 1) for x in (a, b))
    # each chunk as if it began at 0, and what share of the state before it still counts after each step
    steps = _follow(factors[1:], terms[1:], terms[0])
    shares = [factors[0]]
    for factor in factors[1:]:
        shares.append(factor * shares[-1])
    ends = _follow(_steps(shares[-1], reverse), _steps(steps[-1], reverse), start)
    before = tf.stack(_in_time([*ends[:-1]], reverse))
    whole = tf.stack(
        _in_time([step + share * before for step, share in zip(steps, shares, strict=True)], reverse), 1
    )
    whole = tf.reshape(whole, (count * size, *b.shape[1:]))
    if not rest:
        return whole
    others = _follow(_steps(a[left], reverse), _steps(b[left], reverse), ends[-1])[1:]
    parts = [whole, tf.stack(_in_time(others, reverse))]
    return tf.concat(_in_time(parts, reverse), 0)


def _follow(factors: Sequence[Any], terms: Sequence[Any], state: Any) -> list[Any]:
    """The state, and the state after each step."""
    states = [state]
    for factor, term in zip(factors, terms, strict=True):
        states.append(factor * states[-1] + term)
    return states


def _steps(x: Array, reverse: bool, axis: int = 0) -> list[Array]:
    return _in_time(tf.unstack(x, axis=axis), reverse)


def _in_time(steps: list[Any], reverse: bool) -> list[Any]:
    return steps[::-1] if reverse else steps
