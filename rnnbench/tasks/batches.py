"""Which sequences stand in which batch: pure functions of (seed, step, size)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

from rnnbench.contracts import Batch
from rnnbench.errors import RequestError

_EPOCHS = 101


@lru_cache(maxsize=8)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    order = np.random.default_rng([_EPOCHS, seed, epoch]).permutation(count)
    order.setflags(write=False)
    return order


def rows_of(step: int, *, count: int, seed: int, size: int) -> np.ndarray:
    """Rows (size,) of batch ``step`` out of ``count``: every row once an epoch, in a new order each epoch.

    Batches are cut from the epochs laid end to end, so all have ``size`` rows and none is left out.
    """
    parts = []
    position, missing = step * size, size
    while missing:
        epoch, offset = divmod(position, count)
        part = _permutation(count, seed, epoch)[offset : offset + missing]
        parts.append(part)
        position, missing = position + len(part), missing - len(part)
    return np.concatenate(parts)


def regroup(parts: Iterable[Batch], size: int) -> Iterator[Batch]:
    """The same sequences in batches of ``size``, the last one perhaps smaller. Lengths are not carried."""
    held: list[Batch] = []
    count = 0
    for part in parts:
        held.append(part)
        count += len(part.targets)
        if count >= size:
            joined = _join(held)
            whole = count - count % size
            for start in range(0, whole, size):
                yield _cut(joined, start, start + size)
            held, count = [_cut(joined, whole, count)], count - whole
    if count:
        yield _join(held)


def _join(parts: list[Batch]) -> Batch:
    return Batch(
        inputs=np.concatenate([part.inputs for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
    )


def _cut(batch: Batch, start: int, stop: int) -> Batch:
    return Batch(inputs=batch.inputs[start:stop], targets=batch.targets[start:stop])


def check_length(length: int, least: int) -> None:
    """Raises ``RequestError`` for a length below ``least``."""
    if length < least:
        raise RequestError(f"length {length} is too short; give at least {least}")
