"""One vector in, a sequence out: the wave that three numbers describe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rnnbench.contracts import Baseline, Batch, TaskShape
from rnnbench.tasks.baselines import Predictor, fit_ridge, score_of
from rnnbench.tasks.batches import check_length, regroup

Given = Literal["first", "repeated"]

_WAVE_TRAIN, _WAVE_EVALUATION = 221, 222
_PART = 250
_RIDGE_SEQUENCES = 2000


@dataclass(frozen=True)
class Wave:
    """Say the first T values of a wave of which amplitude, frequency and phase are given: one to many.

    ``length`` T is that of the answer, y_t = a sin(2π f t + φ) for t = 0 ... T-1; with T = 1 the task is one
    to one. The vector (u, v, w), each from U[-1,1], says a = 1 + u/2, φ = π w, and f = (5 + 3v)/80: periods
    of 10 to 40 steps. ``given`` says where a network reads it: at the "first" step, zeros following, so that
    it has to be remembered; or "repeated" at every step.

    The metric is the mean squared error over all steps. Always to say 0, which is the mean, has the error
    E[a²]/2 = 13/24. The simple baseline is ridge regression from the vector to all T values. ``evaluation``
    waves are held out.
    """

    name: str
    about: str
    given: Given = "first"
    evaluation: int = 500
    ranked: bool = True

    def prepare(self, length: int) -> WaveData:
        """Raises ``RequestError`` for a length below 1."""
        check_length(length, least=1)
        return WaveData(length, self.given, self.evaluation)


@dataclass(frozen=True)
class WaveData:
    """Waves of one length: inputs (B,T,3), targets (B,T,1)."""

    length: int
    given: Given
    held_out: int

    @property
    def shape(self) -> TaskShape:
        """Three features, one output at every step."""
        return TaskShape(
            output_size=1, readout="each", loss="mse", metric="mse", higher_is_better=False, features=3
        )

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """Fresh waves at every step."""
        return self._draw(np.random.default_rng([_WAVE_TRAIN, seed, step]), size)

    def evaluation(self, size: int) -> Iterator[Batch]:
        """The same waves for every ``size``; drawn as they are needed, never all in memory."""
        parts = enumerate(range(0, self.held_out, _PART))
        return regroup(
            (
                self._draw(np.random.default_rng([_WAVE_EVALUATION, part]), min(_PART, self.held_out - start))
                for part, start in parts
            ),
            size,
        )

    def score(self, pairs: Iterator[tuple[np.ndarray, Batch]]) -> float:
        """Mean squared error over all steps; outputs (B,T,1)."""
        total, count = 0.0, 0
        for outputs, batch in pairs:
            total += float(np.sum((np.asarray(outputs, np.float64) - batch.targets) ** 2))
            count += batch.targets.size
        return total / count

    def baselines(self) -> dict[Literal["trivial", "simple"], Baseline]:
        """The mean, which is 0, and ridge regression from the vector."""
        return {
            "trivial": Baseline("mean", score_of(self, lambda batch: np.zeros(batch.targets.shape))),
            "simple": Baseline("ridge", score_of(self, self._fit())),
        }

    def _fit(self) -> Predictor:
        def vectors(batch: Batch) -> Batch:
            return replace(batch, inputs=batch.inputs[:, :1], targets=batch.targets[:, :, 0])

        ridge = fit_ridge(vectors(self.batch(seed=0, step=0, size=_RIDGE_SEQUENCES)))
        return lambda batch: ridge(vectors(batch))[:, :, None]

    def _draw(self, rng: np.random.Generator, count: int) -> Batch:
        vectors = rng.uniform(-1, 1, (count, 3))
        u, v, w = vectors.T[:, :, None]
        steps = np.arange(self.length)
        targets = (1 + u / 2) * np.sin(2 * np.pi * (5 + 3 * v) / 80 * steps + np.pi * w)
        inputs = np.zeros((count, self.length, 3))
        inputs[:, : self.length if self.given == "repeated" else 1] = vectors[:, None]
        return Batch(inputs=inputs, targets=targets[:, :, None])
