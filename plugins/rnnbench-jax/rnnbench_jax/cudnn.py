"""``jax.experimental.rnn``: cuDNN's LSTM, which knows float32 on an NVIDIA GPU and full lengths only."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jax.experimental import rnn

from rnnbench.cells.lstm import LSTM
from rnnbench.cells.network import part, sizes_of, state_shapes
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Cell, NetworkSpec

CUDNN_GATES = ("i", "f", "g", "o")


def cudnn_takes(cell: Cell, spec: NetworkSpec, platform: str, dtype: str) -> bool:
    """Whether all layers run as one call of cuDNN; it cannot sum directions between two layers."""
    return (
        isinstance(cell, LSTM)
        and platform == "cuda"
        and dtype == "float32"
        and not spec.lengths
        and spec.window is None
        and (spec.bidirectional != "sum" or spec.layers == 1)
    )


def cudnn_stack(
    ops: Ops,
    cell: Cell,
    spec: NetworkSpec,
    parameters: Arrays,
    x: Array,
    mask: Array | None,
    state: Arrays | None,
) -> tuple[list[Array], dict[str, Array]]:
    """What ``rnnbench.cells.network.stack_layers`` computes, x (T,B,I), mask None."""
    T, B, _ = x.shape
    H = spec.hidden
    prefixes = [
        f"layers.{index}.{direction}." for index in range(spec.layers) for direction in spec.directions
    ]
    if state is None:
        state = {name: jnp.zeros((B, *shape), x.dtype) for name, shape in state_shapes(cell, spec).items()}
    h, c = (jnp.stack([state[prefix + name] for prefix in prefixes]) for name in ("h", "c"))
    y, h, c = rnn.lstm(
        jnp.swapaxes(x, 0, 1),
        h,
        c,
        packed_weights(cell, [part(parameters, prefix) for prefix in prefixes]),
        jnp.full((B,), T, jnp.int32),
        sizes_of(cell, spec, 0).input,
        H,
        spec.layers,
        0.0,
        len(spec.directions) == 2,
        lax.Precision.HIGHEST,
    )
    y = jnp.swapaxes(y, 0, 1)
    ys = [y[..., k * H : (k + 1) * H] for k in range(len(spec.directions))]
    final = {}
    for k, prefix in enumerate(prefixes):
        final[prefix + "h"], final[prefix + "c"] = h[k], c[k]
    return ys, final


def packed_weights(cell: Cell, layers: Sequence[Arrays]) -> Array:
    """cuDNN's flat vector: W_ih (4H,I) and W_hh (4H,H) of every layer, then b_ih and b_hh = 0 of each."""
    order = jnp.asarray([cell.gates.index(gate) for gate in CUDNN_GATES])
    kernels, biases = [], []
    for p in layers:
        for name in ("W_x", "W_h"):
            kernels.append(jnp.moveaxis(p[name][:, order], 0, 2).reshape(-1))
        b = p["b"][order].reshape(-1)
        biases += [b, jnp.zeros_like(b)]
    return jnp.concatenate(kernels + biases)
