"""A run for github-action-benchmark, in its format ``customSmallerIsBetter``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rnnbench.escaping import safe
from rnnbench.records import TIMED, Measure, Record
from rnnbench.results.reading import RunResults
from rnnbench.stats import Interval

_US = 1e6


def github_action_benchmark(results: RunResults) -> bytes:
    """Microseconds per call of each phase, and bytes of peak memory, of each ``ok`` case.

    ``name`` is the case key and the phase or memory; ``range`` is half the 99 % interval ("± 12.3"), missing
    where no usable one is known; ``extra`` says what doubts there are. Scores are not in it: of
    most of them, more is better.
    """
    estimates = results.estimates
    entries = [
        entry
        for record in results.records
        if record.status == "ok"
        for entry in (*_times(record, estimates), *_peaks(record))
    ]
    return json.dumps(entries, ensure_ascii=False, allow_nan=False, indent=1).encode()


def _times(record: Record, estimates: Mapping[tuple[str, Measure], Interval]) -> Iterator[dict[str, Any]]:
    for phase in TIMED:
        time = estimates.get((record.case.key, phase))
        if time is not None:
            entry = _entry(record, phase, "us", time.value * _US)
            yield entry | {"extra": _extra(record, time)} | _range(time)


def _peaks(record: Record) -> Iterator[dict[str, Any]]:
    for name, value in record.memory.items():
        if name.endswith("_peak_bytes"):
            yield _entry(record, name.removesuffix("_bytes"), "bytes", value)


def _entry(record: Record, what: str, unit: str, value: float) -> dict[str, Any]:
    return {"name": safe(f"{record.case.key} {what}"), "unit": unit, "value": value}


def _range(time: Interval) -> dict[str, str]:
    if not time.usable or time.low is None or time.high is None:
        return {}
    return {"range": f"± {(time.high - time.low) / 2 * _US:.6g}"}


def _extra(record: Record, time: Interval) -> str:
    words = list(dict.fromkeys(finding.word for finding in record.findings))
    processes = f"{time.processes} process{'' if time.processes == 1 else 'es'}"
    return "\n".join([safe(record.path), processes, *([f"findings: {', '.join(words)}"] if words else [])])
