"""By how much runs of the same code differ on one machine: learned from earlier runs, never assumed small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnnbench.compare.fingerprints import unlike_workers
from rnnbench.compare.verdicts import Spread
from rnnbench.judging import spread_between
from rnnbench.records import Measure
from rnnbench.results.reading import RunResults

Spreads = Mapping[str, Mapping[Measure, Spread]]
"""Case key -> phase -> how much runs of it differ."""


def spreads_of(runs: Sequence[RunResults], head: RunResults) -> Spreads:
    """What ``runs``, measured on the machine of ``head``, tell; a case of fewer than three is left out.

    Only cases whose workers had the versions and settings of ``head``: another framework is no noise.
    """
    if len(runs) < 3:
        return {}
    values: dict[tuple[str, Measure], list[float]] = {}
    for run in runs:
        like = _like(run, head)
        for at, summary in run.summaries.items():
            if at[0] in like:
                values.setdefault(at, []).append(summary.seconds)
    found: dict[str, dict[Measure, Spread]] = {}
    for (key, phase), times in values.items():
        share = spread_between(times)
        if share is not None:
            found.setdefault(key, {})[phase] = Spread(share, len(times))
    return found


def _like(run: RunResults, head: RunResults) -> set[str]:
    """Keys of the cases whose workers were alike in both runs."""
    alike: dict[tuple[object, ...], bool] = {}
    found = set()
    for record in run.records:
        case = record.case
        worker = case.backend, case.device, case.dtype, case.threads, case.env
        if worker not in alike:
            alike[worker] = not unlike_workers(run.run, case, head.run, case)
        if alike[worker]:
            found.add(case.key)
    return found
