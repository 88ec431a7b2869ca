"""Sequence to sequence: the answer is a sequence of a length of its own, put out token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache, partial
from typing import Literal

import numpy as np

from rnnbench.contracts import Baseline, Batch, TaskShape
from rnnbench.tasks.baselines import fit_ridge, score_of
from rnnbench.tasks.batches import check_length

PADDING, END = 0, 0
"""Of sources; of the answers of ``Reverse``."""

# The first word of every seed: training and evaluation never share a stream of random numbers.
_REVERSE_TRAIN, _REVERSE_EVALUATION, _DATES_TRAIN, _DATES_EVALUATION, _DATES_SPLIT = 211, 212, 213, 214, 215

_FITTED_SEQUENCES = 2000
_HELD_OUT = 500
_SYMBOLS = 8


@dataclass(frozen=True)
class Reverse:
    """Say a sequence of symbols backward, then the end. Symbols are drawn from an alphabet of K = 8.

    At ``length`` T a source has from T/2 (rounded up) to T symbols, tokens 1..K, padded on the right with 0.
    The answer is what stood there in reverse, tokens 1..K, then 0, the end: T+1 steps at the most. Without
    attention all of it has to pass through one state; with attention each step reads its own symbol.

    The metric is the token accuracy of greedy decoding, the end included. 500 sequences are held out.
    """

    name: str
    about: str
    ranked: bool = True
    answers: Literal["sequences"] = "sequences"

    def prepare(self, length: int) -> SequenceData:
        """Raises ``RequestError`` for a length below 1."""
        check_length(length, least=1)
        draw = partial(_draw_symbols, length)
        return SequenceData(_SYMBOLS + 1, _SYMBOLS + 1, (_REVERSE_TRAIN, draw), (_REVERSE_EVALUATION, draw))


def _valid_targets(batch: Batch) -> np.ndarray:
    assert batch.target_lengths is not None, "answers always carry their lengths"
    valid: np.ndarray = np.arange(batch.targets.shape[1]) < batch.target_lengths[:, None]
    return valid


def forced(batch: Batch, classes: int) -> Batch:
    """With teacher forcing: each step is fed the target before it, the first one ``classes``, the start."""
    start = np.full((len(batch.targets), 1), classes, np.int32)
    return replace(batch, decoder_inputs=np.concatenate([start, batch.targets[:, :-1]], axis=1))


Draw = Callable[[np.random.Generator, int], Batch]
"""So many sequences, with teacher forcing."""


@dataclass(frozen=True)
class SequenceData:
    """Sources (B,T) of ``vocab`` tokens, answers (B,S) of ``classes``: both int32.

    ``train`` and ``held_out`` are drawn each from a stream of random numbers of its own.
    """

    vocab: int
    classes: int
    train: tuple[int, Draw]
    held_out: tuple[int, Draw]

    @property
    def shape(self) -> TaskShape:
        """As the answers ask for it: a decoder."""
        return TaskShape(
            output_size=self.classes,
            readout="each",
            loss="cross_entropy",
            metric="token_accuracy",
            higher_is_better=True,
            vocab=self.vocab,
            lengths=True,
            decoder=True,
        )

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """Fresh sequences at every step, with teacher forcing."""
        stream, draw = self.train
        return draw(np.random.default_rng([stream, seed, step]), size)

    def evaluation(self, size: int) -> Iterator[Batch]:
        """The same sequences for every ``size``, to be decoded greedily."""
        stream, draw = self.held_out
        whole = draw(np.random.default_rng([stream]), _HELD_OUT)
        assert whole.lengths is not None
        assert whole.target_lengths is not None
        for start in range(0, _HELD_OUT, size):
            rows = slice(start, start + size)
            yield Batch(
                inputs=whole.inputs[rows],
                targets=whole.targets[rows],
                lengths=whole.lengths[rows],
                target_lengths=whole.target_lengths[rows],
            )

    def score(self, pairs: Iterator[tuple[np.ndarray, Batch]]) -> float:
        """Token accuracy, the share of right answers over the valid steps; outputs (B,S,O)."""
        right = total = 0
        for outputs, batch in pairs:
            valid = _valid_targets(batch)
            right += int(np.sum((np.argmax(outputs, axis=-1) == batch.targets)[valid]))
            total += int(valid.sum())
        return right / total

    def baselines(self) -> dict[Literal["trivial", "simple"], Baseline]:
        """The commonest token of each step, and ridge regression from the source, one-hot, to the answer."""
        train = self.batch(0, 0, _FITTED_SEQUENCES)
        counts = np.sum(np.eye(self.classes)[train.targets] * _valid_targets(train)[:, :, None], axis=0)
        ridge = fit_ridge(self._as_numbers(train))

        def read_off(batch: Batch) -> np.ndarray:
            return np.reshape(ridge(self._as_numbers(batch)), (*batch.targets.shape, self.classes))

        trivial = score_of(self, lambda batch: np.tile(counts, (len(batch.targets), 1, 1)))
        return {
            "trivial": Baseline("commonest token", trivial),
            "simple": Baseline("ridge", score_of(self, read_off)),
        }

    def _as_numbers(self, batch: Batch) -> Batch:
        """Tokens and classes one-hot; of an answer all steps side by side."""
        targets = np.eye(self.classes)[batch.targets]
        return Batch(np.eye(self.vocab)[batch.inputs], targets.reshape(len(targets), -1))


def _draw_symbols(length: int, rng: np.random.Generator, count: int) -> Batch:
    T = length
    lengths = rng.integers((T + 1) // 2, T + 1, count, dtype=np.int32)
    symbols = rng.integers(1, _SYMBOLS + 1, (count, T), dtype=np.int32)
    steps = np.arange(T, dtype=np.int32)
    inputs = np.where(steps < lengths[:, None], symbols, np.int32(PADDING))
    targets = np.full((count, T + 1), END, np.int32)
    source = lengths[:, None] - 1 - steps
    targets[:, :T] = np.where(source >= 0, np.take_along_axis(inputs, source, axis=1), np.int32(END))
    batch = Batch(inputs, targets, lengths=lengths, target_lengths=lengths + np.int32(1))
    return forced(batch, _SYMBOLS + 1)


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
    fixed seed, is held out; 500 of them are asked for. The metric is the token accuracy of greedy
    decoding.
    """

    name: str
    about: str
    ranked: bool = True
    answers: Literal["sequences"] = "sequences"

    def prepare(self, length: int) -> SequenceData:
        """Raises ``RequestError`` for a length below 18: the longest source must fit."""
        check_length(length, least=_LONGEST)
        days, out = _split_days()
        return SequenceData(
            len(_CHARACTERS) + 1,
            len(_ANSWER),
            (_DATES_TRAIN, partial(_draw_days, length, days)),
            (_DATES_EVALUATION, partial(_draw_days, length, out)),
        )


