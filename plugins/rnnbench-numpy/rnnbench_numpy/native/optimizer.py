"""``rnnbench.training.update`` in place: on a large embedding temporaries cost more than the gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from rnnbench.contracts import TrainingSpec
from rnnbench.training import ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON


class Optimizer:
    """SGD or Adam with exact clipping by global norm, with the moments of each parameter."""

    def __init__(self, training: TrainingSpec, parameters: Mapping[str, np.ndarray]) -> None:
        self._training = training
        self._updates = 0
        self._moments = {}
        if training.optimizer == "adam":
            self._moments = {
                name: (np.zeros_like(p), np.zeros_like(p), np.empty_like(p)) for name, p in parameters.items()
            }

    def update(self, parameters: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray]) -> None:
        """Change ``parameters``; ``gradients`` are used up."""
        lr, clip = self._training.lr, self._training.clip
        if clip is not None:
            _clip(gradients, clip)
        self._updates += 1
        correct1, correct2 = 1.0 - ADAM_BETA1**self._updates, 1.0 - ADAM_BETA2**self._updates
        for name, p in parameters.items():
            g = gradients[name]
            if self._training.optimizer == "sgd":
                g *= lr
                p -= g
                continue
            first, second, scratch = self._moments[name]
            np.multiply(g, 1 - ADAM_BETA1, out=scratch)
            first *= ADAM_BETA1
            first += scratch
            np.multiply(g, g, out=scratch)
            scratch *= 1 - ADAM_BETA2
            second *= ADAM_BETA2
            second += scratch
            # √(v/c₂) + ε, and lr/c₁ taken out of the quotient
            np.multiply(second, 1.0 / correct2, out=scratch)
            np.sqrt(scratch, out=scratch)
            scratch += ADAM_EPSILON
            np.divide(first, scratch, out=scratch)
            scratch *= lr / correct1
            p -= scratch


def _clip(gradients: Mapping[str, np.ndarray], bound: float) -> None:
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in gradients.values()))
    if norm > bound:
        for g in gradients.values():
            g *= bound / norm
