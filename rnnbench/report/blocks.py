"""The raw blocks behind a time, in words: each of them, or medians and a histogram."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from rnnbench.report.words import counted, seconds
from rnnbench.stats import Samples

BARS = "▁▂▃▄▅▆▇█"
BINS = 16


def raw_blocks(samples: Samples, unit: str, in_full: bool) -> str:
    """A line on all blocks with their histogram, then one per process: its blocks, or its median."""
    processes = {number: list(rounds.values()) for number, rounds in samples.items() if rounds}
    values = [value for each in processes.values() for value in each]
    low, high = min(values), max(values)
    said = [
        f"{counted(len(values), 'block')} of {counted(len(processes), 'process', 'processes')}, "
        f"{_number(low, unit)}–{seconds(high, unit)}: {histogram(values)}"
    ]
    if in_full:
        said += [
            f"process {number}: {' '.join(_number(value, unit) for value in each)}"
            for number, each in processes.items()
        ]
    else:
        medians = ", ".join(_number(median(each), unit) for each in processes.values())
        said.append(f"median of each process: {medians} {unit}")
    return "\n".join(said)


def histogram(values: Sequence[float]) -> str:
    """Bars of equal width from the least to the greatest value; · where there is none."""
    low, high = min(values), max(values)
    counts = [0] * (BINS if high > low else 1)
    for value in values:
        share = (value - low) / (high - low) if high > low else 0.0
        counts[min(int(share * BINS), len(counts) - 1)] += 1
    most = max(counts)
    return "".join(BARS[(count * len(BARS) - 1) // most] if count else "·" for count in counts)


def _number(value: float, unit: str) -> str:
    return seconds(value, unit).removesuffix(f" {unit}")
