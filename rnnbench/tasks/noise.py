"""Noise: sequences with nothing in them to learn, for suites that only time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rnnbench.contracts import Baseline, Batch, TaskShape
from rnnbench.tasks.batches import check_length, regroup

_NOISE_TRAIN, _NOISE_EVALUATION = 401, 402
_HELD_OUT = 512


@dataclass(frozen=True)
class Noise:
    """Normal inputs (B,T,features) and a random class; never ranked by score, for chance is the best."""

    name: str
    about: str
    features: int = 64
    classes: int = 10
    ranked: bool = False

    def prepare(self, length: int) -> NoiseData:
        """Raises ``RequestError`` for a length below 1."""
        check_length(length, least=1)
        return NoiseData(length, self.features, self.classes)


@dataclass(frozen=True)
class NoiseData:
    """Noise at one length."""

    length: int
    features: int
    classes: int

    @property
    def shape(self) -> TaskShape:
        """One class, read at the end."""
        return TaskShape(
            output_size=self.classes,
            readout="last",
            loss="cross_entropy",
            metric="accuracy",
            higher_is_better=True,
            features=self.features,
        )

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """Fresh noise at every step."""
        return self._draw(np.random.default_rng([_NOISE_TRAIN, seed, step]), size)

    def evaluation(self, size: int) -> Iterator[Batch]:
        """The same sequences for every ``size``."""
        return regroup([self._draw(np.random.default_rng([_NOISE_EVALUATION]), _HELD_OUT)], size)

    def score(self, pairs: Iterator[tuple[np.ndarray, Batch]]) -> float:
        """Accuracy."""
        hits = [np.argmax(outputs, axis=-1) == batch.targets for outputs, batch in pairs]
        return float(np.mean(np.concatenate(hits)))

    def baselines(self) -> dict[Literal["trivial", "simple"], Baseline]:
        """Chance; there is nothing for a simple model to find."""
        return {"trivial": Baseline("chance", 1 / self.classes)}

    def _draw(self, rng: np.random.Generator, count: int) -> Batch:
        inputs = rng.standard_normal((count, self.length, self.features))
        return Batch(inputs=inputs, targets=rng.integers(0, self.classes, count).astype(np.int32))
