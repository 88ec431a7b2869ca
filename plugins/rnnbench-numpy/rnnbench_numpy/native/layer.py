"""One layer in one direction: the products over all steps around a kernel's loops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnbench_numpy.native.kernel import Kernel
from rnnbench_numpy.native.rows import Walk
from rnnbench_numpy.native.space import Space
from rnnbench_numpy.native.weights import Weights, columns, gate_signs


class Layer:
    """Holds weights in the kernel's layout and what ``forward`` keeps for ``backward``."""

    def __init__(self, kernel: Kernel, gates: tuple[str, ...], dtype: Any) -> None:
        """``gates`` names the gate axis of the canonical parameters."""
        self._kernel = kernel
        self._gates = gates
        self._space = Space(dtype)

    def load(self, parameters: Mapping[str, np.ndarray]) -> None:
        """Take over canonical parameters of this layer: W_x (I,G,H), W_h (H,G,H), b (G,H), others."""
        kernel, gates = self._kernel, self._gates
        W_x, W_h, b = parameters["W_x"], parameters["W_h"], parameters["b"]

        def signs(wanted: tuple[str, ...]) -> np.ndarray:
            return gate_signs(wanted, kernel.sigmoid_gates, W_h.shape[0], W_h.dtype)

        x = columns(W_x, gates, kernel.x_gates)
        h = [columns(W_h, gates, group) for group in kernel.h_groups]
        self._weights = Weights(
            x=x * signs(kernel.x_gates),
            b=columns(b, gates, kernel.x_gates) * signs(kernel.x_gates),
            h=tuple(W * signs(group) for W, group in zip(h, kernel.h_groups, strict=True)),
            x_back=np.ascontiguousarray(x.T),
            h_back=tuple(np.ascontiguousarray(W.T) for W in h),
            others={name: parameters[name] for name in kernel.others},
        )

    def forward(
        self, x: np.ndarray, start: Mapping[str, np.ndarray], walk: Walk, y: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Fill y (N,H) from x (N,I) and initial states (B,H); returns every state as (N,H).

        The states returned are this layer's own and change with the next call.
        """
        u = self._space.take("u", (len(x), self._weights.x.shape[1]))
        np.dot(x, self._weights.x, out=u)
        u += self._weights.b
        return self._kernel.forward(self._weights, u, start, walk, self._space, y)

    def backward(
        self, x: np.ndarray, dy: np.ndarray, walk: Walk, dx: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Canonical gradients from dy (N,H), after ``forward`` of the same x; adds to dx (N,I) if given."""
        kernel, gates = self._kernel, self._gates
        found = kernel.backward(self._weights, dy, walk, self._space)
        if dx is not None:
            dx += found.inputs @ self._weights.x_back
        H = dy.shape[1]
        W_h = np.empty((H, len(gates), H), dy.dtype)
        for group, (left, right) in zip(kernel.h_groups, found.products, strict=True):
            product = (left.T @ right).reshape(H, len(group), H)
            W_h[:, [gates.index(name) for name in group]] = product
        order = [kernel.x_gates.index(name) for name in gates]
        ones = np.ones(len(x), dy.dtype)
        return {
            "W_x": (x.T @ found.inputs).reshape(-1, len(gates), H)[:, order],
            "W_h": W_h,
            # a product with ones is BLAS's sum over rows, faster than np.sum over the first axis
            "b": (ones @ found.inputs).reshape(len(gates), H)[order],
            **found.others,
        }
