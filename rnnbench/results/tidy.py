"""Runs as one tidy table: a row per record, a column per field. The first import of pandas is here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from rnnbench.records import TIMED, Block, Case, Measure, Record, Run, Score, Train
from rnnbench.results.deriving import derive, no_columns
from rnnbench.results.doubts import open_run
from rnnbench.results.reading import RunResults, Timings, collection_paused, find_runs
from rnnbench.results.reading import timings as timings_of
from rnnbench.stats import Interval, estimate

CASE_FIELDS = tuple(field.name for field in fields(Case) if field.name not in ("train", "measure"))
PERCENTILES = ("p50_s", "p99_s")
TRAIN_FIELDS = tuple(field.name for field in fields(Train))


def load(*paths: str | Path) -> pd.DataFrame:
    """All records of the runs at or below ``paths`` (default: ``results``), one row each.

    Columns: run, suite, started, protocol, key; every field of the case (those of ``train`` as
    ``train_*``); status, reason, path, parameters, compilations, findings; ``{phase}_median_s`` with its
    99 % bounds ``{phase}_low_s`` and ``{phase}_high_s`` (missing for a screening), and
    ``{phase}_processes``; of single time steps ``stream_p50_s`` and ``stream_p99_s``, likewise from the
    blocks' percentiles, with their bounds; what ``deriving`` makes of them (``{phase}_steps_per_s``,
    ``{phase}_peak_share``, ...); single timings ``*_s``; memory ``*_bytes``; parity_worst; metric,
    score_mean, score_min, score_max, seeds, and the baselines trivial and simple. Times are in seconds.

    Raises ``RequestError`` for a path without runs.
    """
    folders = find_runs(Path(path) for path in paths or ("results",))
    with collection_paused():
        return tabulate([open_run(folder) for folder in folders])


def tabulate(runs: Sequence[RunResults]) -> pd.DataFrame:
    """As ``load``, of runs that have been read."""
    rows: list[dict[str, Any]] = []
    for results in runs:
        timings = results.timings
        steps = {name: percentile_timings(results.blocks, name) for name in PERCENTILES}
        found = [_row(results.run, record, timings, steps) for record in results.records]
        medians: dict[tuple[str, Measure], float] = {
            (row["key"], phase): row[f"{phase}_median_s"]
            for row in found
            for phase in TIMED
            if row[f"{phase}_median_s"] is not None
        }
        derived = derive(results, medians)
        rows += [row | derived[row["key"]] for row in found]
    table = pd.DataFrame.from_records(rows, columns=_columns(rows))
    for name in ("parameters", "compilations", "seeds", "train_clip", "train_target", "train_window"):
        # all None would be a column of objects, which Parquet cannot type
        table[name] = pd.to_numeric(table[name])
    return table


def _columns(rows: Iterable[dict[str, Any]]) -> list[str]:
    """The fixed columns in their order, then phases and memory as they occur, by name."""
    fixed = list(_row(None, None, {}, {name: {} for name in PERCENTILES}) | no_columns())
    extra = sorted({name for row in rows for name in row} - set(fixed))
    return fixed + extra


def percentile_timings(blocks: Iterable[Block], name: str) -> Timings:
    """``p50_s`` or ``p99_s`` of blocks in the place of their seconds per call; others left out."""
    values = ((block, getattr(block, name)) for block in blocks if block.phase == "stream")
    return timings_of(replace(block, loops=1, seconds=value) for block, value in values if value is not None)


def _row(
    run: Run | None, record: Record | None, timings: Timings, steps: Mapping[str, Timings]
) -> dict[str, Any]:
    case = record.case if record else None
    key = case.key if case else ""
    row: dict[str, Any] = {"run": run and run.name, "suite": run and run.suite}
    row |= {"started": run and run.started, "protocol": run and run.protocol, "key": key}
    row |= {name: getattr(case, name, None) for name in CASE_FIELDS}
    train = case.train if case else None
    row |= {f"train_{name}": getattr(train, name, None) for name in TRAIN_FIELDS}
    row["measure"] = ",".join(case.measure) if case else None
    for name in ("status", "reason", "path", "step_path", "parameters", "compilations"):
        row[name] = getattr(record, name, None)
    row["findings"] = "; ".join(finding.word for finding in record.findings) if record else None
    for phase in TIMED:
        samples = timings.get((key, phase))
        time = estimate(samples) if samples else None
        row |= _columns_of(time, f"{phase}_median_s", phase)
        row[f"{phase}_processes"] = time.processes if time else 0
    for name, percentiles in steps.items():
        samples = percentiles.get((key, "stream"))
        time = estimate(samples) if samples else None
        row |= _columns_of(time, f"stream_{name}", f"stream_{name.removesuffix('_s')}")
    row["parity_worst"] = (
        max(record.parity.worst.values(), default=None) if record and record.parity else None
    )
    row |= _score(record.score if record else None)
    if record:
        row |= record.phases
        row |= record.memory
    return row


def _columns_of(time: Interval | None, value: str, bound: str) -> dict[str, float | None]:
    found = (time.value, time.low, time.high) if time else (None, None, None)
    return dict(zip((value, f"{bound}_low_s", f"{bound}_high_s"), found, strict=True))


def _score(score: Score | None) -> dict[str, Any]:
    finals = score.values if score else ()
    return {
        "metric": score and score.metric,
        "higher_is_better": score and score.higher_is_better,
        "score_mean": sum(finals) / len(finals) if finals else None,
        "score_min": min(finals, default=None),
        "score_max": max(finals, default=None),
        "seeds": len(finals) if score else None,
        "trivial": score and score.trivial,
        "trivial_name": score and score.trivial_name,
        "simple": score and score.simple,
        "simple_name": score and score.simple_name,
        "trained_on": score and score.trained_on,
        "follows": score and score.follows,
    }
