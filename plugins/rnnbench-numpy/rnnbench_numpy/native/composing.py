"""``rnnbench.cells.composing.compose`` over rows (N,F), and its derivative by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnnbench.cells.normalising import LAYER_NORM_EPSILON
from rnnbench.contracts import NetworkSpec


class Composition:
    """What stands between the layers of one network; of each norm it keeps what ``backward`` needs."""

    def __init__(self, spec: NetworkSpec) -> None:
        self._spec = spec
        self._normed: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def forward(
        self,
        parameters: Mapping[str, np.ndarray],
        layer: int,
        y: np.ndarray,
        x: np.ndarray,
        dropout: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        """y (N,F), the output of ``layer``, and x (N,F), its input -> what is read above it (N,F)."""
        if self._spec.norm == "layer":
            normed = y - y.mean(axis=1, keepdims=True)
            variance = np.mean(normed * normed, axis=1, keepdims=True)
            inverse = 1.0 / np.sqrt(variance + LAYER_NORM_EPSILON)
            normed *= inverse
            self._normed[layer] = normed, inverse
            y = normed * parameters[f"layers.{layer}.norm.gain"] + parameters[f"layers.{layer}.norm.shift"]
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
        if self._spec.norm == "layer":
            normed, inverse = self._normed[layer]
            gradients[f"layers.{layer}.norm.gain"] = (dy * normed).sum(axis=0)
            gradients[f"layers.{layer}.norm.shift"] = dy.sum(axis=0)
            dn = dy * parameters[f"layers.{layer}.norm.gain"]
            along = np.mean(dn * normed, axis=1, keepdims=True)
            dy = (dn - dn.mean(axis=1, keepdims=True) - normed * along) * inverse
        return dy, dx

    def _passes(self, layer: int) -> bool:
        return self._spec.residual and layer > 0
