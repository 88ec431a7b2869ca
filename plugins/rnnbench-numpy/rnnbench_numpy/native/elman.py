"""Elman's network by hand: h' = φ(x W_x + h W_h + b)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from rnnbench.cells.activations import LEAKY_SLOPE
from rnnbench_numpy.native.kernel import Derivatives, carry, sigmoid_of_negated
from rnnbench_numpy.native.rows import Walk
from rnnbench_numpy.native.space import Space
from rnnbench_numpy.native.weights import Weights


def _tanh(z: np.ndarray) -> None:
    np.tanh(z, out=z)


def _tanh_slope(h: np.ndarray, out: np.ndarray) -> None:
    np.multiply(h, h, out=out)
    np.subtract(1.0, out, out=out)


def _relu(z: np.ndarray) -> None:
    np.maximum(z, 0.0, out=z)


def _relu_slope(h: np.ndarray, out: np.ndarray) -> None:
    np.greater(h, 0.0, out=out)


def _sigmoid_slope(h: np.ndarray, out: np.ndarray) -> None:
    np.subtract(1.0, h, out=out)
    out *= h


def _leaky_relu(z: np.ndarray) -> None:
    # the larger of z and 0.01 z is z above zero and 0.01 z below
    np.maximum(z, LEAKY_SLOPE * z, out=z)


def _leaky_relu_slope(h: np.ndarray, out: np.ndarray) -> None:
    np.greater(h, 0.0, out=out)
    out *= 1.0 - LEAKY_SLOPE
    out += LEAKY_SLOPE


def _hard_sigmoid(z: np.ndarray) -> None:
    z += 3.0
    np.clip(z, 0.0, 6.0, out=z)
    z /= 6.0


def _hard_sigmoid_slope(h: np.ndarray, out: np.ndarray) -> None:
    np.greater(h, 0.0, out=out)
    out *= h < 1.0
    out /= 6.0


ACTIVATIONS: dict[str, tuple[Callable[[np.ndarray], None], Callable[[np.ndarray, np.ndarray], None]]] = {
    "tanh": (_tanh, _tanh_slope),
    "relu": (_relu, _relu_slope),
    "sigmoid": (sigmoid_of_negated, _sigmoid_slope),
    "leaky_relu": (_leaky_relu, _leaky_relu_slope),
    "hard_sigmoid": (_hard_sigmoid, _hard_sigmoid_slope),
}
"""In place z -> φ(z), and φ' from φ alone."""


@dataclass(frozen=True, slots=True)
class ElmanKernel:
    """Of every step only h is kept."""

    activation: str
    x_gates: tuple[str, ...] = ("h",)
    h_groups: tuple[tuple[str, ...], ...] = (("h",),)
    others: tuple[str, ...] = ()

    @property
    def sigmoid_gates(self) -> frozenset[str]:
        """The one gate, where φ is the sigmoid."""
        return frozenset("h" if self.activation == "sigmoid" else "")

    def forward(
        self,
        w: Weights,
        u: np.ndarray,
        start: Mapping[str, np.ndarray],
        walk: Walk,
        space: Space,
        y: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """See Kernel."""
        activate, _ = ACTIVATIONS[self.activation]
        (N, H), B = y.shape, len(start["h"])
        h_old, h_new = space.take("h_old", (N, H)), space.take("h_new", (N, H))
        product = space.take("product", (B, H))
        for step in walk:
            rows = slice(step.start, step.stop)
            h, z, new = h_old[rows], product[: step.stop - step.start], h_new[rows]
            carry(h, h_new, start["h"], step)
            np.dot(h, w.h[0], out=z)
            np.add(z, u[rows], out=new)
            activate(new)
        y[...] = h_new
        return {"h": h_new}

    def backward(self, w: Weights, dy: np.ndarray, walk: Walk, space: Space) -> Derivatives:
        """dz = dh φ'(z);  dh = dz W_hᵀ + dy of the step before."""
        _, slope_of = ACTIVATIONS[self.activation]
        (N, H), B = dy.shape, max(step.stop - step.start for step in walk)
        h_old, h_new = space.take("h_old", (N, H)), space.take("h_new", (N, H))
        dz = space.take("dz", (N, H))
        slope_of(h_new, dz)
        dh = np.zeros((B, H), dy.dtype)
        for step in reversed(walk):
            rows = slice(step.start, step.stop)
            dh_n, out = dh[: step.stop - step.start], dz[rows]
            dh_n += dy[rows]
            out *= dh_n
            np.dot(out, w.h_back[0], out=dh_n)
        return Derivatives(dz, ((h_old, dz),))
