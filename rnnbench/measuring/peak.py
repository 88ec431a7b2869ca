"""The most that this machine gives a matrix product: what a network's speed can be held against."""

from __future__ import annotations

import time
from collections.abc import Callable

LEAST_S = 0.02
REPEATS = 5
SMALLEST, LARGEST = 256, 8192


def measure_peak(product: Callable[[int], Callable[[], None]]) -> float | None:
    """FLOP/s of the best of square products (2·n³), n doubled until one takes 20 ms.

    ``product(n)`` gives a call that multiplies two (n,n) matrices and waits for the result. The best and not
    the median: disturbances only ever slow a product down. One that raises (no such dtype on this device, not
    enough memory) ends it with what was reached; None where that is nothing.
    """
    best, size = None, SMALLEST
    while True:
        try:
            call = product(size)
            call()
            seconds = min(_clock(call) for _ in range(REPEATS))
        except Exception:  # whatever a framework raises: its networks may run all the same
            return best
        best = max(best or 0.0, 2 * size**3 / seconds)
        if seconds >= LEAST_S or size >= LARGEST:
            return best
        size *= 2


def _clock(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
