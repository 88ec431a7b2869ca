"""Runs as one tidy table: a row per record, a column per field. The first import of pandas is here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import pandas as pd
from msgspec import structs

from rnnbench.records import TIMED, Block, Case, Measure, Record, Run, Score, Train
from rnnbench.results.deriving import DERIVED, derive
from rnnbench.results.doubts import open_run
from rnnbench.results.reading import RunResults, Timings, collection_paused, find_runs
from rnnbench.results.reading import timings as timings_of
from rnnbench.stats import estimate

_Row = dict[str, Any]
_FROM_RUN = ("name", "suite", "started", "protocol")
_FROM_CASE = ("key", *(field.name for field in fields(Case) if field.name not in ("train", "measure")))
_FROM_TRAIN = tuple(field.name for field in fields(Train))
_FROM_RECORD = ("status", "reason", "path", "step_path", "parameters", "compilations")
_OF_ALL = (
    "run", *_FROM_RUN[1:], *_FROM_CASE, *(f"train_{name}" for name in _FROM_TRAIN), "measure", *_FROM_RECORD,
    "findings",
)  # fmt: skip
_OF_PHASE = {
    phase: (f"{phase}_median_s", f"{phase}_low_s", f"{phase}_high_s", f"{phase}_processes") for phase in TIMED
}
_OF_PERCENTILE = {
    "p50_s": ("stream_p50_s", "stream_p50_low_s", "stream_p50_high_s"),
    "p99_s": ("stream_p99_s", "stream_p99_low_s", "stream_p99_high_s"),
}
_OF_SCORE = (
    "metric", "higher_is_better", "score_mean", "score_min", "score_max", "seeds", "trivial", "trivial_name",
    "simple", "simple_name", "trained_on", "follows",
)  # fmt: skip
# all fields in one go: results have ten thousand records
_run_fields, _case_fields, _train_fields, _record_fields = (
    attrgetter(*names) for names in (_FROM_RUN, _FROM_CASE, _FROM_TRAIN, _FROM_RECORD)
)


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
    rows: list[_Row] = []
    for results in runs:
        timings = results.timings
        steps = {name: percentile_timings(results.blocks, name) for name in _OF_PERCENTILE}
        found = [_row(results.run, record, timings, steps) for record in results.records]
        medians: dict[tuple[str, Measure], float] = {
            (row["key"], phase): row[f"{phase}_median_s"]
            for row in found
            for phase in TIMED
            if f"{phase}_median_s" in row
        }
        derived = derive(results, medians)
        for row in found:
            row |= derived[row["key"]]
        rows += found
    absent = {f"{phase}_processes": 0 for phase in TIMED}
    table = pd.DataFrame(
        {name: [row.get(name, absent.get(name)) for row in rows] for name in _columns(rows)}, copy=False
    )
    for name in ("parameters", "compilations", "seeds", "train_clip", "train_target", "train_window"):
        # all None would be a column of objects, which Parquet cannot type
        table[name] = pd.to_numeric(table[name])
    return table


def _columns(rows: Iterable[_Row]) -> list[str]:
    """The fixed columns in their order, then phases and memory as they occur, by name."""
    timed = [name for of in (_OF_PHASE, _OF_PERCENTILE) for names in of.values() for name in names]
    fixed = [*_OF_ALL, *timed, "parity_worst", *_OF_SCORE, *DERIVED]
    extra = sorted(set().union(*rows) - set(fixed))
    return fixed + extra


def percentile_timings(blocks: Iterable[Block], name: str) -> Timings:
    """``p50_s`` or ``p99_s`` of blocks in the place of their seconds per call; others left out."""
    values = ((block, getattr(block, name)) for block in blocks if block.phase == "stream")
    return timings_of(
        structs.replace(block, loops=1, seconds=value) for block, value in values if value is not None
    )


def _row(run: Run, record: Record, timings: Timings, steps: Mapping[str, Timings]) -> _Row:
    """The columns that have a value."""
    case = record.case
    row: _Row = dict(
        zip(
            _OF_ALL,
            (
                *_run_fields(run),
                *_case_fields(case),
                *_train_fields(case.train),
                ",".join(case.measure),
                *_record_fields(record),
                "; ".join([finding.word for finding in record.findings]),
            ),
            strict=True,
        )
    )
    for phase in TIMED:
        samples = timings.get((case.key, phase))
        if samples:
            time = estimate(samples)
            row |= zip(_OF_PHASE[phase], (time.value, time.low, time.high, time.processes), strict=True)
    for name, percentiles in steps.items():
        samples = percentiles.get((case.key, "stream"))
        if samples:
            time = estimate(samples)
            row |= zip(_OF_PERCENTILE[name], (time.value, time.low, time.high), strict=True)
    if record.parity:
        row["parity_worst"] = max(record.parity.worst.values(), default=None)
    if record.score:
        row |= zip(_OF_SCORE, _score_values(record.score), strict=True)
    row |= record.phases
    row |= record.memory
    return row


def _score_values(score: Score) -> tuple[Any, ...]:
    finals = score.values
    mean = sum(finals) / len(finals) if finals else None
    return (
        score.metric, score.higher_is_better, mean, min(finals, default=None), max(finals, default=None),
        len(finals), score.trivial, score.trivial_name, score.simple, score.simple_name, score.trained_on,
        score.follows,
    )  # fmt: skip
