"""A recurrent layer as ``lax.scan`` with a custom VJP.

Automatic differentiation of a scan adds an outer product into ∂L/∂W_h at every step. Here the
backward scan only carries ∂L/∂state and keeps the gates' derivatives; the gradients of W_x, W_h
and b are products over all steps, outside of the loop.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Cell
from rnnbench.errors import Unsupported
from rnnbench_jax.recurrences import Gates, Recurrence, State, recurrence_of


def native_layer(
    ops: Ops, cell: Cell, p: Arrays, x: Array, mask: Array | None, state: Arrays
) -> tuple[Array, dict[str, Array]]:
    """What ``rnnbench.cells.network.unroll`` computes. Raises Unsupported for a foreign cell."""
    recurrence = recurrence_of(cell)
    if recurrence is None:
        raise Unsupported(f"jax has no native form of cell {cell.name}: it has no hand-derived gradient")
    projected = {gate: x @ p["W_x"][:, k] for k, gate in enumerate(recurrence.gates)}
    inner = {name: value for name, value in p.items() if name != "W_x"}
    return recur(recurrence, inner, projected, mask, dict(state))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def recur(
    recurrence: Recurrence, p: dict[str, Array], projected: Gates, mask: Array | None, state: State
) -> tuple[Array, State]:
    """All steps of one layer in one direction.

    p without W_x; projected[gate] = x W_x (T,B,H) without the bias; mask (T,B,1) or None: where it
    is False the state stays and y is 0. Returns y (T,B,H) and the last state.
    """
    last, h = _scan(recurrence, p, projected, mask, state, keep=False)
    return _masked(mask, h), last


def _scan(
    recurrence: Recurrence,
    p: dict[str, Array],
    projected: Gates,
    mask: Array | None,
    state: State,
    keep: bool,
) -> tuple[State, Any]:
    W = _kernels(recurrence, p)
    b = {gate: p["b"][k] for k, gate in enumerate(recurrence.gates)}

    def body(state: State, inputs: tuple[Gates, Array | None]) -> tuple[State, Any]:
        x, valid = inputs
        # adding b here and not to all of x W_x spares a pass over (T,B,GH)
        u = {gate: x[gate] + b[gate] for gate in recurrence.gates}
        new, saved = recurrence.forward(p, W, u, state)
        if valid is not None:
            new = {name: jnp.where(valid, new[name], state[name]) for name in state}
        return new, ((new, saved) if keep else new["h"])

    last, kept = lax.scan(body, state, (projected, mask))
    return last, kept


def _forward(
    recurrence: Recurrence, p: dict[str, Array], projected: Gates, mask: Array | None, state: State
) -> tuple[tuple[Array, State], Any]:
    last, (states, saved) = _scan(recurrence, p, projected, mask, state, keep=True)
    return (_masked(mask, states["h"]), last), (p, mask, state, states, saved)


def _backward(
    recurrence: Recurrence, residuals: Any, cotangents: tuple[Array, State]
) -> tuple[dict[str, Array], Gates, None, State]:
    p, mask, start, states, saved = residuals
    dy, d_last = cotangents
    before = {name: jnp.concatenate([start[name][None], states[name][:-1]]) for name in start}
    WT = recurrence.transposed(_kernels(recurrence, p))

    def body(d: State, inputs: tuple[Any, ...]) -> tuple[State, Gates]:
        dy, valid, saved, before, after = inputs
        d = {**d, "h": d["h"] + dy}
        if valid is None:
            du, d_before = recurrence.backward(WT, saved, before, after, d)
            return d_before, du
        taken = {name: jnp.where(valid, value, 0.0) for name, value in d.items()}
        du, d_before = recurrence.backward(WT, saved, before, after, taken)
        return {name: jnp.where(valid, d_before[name], d[name]) for name in d}, du

    d_start, du = lax.scan(body, d_last, (_masked(mask, dy), mask, saved, before, states), reverse=True)
    return recurrence.gradients(saved, before["h"], du), du, None, d_start


recur.defvjp(_forward, _backward)


def _kernels(recurrence: Recurrence, p: Arrays) -> Gates:
    return {gate: p["W_h"][:, k] for k, gate in enumerate(recurrence.gates)}


def _masked(mask: Array | None, x: Array) -> Array:
    return x if mask is None else jnp.where(mask, x, 0.0)
