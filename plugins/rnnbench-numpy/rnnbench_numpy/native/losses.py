"""Losses with their gradients, over M outputs that all count: padding never gets here."""

from __future__ import annotations

import numpy as np


def cross_entropy(outputs: np.ndarray, targets: np.ndarray) -> tuple[np.floating, np.ndarray]:
    """Outputs (M,O), targets (M,) of classes -> mean of -log softmax, and its gradient (M,O)."""
    count = np.arange(len(targets))
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    picked = shifted[count, targets]
    gradient = np.exp(shifted, out=shifted)
    total = gradient.sum(axis=1, keepdims=True)
    loss = (np.log(total[:, 0]) - picked).mean()
    gradient /= total
    gradient[count, targets] -= 1.0
    gradient /= len(targets)
    return loss, gradient


def mse(outputs: np.ndarray, targets: np.ndarray) -> tuple[np.floating, np.ndarray]:
    """Outputs and targets (M,O) -> mean of the squared errors, and its gradient (M,O)."""
    errors = outputs - targets
    return np.square(errors).mean(), errors * (2.0 / errors.size)


LOSSES = {"cross_entropy": cross_entropy, "mse": mse}
