"""What the harness adds: the median of a block ÷ a bare loop of the same call, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnnbench.errors import RnnbenchError

ROUNDS = 40
_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Overhead:
    """Block ÷ bare loop: 1.00 is none. ``low`` and ``high`` are the 10th and 90th percentile of the pairs."""

    median: float
    low: float
    high: float
    pairs: int


def measure_overhead(phase: str = "forward", rounds: int = ROUNDS) -> Overhead:
    """In a fresh process. Raises ``RnnbenchError`` where that fails."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "rnnbench.doctor.bare_loop", phase, str(rounds)],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RnnbenchError(f"the overhead could not be measured within {_LIMIT_S:.0f} s") from None
    if done.returncode != 0:
        raise RnnbenchError(f"the overhead could not be measured: {done.stderr.strip()[-300:]}")
    return summarise(json.loads(done.stdout))


def summarise(ratios: Sequence[float]) -> Overhead:
    """Median and percentiles."""
    low, median, high = (float(value) for value in np.percentile(ratios, [10, 50, 90]))
    return Overhead(median, low, high, len(ratios))
