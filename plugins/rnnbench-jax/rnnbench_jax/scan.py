"""s_t = a_t ⊙ s_{t-1} + b_t by ``lax.associative_scan``, in log T passes.

Automatic differentiation would go back through every pass; the gradient of all states is one scan more, in
the other direction.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnbench.cells.ops import Array


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def affine_scan(a: Array, b: Array, start: Array, complex_state: bool) -> Array:
    """See ``rnnbench.cells.ops.Ops``."""
    a, b, start = (_numbers(complex_state, value) for value in (a, b, start))
    # a choice is fused into what computes b; to add at step 0 alone would copy all of it
    first = (jnp.arange(b.shape[0]) == 0).reshape(-1, *(1 for _ in start.shape))
    return _parts(complex_state, _states(a, b + jnp.where(first, a * start, 0)))


def _forward(a: Array, b: Array, start: Array, complex_state: bool) -> tuple[Array, Any]:
    s = affine_scan(a, b, start, complex_state)
    return s, (a, start, s)


def _backward(complex_state: bool, residuals: Any, g: Array) -> tuple[Array, Array, Array]:
    a, start, s, g = (_numbers(complex_state, value) for value in (*residuals, g))
    factors = a.conj() if complex_state else a
    # d_t = g_t + conj(a_{t+1}) d_{t+1}; behind the last step any factor will do
    d = _states(jnp.roll(factors, -1, 0), g, reverse=True)
    before = jnp.concatenate([start[None], s[:-1]])
    da = d * (before.conj() if complex_state else before)
    if a.shape[1] != d.shape[1]:
        da = da.sum(1, keepdims=True)
    da, db, d_start = (_parts(complex_state, value) for value in (da, d, factors[0] * d[0]))
    return da, db, d_start


affine_scan.defvjp(_forward, _backward)


def _states(a: Array, b: Array, *, reverse: bool = False) -> Array:
    """From a state of zeros."""
    return lax.associative_scan(_compose, (a, b), reverse=reverse)[1]


def _compose(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    (a, b), (c, d) = first, second
    return c * a, c * b + d


def _numbers(complex_state: bool, x: Array) -> Array:
    return lax.complex(x[..., 0], x[..., 1]) if complex_state else x


def _parts(complex_state: bool, x: Array) -> Array:
    return jnp.stack([x.real, x.imag], -1) if complex_state else x
