"""Forecasting: what a series will be some steps ahead, from a window of its past and of other series."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np

from rnnbench.contracts import Baseline, Batch, TaskShape
from rnnbench.errors import RequestError
from rnnbench.tasks.baselines import fit_ridge, score_of
from rnnbench.tasks.batches import check_length, rows_of
from rnnbench.tasks.tables import Table, read

TRAIN_SHARE = 0.8
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})

# Squares of larger ones could not be summed.
_LARGEST = 1e100

# Numbers in the windows that ridge regression is fitted on: enough, in seconds and 40 MB.
_RIDGE_NUMBERS = 5_000_000


@dataclass(frozen=True)
class Forecasting:
    """Predict column ``target`` of a csv file ``horizon`` rows ahead from the last ``length`` rows.

    A step is a row. With ``time`` (ISO dates, or numbers) rows are put in its order, else they keep the
    file's. The first 80 % of the rows are for training, the last 20 % are held out: a window belongs to
    the part in which its target lies, so a held-out window may look back on training rows, never the
    other way round. Columns in ``log`` are taken to natural logarithms; all are z-scored with the mean and
    standard deviation of the training rows.

    Missing values (an empty field, NA, NaN, null) are filled from the past alone, with the last value before
    them; rows before every column has had its first value are dropped; windows whose target is missing
    are left out.

    With ``difference`` the network learns the change from the last known value of the target to the one
    wanted, divided by the standard deviation of such changes in training; and the target enters the window
    twice, as its level and as its change from row to row. It makes a trend learnable that leaves the
    range seen in training. The metric does not depend on it: the root mean square error of the
    forecast itself, in standard deviations of the (log) target. Persistence says that all stays as it is.
    """

    name: str
    about: str
    path: Path
    target: str
    features: tuple[str, ...] = ()
    time: str | None = None
    horizon: int = 1
    log: tuple[str, ...] = ()
    difference: bool = True
    ranked: bool = True

    @cached_property
    def _values(self) -> np.ndarray:
        """All rows in the order of time, (N, 1 + features), the target first, missing values NaN."""
        names = (self.target, *self.features)
        wanted = dict.fromkeys((*names, self.time) if self.time else names)
        table = read(self.path, "csv", list(wanted))
        values = np.column_stack([_numbers(table, name, log=name in self.log) for name in names])
        return values if self.time is None else values[_order(table, self.time)]

    def prepare(self, length: int) -> SeriesData:
        """Raises ``RequestError`` for a file that cannot be read so and a length that leaves no window."""
        check_length(length, least=1)
        values = self._values
        filled = forward_fill(values)
        complete = ~np.isnan(filled).any(axis=1)
        start = int(np.argmax(complete)) if complete.any() else len(values)
        values, filled = values[start:], filled[start:]
        cut = int(TRAIN_SHARE * len(values))
        self._check_room(length, cut, len(values))
        center, spread = self._scale_of(filled[:cut])
        level = (filled - center) / spread
        truth = (values[:, 0] - center[0]) / spread[0]
        ends = np.arange(len(values) - self.horizon)
        ends = ends[~np.isnan(truth[ends + self.horizon])]
        wanted = truth[ends + self.horizon]
        scale = 1.0
        if self.difference:
            wanted = wanted - level[ends, 0]
            scale = _spread(wanted[ends + self.horizon < cut])
            change = np.diff(level[:, 0], prepend=level[0, 0])
            level = np.column_stack([level[:, :1], change / _spread(change[:cut]), level[:, 1:]])
        reached = ends >= length - 1
        ends, wanted = ends[reached], wanted[reached] / scale
        train = ends + self.horizon < cut
        if not train.any() or train.all():
            part = "held-out" if train.any() else "training"
            raise RequestError(
                f'column "{self.target}" has no value in the {part} part that length {length} could reach',
                where=str(self.path),
            )
        return SeriesData(length, level, ends, wanted[:, None], int(train.sum()), scale, self.difference)

    def _check_room(self, length: int, cut: int, count: int) -> None:
        longest = cut - self.horizon
        if length > longest:
            advice = f"give at most {longest}" if longest > 0 else "give a longer series"
            raise RequestError(
                f"length {length} is too long: of {count} rows with a value in every column (or before it), "
                f"{cut} are for training, and horizon {self.horizon} is taken from them; {advice}",
                where=str(self.path),
            )

    def _scale_of(self, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        center, spread = train.mean(axis=0), train.std(axis=0)
        # rounding leaves a constant column a spread of some 1e-17
        constant = (np.ptp(train, axis=0) == 0) | (spread == 0)
        if constant[0]:
            raise RequestError(
                f'column "{self.target}" never changes in the training part: nothing to learn',
                where=str(self.path),
            )
        spread[constant] = 1.0
        return center, spread


@dataclass(frozen=True, eq=False)
class SeriesData:
    """A series cut into windows: inputs (B,T,I), targets (B,1).

    ``columns`` (N,I) are the scaled rows; window i ends with row ``ends[i]``; the first ``train`` windows are
    for training. Targets times ``scale`` are in standard deviations of the series.
    """

    length: int
    columns: np.ndarray
    ends: np.ndarray
    targets: np.ndarray
    train: int
    scale: float
    difference: bool

    @property
    def shape(self) -> TaskShape:
        """One output, read at the end of the window."""
        return TaskShape(
            output_size=1,
            readout="last",
            loss="mse",
            metric="rmse",
            higher_is_better=False,
            features=self.columns.shape[1],
        )

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """Training windows in a new order each epoch."""
        return self._windows(rows_of(step, count=self.train, seed=seed, size=size))

    def evaluation(self, size: int) -> Iterator[Batch]:
        """Held-out windows in the order of time."""
        for start in range(self.train, len(self.ends), size):
            yield self._windows(np.arange(start, min(start + size, len(self.ends))))

    def score(self, pairs: Iterator[tuple[np.ndarray, Batch]]) -> float:
        """Root mean square error in standard deviations of the series; outputs (B,1)."""
        total, count = 0.0, 0
        for outputs, batch in pairs:
            errors = self.scale * (np.asarray(outputs, np.float64) - batch.targets)
            total += float(np.sum(errors**2))
            count += len(errors)
        return float(np.sqrt(total / count))

    def baselines(self) -> dict[Literal["trivial", "simple"], Baseline]:
        """Persistence, and ridge regression on the same windows.

        Of very many windows, evenly spaced ones with five million numbers in all are fitted.
        """
        width = self.length * self.columns.shape[1]
        count = min(self.train, max(1, _RIDGE_NUMBERS // width))
        ridge = fit_ridge(self._windows(np.linspace(0, self.train - 1, count).astype(np.int64)))
        return {
            "trivial": Baseline("persistence", score_of(self, self._persist)),
            "simple": Baseline("ridge", score_of(self, ridge)),
        }

    def _persist(self, batch: Batch) -> np.ndarray:
        last = batch.inputs[:, -1, :1]
        return np.zeros_like(last) if self.difference else last

    def _windows(self, rows: np.ndarray) -> Batch:
        steps = self.ends[rows][:, None] + np.arange(1 - self.length, 1)
        return Batch(inputs=self.columns[steps], targets=self.targets[rows])


def forward_fill(values: np.ndarray) -> np.ndarray:
    """(N,C) with each NaN replaced by the last number above it; NaN stays where there is none."""
    rows = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    filled: np.ndarray = np.take_along_axis(values, np.maximum.accumulate(rows, axis=0), axis=0)
    return filled


def _spread(values: np.ndarray) -> float:
    spread = float(np.std(values)) if len(values) else 0.0
    return spread if spread > 0 else 1.0


def _numbers(table: Table, name: str, *, log: bool) -> np.ndarray:
    numbers = np.empty(len(table))
    for row, text in enumerate(table.columns[name]):
        numbers[row] = _number(table, row, name, text)
    if log and (numbers <= 0).any():
        row = int(np.argmax(numbers <= 0))
        raise RequestError(
            f'column "{name}": {table.columns[name][row]} has no logarithm; leave "{name}" out of log',
            where=table.at(row),
        )
    return np.log(numbers) if log else numbers


def _number(table: Table, row: int, name: str, text: str) -> float:
    if text.strip().lower() in MISSING:
        return float("nan")
    try:
        number = float("?" if "_" in text else text)
    except ValueError:
        number = float("inf")
    if not isfinite(number):
        raise RequestError(
            f'column "{name}": "{text}" is not a number; write it like 1234.5, or leave a missing one empty',
            where=table.at(row),
        )
    if abs(number) > _LARGEST:
        raise RequestError(
            f'column "{name}": {text.strip()} is too large; at most {_LARGEST:g}', where=table.at(row)
        )
    return number


def _order(table: Table, name: str) -> list[int]:
    """Rows sorted by time. Raises ``RequestError`` for what is no time, and for the same time twice."""
    times = [_moment(table, row, name, text) for row, text in enumerate(table.columns[name])]
    try:
        order = sorted(range(len(times)), key=times.__getitem__)
    except TypeError:
        raise RequestError(
            f'column "{name}" mixes numbers, times with a zone and times without one', where=str(table.path)
        ) from None
    for earlier, later in pairwise(order):
        if times[earlier] == times[later]:
            raise RequestError(
                f'column "{name}": "{table.columns[name][later]}" stands here and on line '
                f"{table.lines[earlier]}; a file holds one series, each time once",
                where=table.at(later),
            )
    return order


def _moment(table: Table, row: int, name: str, text: str) -> datetime | float:
    for parse in (float, datetime.fromisoformat):
        try:
            moment = parse(text.strip())
        except ValueError:
            continue
        if isinstance(moment, datetime) or isfinite(moment):
            return moment
    raise RequestError(
        f'column "{name}": "{text}" is neither a number nor an ISO date like 2024-12-31 or 2024-12-31T23:00; '
        "without the option time, rows keep the order of the file",
        where=table.at(row),
    )
