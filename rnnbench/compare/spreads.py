"""By how much runs of the same code differ on one machine: learned from earlier runs, never assumed small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnnbench.compare.verdicts import Spread
from rnnbench.judging import spread_between
from rnnbench.records import Measure
from rnnbench.results.reading import RunResults
from rnnbench.stats import summarize

Spreads = Mapping[str, Mapping[Measure, Spread]]
"""Case key -> phase -> how much runs of it differ."""


def spreads_of(runs: Sequence[RunResults]) -> Spreads:
    """What ``runs``, all measured on like terms, tell; a case of fewer than three is left out."""
    if len(runs) < 3:
        return {}
    values: dict[tuple[str, Measure], list[float]] = {}
    for run in runs:
        timings = {at: samples for at, samples in run.timings().items() if any(samples.values())}
        for at, summary in zip(timings, summarize(list(timings.values())), strict=True):
            values.setdefault(at, []).append(summary.seconds)
    found: dict[str, dict[Measure, Spread]] = {}
    for (key, phase), times in values.items():
        share = spread_between(times)
        if share is not None:
            found.setdefault(key, {})[phase] = Spread(share, len(times))
    return found
