"""Sequence to sequence: the answer is a sequence of a length of its own, put out token by token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Literal

import numpy as np

from rnnbench.contracts import Baseline, Batch, TaskData, TaskShape
from rnnbench.tasks.baselines import fit_ridge, score_of
from rnnbench.tasks.batches import check_length

PADDING, END = 0, 0
"""Of sources; of the answers of ``Reverse``."""

# The first word of every seed: training and evaluation never share a stream of random numbers.
_REVERSE_TRAIN, _REVERSE_EVALUATION, _DATES_TRAIN, _DATES_EVALUATION, _DATES_SPLIT = 211, 212, 213, 214, 215

_FITTED_SEQUENCES = 2000


@dataclass(frozen=True)
class Reverse:
    """Say a sequence of symbols backward, then the end. Symbols are drawn from an ``alphabet`` of K.

    At ``length`` T a source has from T/2 (rounded up) to T symbols, tokens 1..K, padded on the right with 0.
    The answer is what stood there in reverse, tokens 1..K, then 0, the end: T+1 steps at the most. Without
    attention all of it has to pass through one state; with attention each step reads its own symbol.

    The metric is the token accuracy of greedy decoding, the end included. ``evaluation`` sequences are held
    out.
    """

    name: str
    about: str
    ranked: bool = True
    alphabet: int = 8
    evaluation: int = 500
    answers: Literal["sequences"] = "sequences"

    def prepare(self, length: int) -> ReverseData:
        """Raises ``RequestError`` for a length below 1."""
        check_length(length, least=1)
        return ReverseData(length, self.alphabet, self.evaluation)


def split_evaluation(whole: Batch, size: int) -> Iterator[Batch]:
    """The held-out part in batches of ``size``, to be decoded greedily."""
    assert whole.lengths is not None
    assert whole.target_lengths is not None
    for start in range(0, len(whole.inputs), size):
        rows = slice(start, start + size)
        yield Batch(
            inputs=whole.inputs[rows],
            targets=whole.targets[rows],
            lengths=whole.lengths[rows],
            target_lengths=whole.target_lengths[rows],
        )


def token_accuracy(pairs: Iterator[tuple[np.ndarray, Batch]]) -> float:
    """The share of right answers over the valid steps; outputs (B,S,O)."""
    right = total = 0
    for outputs, batch in pairs:
        valid = _valid_targets(batch)
        right += int(np.sum((np.argmax(outputs, axis=-1) == batch.targets)[valid]))
        total += int(valid.sum())
    return right / total


def token_baselines(data: TaskData) -> dict[Literal["trivial", "simple"], Baseline]:
    """The commonest token of each step, and ridge regression from the source, one-hot, to the answer."""
    train, shape = data.batch(0, 0, _FITTED_SEQUENCES), data.shape
    counts = np.sum(np.eye(shape.output_size)[train.targets] * _valid_targets(train)[:, :, None], axis=0)
    ridge = fit_ridge(_as_numbers(shape, train))

    def read_off(batch: Batch) -> np.ndarray:
        return np.reshape(ridge(_as_numbers(shape, batch)), (*batch.targets.shape, shape.output_size))

    trivial = score_of(data, lambda batch: np.tile(counts, (len(batch.targets), 1, 1)))
    return {
        "trivial": Baseline("commonest token", trivial),
        "simple": Baseline("ridge", score_of(data, read_off)),
    }


def _valid_targets(batch: Batch) -> np.ndarray:
    assert batch.target_lengths is not None, "answers always carry their lengths"
    valid: np.ndarray = np.arange(batch.targets.shape[1]) < batch.target_lengths[:, None]
    return valid


def _as_numbers(shape: TaskShape, batch: Batch) -> Batch:
    """Tokens and classes one-hot; of an answer all steps side by side."""
    assert shape.vocab is not None, "sources are tokens"
    targets = np.eye(shape.output_size)[batch.targets]
    return Batch(np.eye(shape.vocab)[batch.inputs], targets.reshape(len(targets), -1))


def forced(batch: Batch, classes: int) -> Batch:
    """With teacher forcing: each step is fed the target before it, the first one ``classes``, the start."""
    start = np.full((len(batch.targets), 1), classes, np.int32)
    return replace(batch, decoder_inputs=np.concatenate([start, batch.targets[:, :-1]], axis=1))


@dataclass(frozen=True)
class ReverseData:
    """Sequences of up to ``length`` symbols: inputs (B,T) and targets (B,T+1) int32."""

    length: int
    alphabet: int
    held_out: int

    @property
    def shape(self) -> TaskShape:
        """Classes: the end and the symbols."""
        return TaskShape(
            output_size=self.alphabet + 1,
            readout="each",
            loss="cross_entropy",
            metric="token_accuracy",
            higher_is_better=True,
            vocab=self.alphabet + 1,
            lengths=True,
            decoder=True,
        )

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """Fresh sequences at every step, with teacher forcing."""
        return self._draw(np.random.default_rng([_REVERSE_TRAIN, seed, step]), size)

    def evaluation(self, size: int) -> Iterator[Batch]:
        """The same sequences for every ``size``, to be decoded greedily."""
        whole = self._draw(np.random.default_rng([_REVERSE_EVALUATION]), self.held_out)
        return split_evaluation(whole, size)

    def score(self, pairs: Iterator[tuple[np.ndarray, Batch]]) -> float:
        """Token accuracy; outputs (B,S,O)."""
        return token_accuracy(pairs)

    def baselines(self) -> dict[Literal["trivial", "simple"], Baseline]:
        """See ``token_baselines``."""
        return token_baselines(self)

    def _draw(self, rng: np.random.Generator, count: int) -> Batch:
        T = self.length
        lengths = rng.integers((T + 1) // 2, T + 1, count, dtype=np.int32)
        symbols = rng.integers(1, self.alphabet + 1, (count, T), dtype=np.int32)
        steps = np.arange(T, dtype=np.int32)
        inputs = np.where(steps < lengths[:, None], symbols, np.int32(PADDING))
        targets = np.full((count, T + 1), END, np.int32)
        source = lengths[:, None] - 1 - steps
        targets[:, :T] = np.where(source >= 0, np.take_along_axis(inputs, source, axis=1), np.int32(END))
        batch = Batch(inputs, targets, lengths=lengths, target_lengths=lengths + np.int32(1))
        return forced(batch, self.alphabet + 1)


_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LETTERS = sorted({letter for name in (*_MONTHS, *_WEEKDAYS) for letter in name})
_CHARACTERS = "".join([" ,./0123456789", *_LETTERS])
_TOKENS = {character: token for token, character in enumerate(_CHARACTERS, start=PADDING + 1)}
_ANSWER = "0123456789-"
_FIRST_DAY, _LAST_DAY = date(1950, 1, 1).toordinal(), date(2049, 12, 31).toordinal()
_WAYS = 7
_LONGEST = len("September 21, 2026")
_HELD_OUT_SHARE = 0.05


def write_day(day: date, way: int) -> str:
    """A day in one of seven ways, 0 to 6, that people write it; where months are numbers, the day is first.

    >>> [write_day(date(2026, 11, 21), way) for way in range(7)][:4]
    ['21 Nov 2026', 'Nov 21, 2026', '21/11/2026', '21.11.2026']
    >>> [write_day(date(2026, 11, 21), way) for way in range(7)][4:]
    ['November 21, 2026', '21 November 2026', 'Sat, 21 Nov 2026']
    """
    d, m, y = day.day, day.month, day.year
    month, weekday = _MONTHS[m - 1], _WEEKDAYS[day.weekday()]
    return (
        f"{d} {month[:3]} {y}", f"{month[:3]} {d}, {y}", f"{d:02}/{m:02}/{y}", f"{d}.{m}.{y}",
        f"{month} {d}, {y}", f"{d} {month} {y}", f"{weekday[:3]}, {d} {month[:3]} {y}",
    )[way]  # fmt: skip


@dataclass(frozen=True)
class Dates:
    """Read a day between 1950 and 2049, written in one of seven ways, and write it as ISO 8601 does.

    "Sat, 21 Nov 2026" -> "2026-11-21". Sources are characters, padded to ``length`` on the right with token
    0; answers are ten characters: digits, and class 10, the hyphen. Of the days a twentieth, drawn with a
    fixed seed, is held out; ``evaluation`` of them are asked for. The metric is the token accuracy of greedy
    decoding.
    """

    name: str
    about: str
    ranked: bool = True
    evaluation: int = 500
    answers: Literal["sequences"] = "sequences"

    def prepare(self, length: int) -> DatesData:
        """Raises ``RequestError`` for a length below 18: the longest source must fit."""
        check_length(length, least=_LONGEST)
        return DatesData(length, self.evaluation)


@dataclass(frozen=True)
class DatesData:
    """Days as characters: inputs (B,length) int32, targets (B,10) int32."""

    length: int
    held_out: int

    @property
    def shape(self) -> TaskShape:
        """Classes: the digits and the hyphen."""
        return TaskShape(
            output_size=len(_ANSWER),
            readout="each",
            loss="cross_entropy",
            metric="token_accuracy",
            higher_is_better=True,
            vocab=len(_CHARACTERS) + 1,
            lengths=True,
            decoder=True,
        )

    @cached_property
    def _days(self) -> tuple[np.ndarray, np.ndarray]:
        """Ordinals for training and held out."""
        days = np.random.default_rng(_DATES_SPLIT).permutation(np.arange(_FIRST_DAY, _LAST_DAY + 1))
        out = round(_HELD_OUT_SHARE * len(days))
        return days[out:], days[:out]

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """Fresh sequences at every step, with teacher forcing."""
        return self._draw(np.random.default_rng([_DATES_TRAIN, seed, step]), self._days[0], size)

    def evaluation(self, size: int) -> Iterator[Batch]:
        """The same sequences for every ``size``, to be decoded greedily."""
        whole = self._draw(np.random.default_rng([_DATES_EVALUATION]), self._days[1], self.held_out)
        return split_evaluation(whole, size)

    def score(self, pairs: Iterator[tuple[np.ndarray, Batch]]) -> float:
        """Token accuracy; outputs (B,S,O)."""
        return token_accuracy(pairs)

    def baselines(self) -> dict[Literal["trivial", "simple"], Baseline]:
        """See ``token_baselines``."""
        return token_baselines(self)

    def _draw(self, rng: np.random.Generator, days: np.ndarray, count: int) -> Batch:
        chosen, ways = days[rng.integers(0, len(days), count)], rng.integers(0, _WAYS, count)
        inputs = np.full((count, self.length), PADDING, np.int32)
        targets = np.empty((count, len("2026-11-21")), np.int32)
        lengths = np.empty(count, np.int32)
        for row, (ordinal, way) in enumerate(zip(chosen.tolist(), ways.tolist(), strict=True)):
            day = date.fromordinal(ordinal)
            tokens = [_TOKENS[character] for character in write_day(day, way)]
            inputs[row, : len(tokens)], lengths[row] = tokens, len(tokens)
            targets[row] = [_ANSWER.index(character) for character in day.isoformat()]
        batch = Batch(
            inputs, targets, lengths=lengths, target_lengths=np.full(count, targets.shape[1], np.int32)
        )
        return forced(batch, len(_ANSWER))
