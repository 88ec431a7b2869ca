"""How gradients flow back through a network: how large they are, how far they reach, and what stops them.

The gate has proved that every backend computes the same function, so this is a property of the network and
not of a backend. It is computed once, with the reference: the cell's own ``step`` over NumPy in float64,
differentiated by autograd. Pascanu, Mikolov & Bengio (2013) relate what is measured here: the gradient of a
state T steps back is bounded by the T-th power of the largest Jacobian between two states.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import grad
from autograd.tracer import getval

from rnnbench.cells.at_once import check_recurrent
from rnnbench.cells.decoding import NO_FLOW
from rnnbench.cells.elman import Elman
from rnnbench.cells.lstm import LSTM
from rnnbench.cells.network import (
    network_loss,
    network_outputs,
    part,
    stack_layers,
    state_shapes,
)
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.cells.placing import time_major
from rnnbench.cells.stepping import masked_step
from rnnbench.contracts import Batch, Cell, NetworkSpec, Parameters, RecurrentCell
from rnnbench.errors import Unsupported
from rnnbench.numpy_ops import NumpyOps
from rnnbench.records import Flow

SATURATED = 0.05
"""A sigmoid within this of 0 or 1 is saturated, a tanh within it of -1 or 1; so Karpathy et al. (2016) ask
of gates whether they are saturated, with 0.1."""

SAMPLES = 16
"""Jacobians whose spectral radius is taken, at steps and sequences drawn evenly over all valid ones."""

_SHIFT = "shifted."


@dataclass(frozen=True, slots=True, eq=False)
class _Visit:
    """What one layer and direction computed, as it runs: u and states {name: (T,B,...)}."""

    p: Arrays
    u: Arrays
    states: Mapping[str, np.ndarray]
    mask: np.ndarray
    counted: _Counting


def measure_flow(cell: Cell, spec: NetworkSpec, parameters: Parameters, batch: Batch) -> tuple[Flow, ...]:
    """Of one batch, for every layer and direction. What overflows is infinite or NaN.

    Raises ``Unsupported`` for a network with a decoder, and for one whose cell passes no state on.
    """
    recurrent = check_recurrent(cell, "gradient_flow")
    if spec.decoder is not None:
        raise Unsupported(NO_FLOW)
    data = time_major(spec, batch)
    values = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        gradients, visits = _watch(recurrent, spec, values, data)
        return tuple(
            _flow(recurrent, prefix, part(gradients, prefix), visit)
            for prefix, visit in zip(_prefixes(spec), visits, strict=True)
        )


def closed_form(cell: Cell, spec: NetworkSpec, init: str, gain: float, forget_bias: float) -> float | None:
    """The q of ‖∂L/∂s_{t-k}‖ = q^k ‖∂L/∂s_t‖ for initial parameters; None where there is no closed form.

    Linear recurrence with W_h = ρQ, Q orthogonal: every Jacobian is ρQ, and q = ρ = ``gain``. LSTM of which
    all but the forget bias b is zero: c_t = σ(b) c_{t-1}, and q = σ(b). Both where the last step alone is
    read, or the losses of earlier steps would add to the gradient.
    """
    if spec.readout != "last" or spec.layers > 1 or spec.window is not None or spec.decoder is not None:
        return None
    if isinstance(cell, Elman) and cell.activation == "linear" and init in ("orthogonal", "identity"):
        return gain
    if isinstance(cell, LSTM) and init == "zero":
        return 1.0 / (1.0 + math.exp(-forget_bias))
    return None


def step_jacobian(cell: RecurrentCell, p: Arrays, u: Arrays, state: Arrays) -> np.ndarray:
    """∂s_t/∂s_{t-1} (S,S) of one sequence, all states as one vector s in the order of their names.

    u {name: (...)} is what ``Cell.project`` gave for step t, ``state`` {name: (...)} what stands before it.
    """
    ops, names = NumpyOps(), sorted(state)
    sizes = [state[name].size for name in names]
    ends = np.cumsum(sizes)
    S = int(ends[-1])
    # sequences do not touch each other, so S copies of this one give all rows in one backward pass
    copies = {name: np.repeat(value[None], S, axis=0) for name, value in u.items()}
    rows = np.repeat(np.concatenate([state[name].reshape(-1) for name in names])[None], S, axis=0)

    def chosen(rows: Any) -> Any:
        before = {
            name: ops.reshape(rows[:, end - size : end], (S, *state[name].shape))
            for name, size, end in zip(names, sizes, ends, strict=True)
        }
        after, _ = cell.step(ops, p, copies, before)
        flat = ops.concat([ops.reshape(after[name], (S, -1)) for name in names], 1)
        return anp.sum(flat * np.eye(S))

    jacobian: np.ndarray = grad(chosen)(rows)
    return jacobian


def _prefixes(spec: NetworkSpec) -> list[str]:
    return [f"layers.{layer}.{direction}." for layer in range(spec.layers) for direction in spec.directions]


def _watch(
    cell: RecurrentCell, spec: NetworkSpec, values: Arrays, data: Batch
) -> tuple[dict[str, np.ndarray], list[_Visit]]:
    """∂L/∂s {"layers.0.forward.h": (T,B,H)}, and every layer and direction as it computes, in their order.

    Entry t is of the state that step t starts from: so much as of a zero that is added to it, what the loss
    owes to that state through all steps from t on.
    """
    ops, visits = NumpyOps(), list[_Visit]()
    # windows are the layer's own affair here, or it would meet its steps piece by piece
    whole = replace(spec, window=None)
    stack = partial(stack_layers, layer=partial(_unroll, visits, spec.window))
    steps, size = data.inputs.shape[:2]
    zeros = {name: np.zeros((steps, size, *shape)) for name, shape in state_shapes(cell, spec).items()}

    def loss_of(shifts: Mapping[str, Any]) -> Any:
        named = {
            f"{name.rpartition('.')[0]}.{_SHIFT}{name.rpartition('.')[2]}": it for name, it in shifts.items()
        }
        outputs, _ = network_outputs(
            ops,
            cell,
            whole,
            {**values, **named},
            data.inputs,
            data.lengths,
            data.state,
            stack=stack,
            training=True,
        )
        return network_loss(ops, spec, outputs, data.targets, data.lengths)

    gradients: dict[str, np.ndarray] = grad(loss_of)(zeros)
    return gradients, visits


def _unroll(
    visits: list[_Visit],
    window: int | None,
    ops: Ops,
    cell: RecurrentCell,
    p: Arrays,
    x: Array,
    mask: Array | None,
    state: Arrays,
) -> tuple[Array, dict[str, Array]]:
    """As ``unroll``, with something added to the state before each step; what it sees joins ``visits``."""
    own = {name: value for name, value in p.items() if not name.startswith(_SHIFT)}
    valid = np.ones(x.shape[:2], bool) if mask is None else mask[:, :, 0]
    counting = _Counting(valid)
    shifts, inputs = part(p, _SHIFT), cell.project(counting, own, x)
    befores, ys, steps = [], [], x.shape[0]
    for t in range(steps):
        if window is not None and t and (steps - t) % window == 0:
            state = {name: ops.stop_gradient(value) for name, value in state.items()}
        state = {name: value + shifts[name][t] for name, value in state.items()}
        befores.append({name: getval(value) for name, value in state.items()})
        counting.valid = valid[t]
        u = {name: value[t] for name, value in inputs.items()}
        state, y = masked_step(counting, cell, own, u if mask is None else {**u, "mask": mask[t]}, state)
        ys.append(y)
    states = {name: np.stack([before[name] for before in befores]) for name in befores[0]}
    visits.append(
        _Visit(own, {name: getval(value) for name, value in inputs.items()}, states, valid, counting)
    )
    return ops.stack(ys, 0), dict(state)


class _Counting(NumpyOps):
    """Counts outputs of σ and tanh, and of these the saturated ones; ``valid`` are those that count."""

    def __init__(self, valid: np.ndarray) -> None:
        self.valid = valid
        self.all = {"sigmoid": 0, "tanh": 0}
        self.saturated = {"sigmoid": 0, "tanh": 0}

    def sigmoid(self, x: Array) -> Array:
        """See Ops."""
        y = super().sigmoid(x)
        self._count("sigmoid", np.minimum(getval(y), 1.0 - getval(y)))
        return y

    def tanh(self, x: Array) -> Array:
        """See Ops."""
        y = super().tanh(x)
        self._count("tanh", 1.0 - np.abs(getval(y)))
        return y

    def share(self, name: str) -> float | None:
        """Saturated ones of all; None where there was none at all."""
        return self.saturated[name] / self.all[name] if self.all[name] else None

    def _count(self, name: str, distance: np.ndarray) -> None:
        if distance.shape[: self.valid.ndim] == self.valid.shape:
            distance = distance[self.valid]
        self.all[name] += distance.size
        self.saturated[name] += int((distance < SATURATED).sum())


def _flow(cell: RecurrentCell, prefix: str, gradients: Mapping[str, np.ndarray], visit: _Visit) -> Flow:
    radii = [_radius(step_jacobian(cell, visit.p, *at)) for at in _sampled(visit)]
    return Flow(
        layer=prefix.removesuffix("."),
        gradient=_norms(list(gradients.values()), visit.mask),
        hidden=_norms([gradients["h"]], visit.mask) if "h" in gradients else (),
        radius_mean=float(np.mean(radii)),
        radius_max=float(np.max(radii)),
        sigmoids=visit.counted.share("sigmoid"),
        tanhs=visit.counted.share("tanh"),
    )


def _norms(gradients: list[np.ndarray], mask: np.ndarray) -> tuple[float, ...]:
    """Mean over sequences of ‖∂L/∂s‖, k = 0, 1, ... steps back from each sequence's last valid step.

    gradients (T,B,...), mask (T,B). Only sequences that are so long count; T-1 entries at most.
    """
    squares = sum((g.reshape(*mask.shape, -1) ** 2).sum(-1) for g in gradients)
    norms = np.sqrt(squares)
    # not the state that a sequence starts from: it is zero, where a norm has a slope like no other
    back = [norms[mask[:, b], b][:0:-1] for b in range(mask.shape[1])]
    longest = max(map(len, back))
    return tuple(float(np.mean([each[k] for each in back if k < len(each)])) for k in range(longest))


def _sampled(visit: _Visit) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    later = visit.mask.copy()
    later[visit.mask.argmax(0), np.arange(later.shape[1])] = False
    steps, sequences = np.nonzero(later if later.any() else visit.mask)
    count = min(SAMPLES, len(steps))
    for index in np.random.default_rng(0).choice(len(steps), count, replace=False):
        t, b = steps[index], sequences[index]
        # what is the same for all sequences, a cell may have once
        u = {name: value[t, b if value.shape[1] > 1 else 0] for name, value in visit.u.items()}
        yield u, {name: value[t, b] for name, value in visit.states.items()}


def _radius(jacobian: np.ndarray) -> float:
    if not np.isfinite(jacobian).all():
        return float("nan")
    return float(np.abs(np.linalg.eigvals(jacobian)).max())
