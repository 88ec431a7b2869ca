"""Statistics of many samples at once: those of ten thousand cases are a matter of milliseconds.

Processes are rows of unequal lengths, one behind the other; those with equally many rounds are worked on
together. What the numbers mean, and where they come from, is told in ``rnnbench.stats``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


class Stack:
    """Samples as flat arrays: all seconds, rounds in their order; lengths and owners of the processes.

    The owner of a process is the index of its sample. Processes without rounds are left out.
    """

    def __init__(self, many: Sequence[Mapping[int, Mapping[int, float]]]) -> None:
        processes = [(index, rounds) for index, each in enumerate(many) for rounds in each.values() if rounds]
        self._count = len(many)
        self._owners: Indices = np.array([index for index, _ in processes], np.intp)
        self._lengths: Indices = np.array([len(rounds) for _, rounds in processes], np.intp)
        self._seconds: Floats = np.array([rounds[at] for _, rounds in processes for at in sorted(rounds)])

    def summaries(self) -> tuple[Floats, Floats, Indices]:
        """Mean and variance (n - 1) of the processes' log medians, and the number of processes, [samples].

        The mean is not a number where a sample has no process; the variance is 0 where it has one.
        """
        logs = np.empty(len(self._lengths))
        for which, where in _equally_long(self._lengths):
            logs[which] = np.log(np.median(self._seconds[where], axis=1))
        processes = np.bincount(self._owners, minlength=self._count)
        with np.errstate(invalid="ignore"):
            means = self._sums(logs) / processes
        squares = self._sums((logs - means[self._owners]) ** 2)
        return means, squares / np.maximum(processes - 1, 1), processes

    def deviations(self) -> list[float]:
        """Of each sample, the median absolute deviation of the logs of rounds from their process's median.

        Over the rounds of all processes that have two or more; 0.0 where none has.
        """
        deviations = np.empty(len(self._seconds))
        for _, where in _equally_long(self._lengths):
            logs = np.log(self._seconds[where])
            deviations[where] = np.abs(logs - np.median(logs, axis=1, keepdims=True))
        several = self._lengths > 1
        deviations = deviations[np.repeat(several, self._lengths)]
        found = np.zeros(self._count)
        for which, where in _equally_long(self._sums(self._lengths * several).astype(np.intp)):
            found[which] = np.median(deviations[where], axis=1) if where.size else 0.0
        return list(found.tolist())

    def trends(self) -> list[tuple[float, float]]:
        """Of each sample, Mann and Kendall's S summed over processes, and its variance under no trend."""
        s = np.zeros(len(self._lengths))
        for which, where in _equally_long(self._lengths):
            rows = self._seconds[where]
            for lag in range(1, rows.shape[1]):
                s[which] += np.sign(rows[:, lag:] - rows[:, :-lag]).sum(axis=1)
        n = self._lengths
        variances = self._sums(n * (n - 1) * (2 * n + 5) / 18)
        return list(zip(self._sums(s).tolist(), variances.tolist(), strict=True))

    def _sums(self, of_processes: Floats | Indices) -> Floats:
        """Over the processes of each sample."""
        return np.asarray(np.bincount(self._owners, of_processes, self._count), np.float64)


def _equally_long(lengths: Indices) -> Iterator[tuple[Indices, Indices]]:
    """Of rows that lie one behind the other: those of one length, and the places of their values, 2-D."""
    starts = np.cumsum(lengths) - lengths
    for length in np.unique(lengths):
        which = np.flatnonzero(lengths == length)
        yield which, starts[which, None] + np.arange(length)
