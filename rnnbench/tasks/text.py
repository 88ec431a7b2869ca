"""Text classification: the class of a text, from its words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from rnnbench.contracts import Baseline, Batch, TaskShape
from rnnbench.errors import RequestError
from rnnbench.tasks.baselines import fit_tfidf, score_of
from rnnbench.tasks.batches import check_length, rows_of
from rnnbench.tasks.tables import Layout, Table, read

PADDING, UNKNOWN = 0, 1
HELD_OUT_SHARE = 0.2
LEAST_COUNT = 2
VOCAB = 10_000

Side = Literal["pre", "post"]

_SPLIT = 301
_WORD = re.compile(r"\w+(?:['’]\w+)*|[!?]")


@dataclass(frozen=True)
class TextClassification:
    """Predict column ``label`` from column ``text`` of a csv, tsv or JSON-lines file.

    A text is its lower-case words (with ! and ?) in their order. Of a longer one the first ``length`` are
    taken, with truncation "pre" the last: what stands before them is cut. A shorter one is padded behind with
    token 0 and carries its length; with padding "pre" token 0 stands before it, there are no lengths, and a
    network reads it like any word, as Keras' pad_sequences has it. Token 1 is a word that is not in the
    vocabulary: the at most 9,998 commonest words that stand at least twice in the training part. A text
    without a word is one unknown word.

    Of every class a fifth, drawn with a fixed seed, is held out. A row that repeats another one, text and
    label, is dropped: it might stand on both sides. The metric is the accuracy.
    """

    name: str
    about: str
    path: Path
    layout: Layout
    text: str = "text"
    label: str = "label"
    ranked: bool = True
    padding: Side = "post"
    truncation: Side = "post"

    @cached_property
    def _corpus(self) -> Corpus:
        table = read(self.path, self.layout, list(dict.fromkeys((self.text, self.label))))
        return _corpus(table, self.text, self.label)

    def prepare(self, length: int) -> TextData:
        """Raises ``RequestError`` for a file that cannot be read so and a length below 1."""
        check_length(length, least=1)
        return TextData(length, self._corpus, self.padding, self.truncation)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Texts as tokens, laid end to end: text i has ``counts[i]`` of them from ``starts[i]`` on in ``tokens``.

    ``labels`` (N,) int32; ``train`` and ``held_out`` are rows.
    """

    tokens: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    labels: np.ndarray
    train: np.ndarray
    held_out: np.ndarray
    words: tuple[str, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class TextData:
    """Texts cut at one length: inputs (B, length) int32, targets (B,) int32.

    Lengths (B,) come with them where padding stands behind.
    """

    length: int
    corpus: Corpus
    padding: Side = "post"
    truncation: Side = "post"

    @property
    def shape(self) -> TaskShape:
        """One output for each class, read at the last word."""
        return TaskShape(
            output_size=len(self.corpus.classes),
            readout="last",
            loss="cross_entropy",
            metric="accuracy",
            higher_is_better=True,
            vocab=len(self.corpus.words) + 2,
            lengths=self.padding == "post",
        )

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """Training texts in a new order each epoch."""
        train = self.corpus.train
        return self._texts(train[rows_of(step, count=len(train), seed=seed, size=size)])

    def evaluation(self, size: int) -> Iterator[Batch]:
        """Held-out texts in the order of the file."""
        held_out = self.corpus.held_out
        for start in range(0, len(held_out), size):
            yield self._texts(held_out[start : start + size])

    def score(self, pairs: Iterator[tuple[np.ndarray, Batch]]) -> float:
        """Accuracy; outputs (B, classes)."""
        right = total = 0
        for outputs, batch in pairs:
            right += int(np.sum(np.argmax(outputs, axis=-1) == batch.targets))
            total += len(batch.targets)
        return right / total

    def baselines(self) -> dict[Literal["trivial", "simple"], Baseline]:
        """The commonest class of the training part, and logistic regression on TF-IDF of the same tokens."""
        train = self._texts(self.corpus.train)
        shares = np.bincount(train.targets, minlength=self.shape.output_size)
        tfidf = fit_tfidf(train, vocab=len(self.corpus.words) + 2)
        return {
            "trivial": Baseline(
                "majority", score_of(self, lambda batch: np.tile(shares, (len(batch.targets), 1)))
            ),
            "simple": Baseline("TF-IDF + logistic regression", score_of(self, tfidf)),
        }

    def _texts(self, rows: np.ndarray) -> Batch:
        corpus = self.corpus
        lengths = np.minimum(corpus.counts[rows], self.length)
        starts, steps = corpus.starts[rows], np.arange(self.length)
        if self.truncation == "pre":
            starts = starts + corpus.counts[rows] - lengths
        before = self.padding == "pre"
        places = steps - (self.length - lengths[:, None]) * before
        valid = (places >= 0) & (places < lengths[:, None])
        places = np.where(valid, starts[:, None] + places, 0)
        return Batch(
            inputs=np.where(valid, corpus.tokens[places], np.int32(PADDING)),
            targets=corpus.labels[rows],
            lengths=None if before else lengths.astype(np.int32),
        )


def words_of(text: str) -> list[str]:
    """Lower-case words, and ! and ?, in their order.

    >>> words_of("Don't buy: it BROKE twice!")
    ["don't", 'buy', 'it', 'broke', 'twice', '!']
    """
    return _WORD.findall(text.lower())


def _corpus(table: Table, text: str, label: str) -> Corpus:
    first_rows: dict[tuple[str, str], int] = {}
    for row, pair in enumerate(zip(table.columns[text], table.columns[label], strict=True)):
        if not pair[1].strip():
            raise RequestError(f'column "{label}": the label is missing', where=table.at(row))
        first_rows.setdefault((pair[0], pair[1].strip()), row)
    texts = [words_of(given) for given, _ in first_rows]
    given_labels = [given for _, given in first_rows]
    classes = sorted(set(given_labels))
    numbers = {name: i for i, name in enumerate(classes)}
    labels = np.array([numbers[given] for given in given_labels], np.int32)
    _check_classes(table, label, classes, labels, list(first_rows.values()))
    train, held_out = _split(labels, len(classes))
    words = _vocabulary([texts[row] for row in train])
    number = {word: token for token, word in enumerate(words, start=UNKNOWN + 1)}
    tokens = [[number.get(word, UNKNOWN) for word in words] or [UNKNOWN] for words in texts]
    counts = np.array([len(row) for row in tokens])
    return Corpus(
        tokens=np.concatenate([np.array(row, np.int32) for row in tokens]),
        starts=np.cumsum(counts) - counts,
        counts=counts,
        labels=labels,
        train=train,
        held_out=held_out,
        words=tuple(words),
        classes=tuple(classes),
    )


def _check_classes(
    table: Table, label: str, classes: Sequence[str], labels: np.ndarray, rows: Sequence[int]
) -> None:
    if len(classes) == 1:
        raise RequestError(f'column "{label}" holds one class only, "{classes[0]}"', where=str(table.path))
    sizes = np.bincount(labels)
    if sizes.min() < 2:
        alone = int(np.argmin(sizes))
        row = rows[int(np.argmax(labels == alone))]
        raise RequestError(
            f'column "{label}": class "{classes[alone]}" has one text only; a class needs one to train on '
            "and one to be held out",
            where=table.at(row),
        )


def _split(labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows for training and rows held out, of every class a fifth and at least one."""
    rng = np.random.default_rng(_SPLIT)
    out = np.zeros(len(labels), bool)
    for number in range(classes):
        rows = rng.permutation(np.flatnonzero(labels == number))
        out[rows[: max(1, round(HELD_OUT_SHARE * len(rows)))]] = True
    return np.flatnonzero(~out), np.flatnonzero(out)


def _vocabulary(texts: Sequence[Sequence[str]]) -> list[str]:
    counts = Counter(word for text in texts for word in text)
    common = sorted((-count, word) for word, count in counts.items() if count >= LEAST_COUNT)
    return [word for _, word in common[: VOCAB - 2]]
