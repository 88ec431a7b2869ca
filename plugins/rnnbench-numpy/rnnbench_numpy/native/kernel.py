"""What a cell must bring to be run by hand: one loop forward in time, and one backward.

Symbols of all kernels: n sequences at a step, N rows in all, H hidden units, G gates. ``u`` (N,G*H)
is what the inputs give to the gates, bias included, for all steps at once. Blocks of gates (n,H)
stand in an order that puts neighbours together which one call can treat together.
Preactivations of sigmoid gates carry the opposite sign, because their weights do:
σ(z) = 1 / (1 + exp(-z)), and NumPy's exp costs half of its tanh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from rnnbench_numpy.native.rows import Step, Walk
from rnnbench_numpy.native.space import Space
from rnnbench_numpy.native.weights import Weights


@dataclass(frozen=True, slots=True, eq=False)
class Derivatives:
    """Gradients from which a layer's parameters' follow as a few large products.

    ``inputs`` (N,G*H): of the gates in the order ``x_gates``. ``products``: for every group of
    ``h_groups``, what was multiplied (N,H) and the gradient of the product (N,g*H).
    ``others``: of parameters that are neither W_x, W_h nor b.
    """

    inputs: np.ndarray
    products: tuple[tuple[np.ndarray, np.ndarray], ...]
    others: Mapping[str, np.ndarray] = field(default_factory=dict)


class Kernel(Protocol):
    """The loops of one cell.

    ``x_gates`` is the order of the gates in ``u``; ``h_groups`` the gates of each product with W_h;
    ``sigmoid_gates`` those whose preactivation is negated; ``others`` parameters passed on as they are.
    """

    @property
    def x_gates(self) -> tuple[str, ...]: ...  # noqa: D102 - see the class
    @property
    def h_groups(self) -> tuple[tuple[str, ...], ...]: ...  # noqa: D102
    @property
    def sigmoid_gates(self) -> frozenset[str]: ...  # noqa: D102
    @property
    def others(self) -> tuple[str, ...]: ...  # noqa: D102

    def forward(
        self,
        w: Weights,
        u: np.ndarray,
        start: Mapping[str, np.ndarray],
        walk: Walk,
        space: Space,
        y: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Fill y (N,H) from u (N,G*H) and the initial states (B,H); returns every state as (N,H)."""
        ...

    def backward(self, w: Weights, dy: np.ndarray, walk: Walk, space: Space) -> Derivatives:
        """Gradients from dy (N,H), after ``forward`` with the same walk and space."""
        ...


def blocks(values: np.ndarray, count: int) -> np.ndarray:
    """(n,count*H) seen as ``count`` blocks (count,n,H)."""
    n, width = values.shape
    return values.reshape(n, count, width // count).transpose(1, 0, 2)


def carry(into: np.ndarray, states: np.ndarray, start: np.ndarray, step: Step) -> None:
    """The state before ``step``: what was carried on, and initial states of sequences that enter."""
    carried = step.carried
    into[:carried] = states[step.before : step.before + carried]
    if carried < len(into):
        into[carried:] = start[carried : len(into)]


def sigmoid_of_negated(z: np.ndarray) -> None:
    """z := 1 / (1 + exp(z)), in place; exp may overflow to infinity, of which σ is 0."""
    np.exp(z, out=z)
    z += 1.0
    np.reciprocal(z, out=z)
