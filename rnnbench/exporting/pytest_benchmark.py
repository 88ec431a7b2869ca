"""A run as the JSON that pytest-benchmark saves, for ``pytest-benchmark compare`` and what builds on it.

Times only, and as one pool: pytest-benchmark knows neither processes nor turns, so what it concludes of two
such files is as weak as any comparison of stored times.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, median, stdev
from typing import Any

from rnnbench.escaping import safe
from rnnbench.records import Case, Record
from rnnbench.results.reading import RunResults


def pytest_benchmark(results: RunResults) -> bytes:
    """One benchmark for each phase of each ``ok`` case: the seconds per call of all its blocks.

    ``name`` is the case key and, in brackets, the phase; cases that can be compared share a ``group``. Names
    are printed by the tool as they are, so controls in them are escaped; ``params`` has them as they are.
    """
    run = results.run
    machine = {
        "node": "unknown",
        "processor": run.machine.get("cpu", "unknown"),
        "machine": run.machine.get("architecture", "unknown"),
        "system": run.machine.get("os", "unknown"),
        "python_version": run.machine.get("python", "unknown"),
        "rnnbench": dict(run.machine),
    }
    content = {
        "machine_info": machine,
        "commit_info": _commit(results),
        "benchmarks": list(_benchmarks(results)),
        "datetime": run.started,
        "version": f"rnnbench-{run.rnnbench}",
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1, default=str).encode()


def _commit(results: RunResults) -> dict[str, Any]:
    """The commit that all workers were of; "unknown", as pytest-benchmark has it, where they do not agree."""
    revisions = [environment.get("revision") or {} for environment in results.run.environments.values()]
    agreed = len({revision.get("commit") for revision in revisions}) == 1
    revision: Mapping[str, Any] = revisions[0] if agreed else {}
    return {
        "id": revision.get("commit") or "unknown",
        "branch": revision.get("branch") or "unknown",
        "dirty": bool(revision.get("dirty", False)),
        "time": None,
        "project": results.run.suite,
    }


def statistics_of(times: Sequence[float]) -> dict[str, Any]:
    """The columns of pytest-benchmark, of seconds per call.

    Quartiles by the methods 2 (even) and 3 (odd) of Wikipedia's "Quartile", which pytest-benchmark uses.
    """
    data = sorted(times)
    n, total = len(data), sum(data)
    mean, deviation = fmean(data), stdev(data) if n > 1 else 0.0
    q1, q3 = quartiles(data)
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    beyond_deviation = sum(not mean - deviation <= value <= mean + deviation for value in data)
    beyond_fences = sum(not low <= value <= high for value in data)
    return {
        "min": data[0],
        "max": data[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": n,
        "median": median(data),
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": beyond_fences,
        "stddev_outliers": beyond_deviation,
        "outliers": f"{beyond_deviation};{beyond_fences}",
        "ld15iqr": data[bisect_left(data, low)],
        "hd15iqr": data[bisect_right(data, high) - 1],
        "ops": n / total,
        "total": total,
        "data": list(times),
        "iterations": 1,
    }


def quartiles(data: Sequence[float]) -> tuple[float, float]:
    """Of sorted numbers: the medians of the halves; of an odd count, a quarter of the way to a neighbour."""
    n = len(data)
    if n == 1:
        return data[0], data[0]
    if n % 2 == 0:
        return median(data[: n // 2]), median(data[n // 2 :])
    k = n // 4
    if n % 4 == 1:
        return 0.25 * data[k - 1] + 0.75 * data[k], 0.75 * data[3 * k] + 0.25 * data[3 * k + 1]
    return 0.75 * data[k] + 0.25 * data[k + 1], 0.25 * data[3 * k + 1] + 0.75 * data[3 * k + 2]


def _benchmarks(results: RunResults) -> Iterator[dict[str, Any]]:
    timings = results.timings
    for record in results.records:
        if record.status != "ok":
            continue
        for phase in record.case.measure:
            rounds = timings.get((record.case.key, phase))
            if rounds:
                times = [time for process in rounds.values() for time in process.values()]
                yield _benchmark(results.run.suite, record, phase, times)


def _benchmark(suite: str, record: Record, phase: str, times: Sequence[float]) -> dict[str, Any]:
    case = record.case
    name = safe(f"{case.key}[{phase}]")
    return {
        "group": safe(f"{_described(case)} {phase}"),
        "name": name,
        "fullname": f"{safe(suite)}::{name}",
        "param": safe(case.key),
        "params": {**asdict(case), "phase": phase},
        "extra_info": {
            "path": record.path,
            "findings": [asdict(finding) for finding in record.findings],
        },
        "options": {"disable_gc": True, "timer": "perf_counter", "warmup": True},
        "stats": statistics_of(times),
    }


def _described(case: Case) -> str:
    return (
        f"{case.task} T{case.length} {case.cell} H{case.hidden} L{case.layers} {case.bidirectional} "
        f"B{case.batch} {case.dtype} threads {case.threads}"
    )
