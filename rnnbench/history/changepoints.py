"""Where the level of a short series changed: pure functions of numbers.

Circular binary segmentation (Olshen, Venkatraman, Lucito and Wigler, Biostatistics 2004): of all stretches
of the series, the one whose mean differs most from the rest's, in units of its standard error; permutations
of the series tell how large that is by chance; where it is larger, the parts are searched in turn. A stretch
has two ends, so a regression that was mended is found, which single splits overlook. Permutations assume
nothing but that runs without a change could have come in any order, as in the E-divisive means of Matteson
and James (JASA 2014) that Daly et al. (ICPE 2020) use for benchmarks. Nothing here knows of time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.01
"""A series without a change has one found in it with at most this probability."""

FEWEST = 12
"""Values below which no order is so rare that a change could be shown at this level: of the 462 ways to put
the five largest of eleven, they or the rest are one stretch in seven."""

SHORTEST = 2
"""One odd run is an outlier and no level."""

_DRAWS = 499
_FIRST_DRAWS = 49
_Series = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """From value ``index`` on, the mean is another: ``after`` − ``before`` on the scale of the values.

    ``p``: the share of permutations of the values on its two sides that separate them as far.
    """

    index: int
    before: float
    after: float
    p: float


def change_points(values: Sequence[float], level: float = LEVEL) -> tuple[ChangePoint, ...]:
    """The change points of finite values, by index; none in fewer than ``FEWEST``. Times go in as logarithms.

    Levels last for at least ``SHORTEST`` values, and it takes three or four before one is found: this is a
    lagging view. Equal values give equal answers, for the permutations have a fixed seed.
    """
    series = np.asarray(values, dtype=np.float64)
    found = sorted(_search(series, 0, len(series), level, np.random.default_rng(0)))
    return _pruned(series, found, level)


def _search(series: _Series, start: int, end: int, level: float, draw: np.random.Generator) -> Iterator[int]:
    part = series[start:end]
    if len(part) < FEWEST or np.ptp(part) == 0:
        return
    largest, first, last = _stretch(part)
    if not _is_rare(part, largest, level, draw):
        return
    bounds = [start, *(start + at for at in (first, last) if 0 < at < len(part)), end]
    yield from bounds[1:-1]
    for low, high in pairwise(bounds):
        yield from _search(series, low, high, level, draw)


def _stretch(part: _Series) -> tuple[float, int, int]:
    """(statistic, start, end) of the stretch that stands out most."""
    best = (-1.0, 0, 0)
    for length, sizes in _statistics(part[np.newaxis]):
        start = int(sizes[0].argmax())
        if sizes[0, start] > best[0]:
            best = float(sizes[0, start]), start, start + length
    return best


def _is_rare(part: _Series, largest: float, level: float, draw: np.random.Generator) -> bool:
    """Whether fewer permutations than ``level`` have a stretch that stands out as far.

    Ends early where the answer is certain, for most series have no change.
    """
    allowed = int(level * (_DRAWS + 1)) - 1
    as_large = 0
    for draws in (_FIRST_DRAWS, _DRAWS - _FIRST_DRAWS):
        rows = draw.permuted(np.broadcast_to(part, (draws, len(part))), axis=1)
        tops = np.max([sizes.max(axis=1) for _, sizes in _statistics(rows)], axis=0)
        # equal up to rounding is equal
        as_large += int((tops >= largest * (1 - 1e-9)).sum())
        if as_large > allowed:
            return False
    return True


def _statistics(rows: _Series) -> Iterator[tuple[int, _Series]]:
    """For each length of a stretch: per row and start |its mean − the rest's| over its standard error.

    Up to a factor that is the same for all permutations of a row.
    """
    n = rows.shape[1]
    sums = np.zeros((len(rows), n + 1))
    np.cumsum(rows - rows.mean(axis=1, keepdims=True), axis=1, out=sums[:, 1:])
    for length in _lengths(n):
        rest = n - length
        sizes = sums[:, length:] - sums[:, : rest + 1]
        np.abs(sizes, out=sizes)
        sizes /= np.sqrt(length * rest / n)
        # what a stretch leaves at either end is nothing, or a level itself
        sizes[:, 1:SHORTEST] = 0.0
        sizes[:, rest - SHORTEST + 1 : rest] = 0.0
        yield length, sizes


def _lengths(n: int) -> Iterator[int]:
    """All short stretches, and ever fewer long ones: a long series has a million. Ends are refined later."""
    length = SHORTEST
    while length <= n - SHORTEST:
        yield length
        length += max(1, length // 10)


def _pruned(series: _Series, found: Sequence[int], level: float) -> tuple[ChangePoint, ...]:
    """Only what its two neighbouring levels bear out: one end of a stretch may be chance."""
    kept = list(found)
    while kept:
        kept = _refined(series, kept)
        judged = [_judge(series, low, at, high) for low, at, high in _triples(kept, len(series))]
        weakest = max(judged, key=lambda point: point.p)
        if weakest.p <= level:
            return tuple(judged)
        kept.remove(weakest.index)
    return ()


def _refined(series: _Series, found: Sequence[int]) -> list[int]:
    """Each change point where it divides the stretch between its neighbours best."""
    refined: list[int] = []
    for number in range(len(found)):
        low = refined[-1] if refined else 0
        high = found[number + 1] if number + 1 < len(found) else len(series)
        part = series[low:high]
        n = len(part)
        left = np.arange(SHORTEST, n - SHORTEST + 1)
        sums = np.cumsum(part - part.mean())[left - 1]
        refined.append(low + int(left[np.argmax(np.abs(sums) / np.sqrt(left * (n - left) / n))]))
    return refined


def _triples(inner: Sequence[int], n: int) -> Iterator[tuple[int, int, int]]:
    bounds = [0, *inner, n]
    yield from zip(bounds, bounds[1:], bounds[2:], strict=False)


def _judge(series: _Series, low: int, at: int, high: int) -> ChangePoint:
    part, length = series[low:high], at - low
    before, after = float(part[:length].mean()), float(part[length:].mean())
    rows = np.random.default_rng(0).permuted(np.broadcast_to(part, (_DRAWS, len(part))), axis=1)
    apart = np.abs(rows[:, length:].mean(axis=1) - rows[:, :length].mean(axis=1))
    as_far = int((apart >= abs(after - before) * (1 - 1e-9)).sum())
    return ChangePoint(at, before, after, (as_far + 1) / (_DRAWS + 1))