@lru_cache(maxsize=1)
def _split_days() -> tuple[np.ndarray, np.ndarray]:
    """Ordinals for training and held out."""
    days = np.random.default_rng(_DATES_SPLIT).permutation(np.arange(_FIRST_DAY, _LAST_DAY + 1))
    out = round(_HELD_OUT_SHARE * len(days))
    return days[out:], days[:out]


def _draw_days(length: int, days: np.ndarray, rng: np.random.Generator, count: int) -> Batch:
    chosen, ways = days[rng.integers(0, len(days), count)], rng.integers(0, _WAYS, count)
    inputs = np.full((count, length), PADDING, np.int32)
    targets = np.empty((count, len("2026-11-21")), np.int32)
    lengths = np.empty(count, np.int32)
    for row, (ordinal, way) in enumerate(zip(chosen.tolist(), ways.tolist(), strict=True)):
        day = date.fromordinal(ordinal)
        tokens = [_TOKENS[character] for character in write_day(day, way)]
        inputs[row, : len(tokens)], lengths[row] = tokens, len(tokens)
        targets[row] = [_ANSWER.index(character) for character in day.isoformat()]
    batch = Batch(inputs, targets, lengths=lengths, target_lengths=np.full(count, targets.shape[1], np.int32))
    return forced(batch, len(_ANSWER))
