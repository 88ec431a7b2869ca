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
from rnnbench.stacked import Stack
from rnnbench.stats import Interval, summarize

_Row = dict[str, Any]
_FROM_RUN = ("name", "suite", "started", "protocol")
_FROM_CASE = ("key", *(field.name for field in fields(Case) if field.name not in ("train", "measure")))
_FROM_TRAIN = tuple(field.name for field in fields(Train))
_FROM_RECORD = ("status", "reason", "path", "step_path", "parameters", "compilations")
_TOLD = (
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
_MEASURED = (
    *(name for of in (_OF_PHASE, _OF_PERCENTILE) for names in of.values() for name in names), "parity_worst",
    *_OF_SCORE, *DERIVED,
)  # fmt: skip
_ABSENT = {f"{phase}_processes": 0 for phase in TIMED}
"""What stands for no value, where that is not None."""
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
        # one run after the other: what a hundred thousand blocks take up is used again
        return tabulate(map(open_run, folders))


def tabulate(runs: Iterable[RunResults]) -> pd.DataFrame:
    """As ``load``, of runs that have been read."""
    told: list[tuple[Any, ...]] = []
    rows: list[_Row] = []
    for results in runs:
        steps = _steps(results.blocks)
        derived = derive(results, {at: time.value for at, time in results.estimates.items()})
        told += [_told(results.run, record) for record in results.records]
        rows += [
            _measured(record, results.estimates, steps) | derived[record.case.key]
            for record in results.records
        ]
    table = pd.DataFrame(_columns(told, rows), copy=False)
    for name in ("parameters", "compilations", "seeds", "train_clip", "train_target", "train_window"):
        # all None would be a column of objects, which Parquet cannot type
        table[name] = pd.to_numeric(table[name])
    return table


def _columns(told: Sequence[tuple[Any, ...]], rows: Sequence[_Row]) -> dict[str, Sequence[Any]]:
    """The fixed columns in their order, then phases and memory as they occur, by name."""
    columns: dict[str, Sequence[Any]] = dict.fromkeys(_TOLD, ())
    columns.update(zip(_TOLD, zip(*told, strict=True), strict=bool(told)))
    occurring = set().union(*rows)
    for name in (*_MEASURED, *sorted(occurring.difference(_MEASURED))):
        absent = _ABSENT.get(name)
        # of a hundred columns most are absent as a whole
        columns[name] = [row.get(name, absent) for row in rows] if name in occurring else [absent] * len(rows)
    return columns


def percentile_timings(blocks: Iterable[Block], name: str) -> Timings:
    """``p50_s`` or ``p99_s`` of blocks in the place of their seconds per call; others left out."""
    values = ((block, getattr(block, name)) for block in blocks if block.phase == "stream")
    return timings_of(
        structs.replace(block, loops=1, seconds=value) for block, value in values if value is not None
    )


def _steps(blocks: Iterable[Block]) -> Mapping[str, Mapping[str, Interval]]:
    """Percentile -> case key -> seconds of a single time step."""
    streamed = [block for block in blocks if block.phase == "stream"]
    found = {}
    for name in _OF_PERCENTILE:
        timings = percentile_timings(streamed, name)
        summaries = summarize(Stack(list(timings.values())))
        found[name] = {at[0]: summary.interval() for at, summary in zip(timings, summaries, strict=True)}
    return found


def _told(run: Run, record: Record) -> tuple[Any, ...]:
    """The columns that every record has a value for."""
    case = record.case
    return (
        *_run_fields(run),
        *_case_fields(case),
        *_train_fields(case.train),
        ",".join(case.measure),
        *_record_fields(record),
        "; ".join([finding.word for finding in record.findings]),
    )


def _measured(
    record: Record,
    times: Mapping[tuple[str, Measure], Interval],
    steps: Mapping[str, Mapping[str, Interval]],
) -> _Row:
    """The other columns, those that have a value."""
    row: _Row = {}
    key = record.case.key
    for phase in TIMED:
        time = times.get((key, phase))
        if time is not None:
            row |= zip(_OF_PHASE[phase], (time.value, time.low, time.high, time.processes), strict=True)
    for name, of_cases in steps.items():
        time = of_cases.get(key)
        if time is not None:
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
