"""``rnnbench.cells.composing.compose`` over rows (N,F), and its derivative by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnnbench.cells.normalising import (
    BATCH_NORM_EPSILON,
    BATCH_NORM_MOMENTUM,
    LAYER_NORM_EPSILON,
    batch_norm_by,
)
from rnnbench.contracts import NetworkSpec
from rnnbench.numpy_ops import NumpyOps

OPS = NumpyOps()


class Composition:
    """What stands between the layers of one network; of each norm it keeps what ``backward`` needs.

    ``running``: by name, the running statistics after the last pass in training.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        self._spec = spec
        self.running: dict[str, np.ndarray] = {}
        self._normed: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def forward(
        self,
        parameters: Mapping[str, np.ndarray],
        layer: int,
        y: np.ndarray,
        x: np.ndarray,
        dropout: Mapping[str, np.ndarray],
        *,
        training: bool,
    ) -> np.ndarray:
        """y (N,F), the output of ``layer``, and x (N,F), its input -> what is read above it (N,F)."""
        if self._spec.norm != "none":
            y = self._normalise(parameters, layer, y, training)
        mask = dropout.get(f"layers.{layer + 1}")
        if mask is not None:
            y = y * mask
        return x + y if self._passes(layer) else y

    def backward(
        self,
        parameters: Mapping[str, np.ndarray],
        layer: int,
        d: np.ndarray,
        dropout: Mapping[str, np.ndarray],
        gradients: dict[str, np.ndarray],
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """∂L/∂y and, of a residual, ∂L/∂x, an array of its own; those of the norm go into ``gradients``."""
        dx = d.copy() if self._passes(layer) else None
        mask = dropout.get(f"layers.{layer + 1}")
        dy = d if mask is None else d * mask
        if self._spec.norm != "none":
            axis = self._axis
            normed, inverse = self._normed[layer]
            gradients[f"layers.{layer}.norm.gain"] = (dy * normed).sum(axis=0)
            gradients[f"layers.{layer}.norm.shift"] = dy.sum(axis=0)
            dn = dy * parameters[f"layers.{layer}.norm.gain"]
            along = np.mean(dn * normed, axis=axis, keepdims=True)
            dy = (dn - dn.mean(axis=axis, keepdims=True) - normed * along) * inverse
        return dy, dx

    @property
    def _axis(self) -> int:
        """Along which statistics are taken: a row's features, or a feature's rows."""
        return 1 if self._spec.norm == "layer" else 0

    def _normalise(
        self, parameters: Mapping[str, np.ndarray], layer: int, y: np.ndarray, training: bool
    ) -> np.ndarray:
        prefix, axis = f"layers.{layer}.norm.", self._axis
        gain, shift = parameters[prefix + "gain"], parameters[prefix + "shift"]
        if axis == 0 and not training:
            running = (parameters[prefix + name] for name in ("mean", "variance"))
            given: np.ndarray = batch_norm_by(OPS, y, gain, shift, *running)
            return given
        mean = y.mean(axis=axis, keepdims=True)
        normed = y - mean
        variance = np.mean(normed * normed, axis=axis, keepdims=True)
        epsilon = LAYER_NORM_EPSILON if axis == 1 else BATCH_NORM_EPSILON
        inverse = 1.0 / np.sqrt(variance + epsilon)
        normed *= inverse
        self._normed[layer] = normed, inverse
        if axis == 0:
            for name, found in (("mean", mean[0]), ("variance", variance[0])):
                kept = BATCH_NORM_MOMENTUM * parameters[prefix + name]
                self.running[prefix + name] = kept + (1.0 - BATCH_NORM_MOMENTUM) * found
        return normed * gain + shift

    def _passes(self, layer: int) -> bool:
        return self._spec.residual and layer > 0
