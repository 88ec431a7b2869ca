"""How parameters start and how they are updated: defined once, obeyed by all backends.

The optimisers are written over ``ops``. A backend may use its framework's own where a test
proves it equal (torch's SGD and Adam are; Keras's Adam, whose epsilon is not bias-corrected, is not).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from rnnbench.cells.network import decoder_sizes, parameter_shapes, sizes_of
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Cell, NetworkSpec, StartingCell, TrainingSpec
from rnnbench.errors import RequestError, nearest

ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8
"""Kingma & Ba 2015; epsilon stands outside the bias-corrected root."""

Init = Literal["uniform", "glorot", "orthogonal", "identity", "zero"]
INITS: tuple[Init, ...] = ("uniform", "glorot", "orthogonal", "identity", "zero")


def clip_gradients(ops: Ops, gradients: Arrays, bound: float) -> dict[str, Array]:
    """g * min(1, bound / ‖g‖), ‖g‖ over all parameters (Pascanu et al. 2013): (3,4), 1 -> (.6,.8)."""
    norm = global_norm(ops, gradients)
    scale = ops.minimum(bound / ops.where(norm > 0, norm, 1.0), 1.0)
    return {name: g * scale for name, g in gradients.items()}


def global_norm(ops: Ops, gradients: Arrays) -> Array:
    """Euclidean norm of all gradients as one vector."""
    total: Array = 0.0
    for g in gradients.values():
        total = total + ops.sum(g * g)
    return ops.sqrt(total)


def start_slots(ops: Ops, training: TrainingSpec, parameters: Arrays) -> dict[str, dict[str, Array]]:
    """What the optimiser remembers: nothing for SGD; two moments per parameter for Adam."""
    if training.optimizer == "sgd":
        return {}
    return {
        moment: {name: ops.zeros(tuple(p.shape), p) for name, p in parameters.items()}
        for moment in ("first", "second")
    }


def update(
    ops: Ops,
    training: TrainingSpec,
    parameters: Arrays,
    gradients: Arrays,
    slots: dict[str, dict[str, Array]],
    step: Array,
) -> tuple[dict[str, Array], dict[str, dict[str, Array]]]:
    """One update: (parameters, slots) after it. ``step`` counts from 1, as a float of the parameters' dtype.

    SGD: p - lr g. Adam: m = β1 m + (1-β1) g; v = β2 v + (1-β2) g²;
    p - lr m̂ / (√v̂ + ε) with m̂ = m / (1-β1^t), v̂ = v / (1-β2^t).
    """
    if training.clip is not None:
        gradients = clip_gradients(ops, gradients, training.clip)
    if training.optimizer == "sgd":
        return {name: p - training.lr * gradients[name] for name, p in parameters.items()}, {}
    # β^t as exp(t ln β): a power with a traced exponent is spelled differently by each framework
    correct1 = 1.0 - ops.exp(step * math.log(ADAM_BETA1))
    correct2 = 1.0 - ops.exp(step * math.log(ADAM_BETA2))
    first, second, updated = {}, {}, {}
    for name, p in parameters.items():
        g = gradients[name]
        m = ADAM_BETA1 * slots["first"][name] + (1 - ADAM_BETA1) * g
        v = ADAM_BETA2 * slots["second"][name] + (1 - ADAM_BETA2) * g * g
        updated[name] = p - training.lr * (m / correct1) / (ops.sqrt(v / correct2) + ADAM_EPSILON)
        first[name], second[name] = m, v
    return updated, {"first": first, "second": second}


def initialise(
    cell: Cell, spec: NetworkSpec, init: str, forget_bias: float, seed: int, gain: float = 1.0
) -> dict[str, np.ndarray]:
    """Canonical parameters (float64) at the start of training, the same for every backend.

    ``uniform``: all of a layer from U(±1/√H), biases too (torch's rule). Otherwise input kernels
    and the head are Glorot-uniform per gate (Glorot & Bengio 2010), biases zero, and recurrent
    kernels per gate: ``glorot`` the same; ``orthogonal`` a random orthogonal matrix (Saxe et
    al. 2014); ``identity`` the identity (Le et al. 2015). With ``zero`` all of a layer is zero, input kernels
    too, and the head Glorot-uniform: for closed forms. ``gain`` multiplies recurrent kernels (W_h), so of
    orthogonal ones it is the spectral radius. ``forget_bias`` is added to the bias of
    the gate named "f" (Jozefowicz et al. 2015). Embeddings are N(0, 1). Norms between layers start with
    gain 1 and shift 0, running statistics with mean 0 and variance 1. What a ``StartingCell`` starts
    otherwise, with a stream of random numbers for each layer and direction, starts so whatever ``init``.

    Raises RequestError for an unknown ``init``.
    """
    if init not in INITS:
        raise RequestError(f'no initialiser "{init}". {nearest(init, INITS)}')
    parameters = {}
    for number, (name, shape) in enumerate(parameter_shapes(cell, spec).items()):
        rng = np.random.default_rng([seed, number])
        leaf = name.rsplit(".", 1)[-1]
        value = _start_value(leaf, name, shape, init, spec.hidden, rng)
        if leaf == "W_h":
            value *= gain
        if name.endswith(".b") and name.startswith(("layers.", "decoder.layers.")) and "f" in cell.gates:
            value[cell.gates.index("f")] += forget_bias
        parameters[name] = value
    if isinstance(cell, StartingCell):
        for layer in range(spec.layers):
            for number, direction in enumerate(spec.directions):
                started = cell.start(
                    sizes_of(cell, spec, layer), np.random.default_rng([seed, layer, number, 1])
                )
                parameters.update({f"layers.{layer}.{direction}.{name}": v for name, v in started.items()})
        for layer, sizes in enumerate(decoder_sizes(cell, spec)):
            started = cell.start(sizes, np.random.default_rng([seed, layer, len(spec.directions), 1]))
            parameters.update({f"decoder.layers.{layer}.{name}": v for name, v in started.items()})
    return parameters


def _start_value(
    leaf: str, name: str, shape: tuple[int, ...], init: str, hidden: int, rng: np.random.Generator
) -> np.ndarray:
    if leaf == "E":
        return rng.standard_normal(shape)
    if ".norm." in name:
        return np.ones(shape) if leaf in ("gain", "variance") else np.zeros(shape)
    if init == "uniform":
        fan = shape[0] if name == "head.W" else hidden
        return rng.uniform(-1, 1, shape) / math.sqrt(fan)
    if len(shape) < 2 or leaf.startswith("b") or (init == "zero" and name != "head.W"):
        return np.zeros(shape)
    kernel = _recurrent_kernel(init) if leaf == "W_h" else _glorot
    if len(shape) == 2:
        return kernel(rng, shape[0], shape[1])
    return np.stack([kernel(rng, shape[0], shape[2]) for _ in range(shape[1])], axis=1)


def _recurrent_kernel(init: str) -> Callable[[np.random.Generator, int, int], np.ndarray]:
    return {"glorot": _glorot, "orthogonal": _orthogonal, "identity": _identity}[init]


def _glorot(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return rng.uniform(-1, 1, (rows, columns)) * math.sqrt(6 / (rows + columns))


def _orthogonal(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    # signs of R's diagonal make the distribution uniform (Mezzadri 2007)
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))
    return q if rows >= columns else q.T


def _identity(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return np.eye(rows, columns)
