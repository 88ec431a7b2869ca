"""Ridge regression for the readout of a network that else stays as it is: how echo state networks learn.

The features are what a network says whose head is the identity, so that every backend has them; the
regression is float64 on the host, from sums, so that any number of batches fits into memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from rnnbench.contracts import Batch, Network, NetworkSpec, Parameters
from rnnbench.errors import Unsupported

Make = Callable[[NetworkSpec, Parameters], Network]


class RidgeSums:
    """Means and co-moments of features x (N,F) and targets y (N,O), of all samples so far.

    Updated by the pairwise formula of Chan, Golub and LeVeque 1983, in which nothing cancels.
    """

    def __init__(self, features: int, outputs: int) -> None:
        self.count = 0
        self._x, self._y = np.zeros(features), np.zeros(outputs)
        self._xx, self._xy = np.zeros((features, features)), np.zeros((features, outputs))

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Further samples."""
        if not len(x):
            return
        x_mean, y_mean = x.mean(0), y.mean(0)
        total = self.count + len(x)
        dx, dy, weight = x_mean - self._x, y_mean - self._y, self.count * len(x) / total
        self._xx += (x - x_mean).T @ (x - x_mean) + weight * np.outer(dx, dx)
        self._xy += (x - x_mean).T @ (y - y_mean) + weight * np.outer(dx, dy)
        self._x += dx * len(x) / total
        self._y += dy * len(x) / total
        self.count = total

    def solve(self, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        """W (F,O), b (O) of the least Σ ‖x W + b - y‖² + alpha ‖W‖²; b is not penalised."""
        # by eigenvalues: states of a reservoir are nearly collinear, and rounding makes some negative
        values, vectors = np.linalg.eigh(self._xx)
        W = vectors @ ((vectors.T @ self._xy) / (np.maximum(values, 0.0) + alpha)[:, None])
        return W, self._y - self._x @ W


@dataclass(slots=True)
class Readout:
    """A readout in the making: ``below`` is the network with the identity for its head."""

    spec: NetworkSpec
    below: Network
    W: np.ndarray
    b: np.ndarray
    sums: RidgeSums

    @classmethod
    def begin(cls, spec: NetworkSpec, parameters: Parameters, make: Make) -> Readout:
        """From the network's present parameters. Raises ``Unsupported`` for a decoder."""
        if spec.decoder is not None:
            raise Unsupported(
                f"{spec.cell}: a readout fitted by ridge regression reads one network, not a decoder; "
                "take a cell that learns, and optimizer adam or sgd"
            )
        W, b = (np.asarray(parameters[name], np.float64) for name in ("head.W", "head.b"))
        F, O = W.shape  # noqa: E741 - the field's name
        seen = replace(spec, output_size=F, loss="cross_entropy")
        below = make(seen, {**parameters, "head.W": np.eye(F), "head.b": np.zeros(F)})
        return cls(spec, below, W, b, RidgeSums(F, O))

    def read(self, batch: Batch) -> float:
        """The present readout's mean squared error on a batch, which then counts for the next ``solve``.

        Classes are one-hot. Samples are sequences, or all valid steps with readout "each".
        NaN where features are not finite; such a batch does not count.
        """
        size, length = batch.inputs.shape[:2]
        each = self.spec.readout == "each"
        unread = np.zeros((size, length) if each else size, np.int32)
        outputs = self.below.forward(self.below.put(replace(batch, targets=unread)))[0]
        x, y = np.asarray(self.below.fetch(outputs), np.float64), batch.targets
        if each:
            lengths = np.full(size, length) if batch.lengths is None else batch.lengths
            valid = np.arange(length) < np.asarray(lengths)[:, None]
            x, y = x[valid], y[valid]
        if self.spec.loss == "cross_entropy":
            y = np.eye(len(self.b))[y]
        if not np.isfinite(x).all():
            return float("nan")
        self.sums.add(x, np.asarray(y, np.float64))
        return float(np.mean((x @ self.W + self.b - y) ** 2))

    def solve(self, alpha: float) -> dict[str, np.ndarray]:
        """The head by its canonical names, fitted to all batches that were read."""
        self.W, self.b = self.sums.solve(alpha)
        return {"head.W": self.W, "head.b": self.b}
