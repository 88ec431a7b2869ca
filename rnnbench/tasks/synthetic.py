"""Copy and adding: made from random numbers, of any length, with the chance level in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rnnbench.contracts import Baseline, Batch, TaskShape
from rnnbench.tasks.baselines import fit_ridge, score_of
from rnnbench.tasks.batches import check_length, regroup

# The first word of every seed: training and evaluation never share a stream of random numbers.
_COPY_TRAIN, _COPY_EVALUATION, _ADDING_TRAIN, _ADDING_EVALUATION = 201, 202, 203, 204

# Evaluation sequences are drawn in parts of this many, so that they do not depend on the size of a batch.
_PART = 250

_RIDGE_SEQUENCES = 2000


def _part_sizes(evaluation: int) -> Iterator[tuple[int, int]]:
    for part, start in enumerate(range(0, evaluation, _PART)):
        yield part, min(_PART, evaluation - start)


@dataclass(frozen=True)
class Copy:
    """Remember ``symbols`` random symbols of an ``alphabet`` over a delay, then repeat them in order.

    ``length`` T is the delay: the cue stands T steps after the last symbol. With S symbols a sequence has
    T + 2S steps: S symbols, T-1 blanks, the cue, S blanks. Tokens: 0 blank, 1..K the symbols, K+1 the cue.
    The network answers at every step: a blank T+S times, then the symbols. (Hochreiter and Schmidhuber
    1997 in the form of Arjovsky, Shah and Bengio 2016, arXiv:1511.06464.)

    The metric is the recall: the share of right answers over the last S steps only, chance 1/K. (Over all
    steps, blanks alone would score above 95 %.) Loss at chance: S ln K / (T + 2S). There is no simple
    baseline: a linear model on the flattened window reads the answer off its fixed place and is always
    right, so it would say nothing about memory. ``evaluation`` sequences are held out; at chance the
    recall's standard error is 0.0047 with 500 sequences.
    """

    name: str
    about: str
    ranked: bool = True
    symbols: int = 10
    alphabet: int = 8
    evaluation: int = 500

    def prepare(self, length: int) -> CopyData:
        """Raises ``RequestError`` for a delay below 1."""
        check_length(length, least=1)
        return CopyData(length, self.symbols, self.alphabet, self.evaluation)


@dataclass(frozen=True)
class CopyData:
    """The copy task with one delay: inputs and targets (B, delay + 2 symbols) int32."""

    delay: int
    symbols: int
    alphabet: int
    held_out: int

    @property
    def shape(self) -> TaskShape:
        """Classes: the blank and the symbols; the cue is never an answer."""
        return TaskShape(
            output_size=self.alphabet + 1,
            readout="each",
            loss="cross_entropy",
            metric="recall",
            higher_is_better=True,
            vocab=self.alphabet + 2,
        )

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """Fresh sequences at every step."""
        return self._draw(np.random.default_rng([_COPY_TRAIN, seed, step]), size)

    def evaluation(self, size: int) -> Iterator[Batch]:
        """The same sequences for every ``size``."""
        parts = _part_sizes(self.held_out)
        return regroup(
            (self._draw(np.random.default_rng([_COPY_EVALUATION, part]), count) for part, count in parts),
            size,
        )

    def score(self, pairs: Iterator[tuple[np.ndarray, Batch]]) -> float:
        """Recall: accuracy over the last ``symbols`` steps; outputs (B,T,O)."""
        right = total = 0
        for outputs, batch in pairs:
            answers = np.argmax(outputs[:, -self.symbols :], axis=-1)
            right += int(np.sum(answers == batch.targets[:, -self.symbols :]))
            total += answers.size
        return right / total

    def baselines(self) -> dict[Literal["trivial", "simple"], Baseline]:
        """Chance, 1 / alphabet; no simple one (see ``Copy``)."""
        return {"trivial": Baseline("chance", 1 / self.alphabet)}

    def _draw(self, rng: np.random.Generator, count: int) -> Batch:
        S, T = self.symbols, self.delay
        symbols = rng.integers(1, self.alphabet + 1, (count, S), dtype=np.int32)
        inputs = np.zeros((count, T + 2 * S), np.int32)
        inputs[:, :S] = symbols
        inputs[:, S + T - 1] = self.alphabet + 1
        targets = np.zeros_like(inputs)
        targets[:, T + S :] = symbols
        return Batch(inputs=inputs, targets=targets)


@dataclass(frozen=True)
class Adding:
    """Add two marked numbers of a sequence: the adding problem (Hochreiter and Schmidhuber 1997).

    In the form of Le, Jaitly and Hinton 2015, arXiv:1504.00941: each step has a value from U[0,1] and a
    marker; one marker stands in each half; the target is the sum of the two marked values. Always to
    predict the mean, 1, has the squared error 1/6 (the 0.1767 that is often quoted is wrong).

    ``evaluation`` sequences are held out. At chance the standard error of the metric is 0.197 / sqrt of
    that: 0.0044 with 2,000. A claim about a network near chance needs 100,000 (0.0006); declare a task
    of kind ``adding`` with ``evaluation: 100000`` for it.
    """

    name: str
    about: str
    ranked: bool = True
    evaluation: int = 2000

    def prepare(self, length: int) -> AddingData:
        """Raises ``RequestError`` for a length below 2: each half holds a marker."""
        check_length(length, least=2)
        return AddingData(length, self.evaluation)


@dataclass(frozen=True)
class AddingData:
    """The adding problem at one length: inputs (B,T,2) of value and marker, targets (B,1)."""

    length: int
    held_out: int

    @property
    def shape(self) -> TaskShape:
        """Two features, one output, read at the end."""
        return TaskShape(
            output_size=1, readout="last", loss="mse", metric="mse", higher_is_better=False, features=2
        )

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """Fresh sequences at every step."""
        return self._draw(np.random.default_rng([_ADDING_TRAIN, seed, step]), size)

    def evaluation(self, size: int) -> Iterator[Batch]:
        """The same sequences for every ``size``; drawn as they are needed, never all in memory."""
        parts = _part_sizes(self.held_out)
        return regroup(
            (self._draw(np.random.default_rng([_ADDING_EVALUATION, part]), count) for part, count in parts),
            size,
        )

    def score(self, pairs: Iterator[tuple[np.ndarray, Batch]]) -> float:
        """Mean squared error; outputs (B,1)."""
        total, count = 0.0, 0
        for outputs, batch in pairs:
            total += float(np.sum((np.asarray(outputs, np.float64) - batch.targets) ** 2))
            count += len(batch.targets)
        return total / count

    def baselines(self) -> dict[Literal["trivial", "simple"], Baseline]:
        """The mean of the target, which is 1, and ridge regression on the flattened window."""
        ridge = fit_ridge(self.batch(seed=0, step=0, size=_RIDGE_SEQUENCES))
        return {
            "trivial": Baseline("mean", score_of(self, lambda batch: np.ones(batch.targets.shape))),
            "simple": Baseline("ridge", score_of(self, ridge)),
        }

    def _draw(self, rng: np.random.Generator, count: int) -> Batch:
        half, rows = self.length // 2, np.arange(count)
        inputs = np.zeros((count, self.length, 2))
        inputs[:, :, 0] = rng.random((count, self.length))
        first = rng.integers(0, half, count)
        second = rng.integers(half, self.length, count)
        inputs[rows, first, 1] = inputs[rows, second, 1] = 1.0
        targets = inputs[rows, first, 0] + inputs[rows, second, 0]
        return Batch(inputs=inputs, targets=targets[:, None])
