"""A block of the bench against a bare loop of the same call, in alternation: a worker's side of ``overhead``.

Run as ``python -m rnnbench.doctor.bare_loop PHASE ROUNDS``: pins itself like a worker before NumPy is loaded,
and prints the ratios as JSON for the parent that started it.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict

from rnnbench.measuring.launch import choose_cores, pin

LOOPS = 20


def compare_with_bare_loop(phase: str, rounds: int) -> list[float]:
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
        gain=1.0,
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
    sys.stdout.write(json.dumps(compare_with_bare_loop(sys.argv[1], int(sys.argv[2]))))
