"""What the harness adds: a block of the bench against a bare loop of the same call, in alternation.

Run as ``python -m rnnbench.doctor.overhead PHASE``: a process of its own, pinned like a worker before NumPy
is loaded. Prints the ratios as JSON, for the parent that started it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rnnbench.errors import RnnbenchError
from rnnbench.measuring.launch import choose_cores, pin

ROUNDS = 40
LOOPS = 20
_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Overhead:
    """Block ÷ bare loop: 1.00 is none. ``low`` and ``high`` are the 10th and 90th percentile of the pairs."""

    median: float
    low: float
    high: float
    pairs: int


def measure_overhead(phase: str = "forward") -> Overhead:
    """In a fresh process. Raises ``RnnbenchError`` where that fails."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "rnnbench.doctor.overhead", phase],
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    if done.returncode != 0:
        raise RnnbenchError(f"the overhead could not be measured: {done.stderr.strip()[-300:]}")
    return summarise(json.loads(done.stdout))


def summarise(ratios: Sequence[float]) -> Overhead:
    """Median and percentiles."""
    import numpy as np

    low, median, high = (float(value) for value in np.percentile(ratios, [10, 50, 90]))
    return Overhead(median, low, high, len(ratios))


def compare_with_bare_loop(phase: str, rounds: int = ROUNDS) -> list[float]:
    """Block ÷ bare loop of an LSTM of the NumPy backend, one ratio for each round; in this process."""
    # NumPy is loaded here, after this process was pinned
    from rnnbench.contracts import NetworkSpec, Settings, TrainingSpec
    from rnnbench.measuring.bench import open_bench

    bench, _ = open_bench("numpy", asdict(Settings()), [], [])
    bench.build(
        id="network",
        spec=asdict(NetworkSpec("lstm", 2, 32, 1, "last", "mse")),
        training=asdict(TrainingSpec()),
        implementation="native",
        task="adding",
        length=50,
        size=32,
        init="glorot",
        forget_bias=1.0,
        seed=0,
    )
    built = bench._built["network"]
    network, data = built.network, built.data
    call = {"forward": network.forward, "train_step": network.train_step}[phase]

    def bare() -> float:
        network.sync(call(data))
        start = time.perf_counter()
        for _ in range(LOOPS):
            value = call(data)
        network.sync(value)
        return time.perf_counter() - start

    def harness() -> float:
        return float(bench.block("network", phase, LOOPS)["seconds"])

    harness(), bare()
    ratios = []
    for number in range(rounds):
        first, second = (harness, bare) if number % 2 else (bare, harness)
        times = {first: first(), second: second()}
        ratios.append(times[harness] / times[bare])
    return ratios


if __name__ == "__main__":
    pin(choose_cores(1))
    sys.stdout.write(json.dumps(compare_with_bare_loop(sys.argv[1])))
