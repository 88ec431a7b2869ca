"""Only valid steps are computed: a batch as rows, step after step, the longest sequences first.

Of T steps and B sequences with lengths, step t has ``counts[t]`` valid sequences; they are rows
starts[t] .. starts[t] + counts[t] of every (N,F) array, N = Σ lengths. Sorted by length, the
sequences of a step are the first of the step before, so no mask is needed: a sequence that has
ended is simply no longer among the rows. The backward direction walks the same rows from the
last step to the first, and sequences enter as their ends are reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Step(NamedTuple):
    """One step of a walk: its rows start..stop; the first ``carried`` of them go on from row ``before``."""

    start: int
    stop: int
    before: int
    carried: int


Walk = tuple[Step, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Where the steps of B sequences lie.

    ``order`` (B,) sorts the sequences; ``sequence`` and ``time`` (N,) say whose step a row is;
    ``first`` and ``last`` (B,) are the rows of step 0 and of the last valid step, in the caller's order.
    """

    steps: int
    order: np.ndarray
    sequence: np.ndarray
    time: np.ndarray
    first: np.ndarray
    last: np.ndarray
    forward: Walk
    backward: Walk

    @property
    def size(self) -> int:
        """N, the number of valid steps of all sequences."""
        return len(self.sequence)

    @property
    def dense(self) -> bool:
        """All sequences have T steps."""
        return self.size == self.steps * len(self.order)

    def walk(self, direction: str) -> Walk:
        """Steps in the order in which a direction meets them."""
        return self.backward if direction == "backward" else self.forward

    def pack(self, values: np.ndarray) -> np.ndarray:
        """(B,T,...) -> (N,...)."""
        packed: np.ndarray = values[self.sequence, self.time]
        return packed

    def unpack(self, values: np.ndarray, padding: np.ndarray) -> np.ndarray:
        """(N,O) -> (B,T,O), with ``padding`` (O,) behind the lengths."""
        if self.dense:
            return values.reshape(self.steps, -1, values.shape[1]).swapaxes(0, 1)
        out = np.empty((len(self.order), self.steps, values.shape[1]), values.dtype)
        out[:] = padding
        out[self.sequence, self.time] = values
        return out


def rows_of(size: int, steps: int, lengths: np.ndarray | None) -> Rows:
    """Rows of a batch of B=size sequences of T=steps, of which ``lengths`` (B,) are valid."""
    if lengths is None:
        lengths = np.full(size, steps)
    order = np.argsort(-lengths.astype(np.int64), kind="stable")
    counts = (lengths[None, :] > np.arange(steps)[:, None]).sum(1)
    counts = counts[counts > 0]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank = np.empty(size, np.int64)
    rank[order] = np.arange(size)
    return Rows(
        steps=steps,
        order=order,
        sequence=np.concatenate([order[:count] for count in counts]),
        time=np.repeat(np.arange(len(counts)), counts),
        first=rank,
        last=starts[lengths - 1] + rank,
        forward=_walk(list(zip(starts.tolist(), counts.tolist(), strict=True))),
        backward=_walk(list(zip(starts.tolist(), counts.tolist(), strict=True))[::-1]),
    )


def _walk(steps: list[tuple[int, int]]) -> Walk:
    before, present = 0, 0
    walk = []
    for start, count in steps:
        walk.append(Step(start, start + count, before, min(count, present)))
        before, present = start, count
    return tuple(walk)
