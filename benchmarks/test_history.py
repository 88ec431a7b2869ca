"""Results of 10,000 records, read: ``history``, ``load`` and the command as a whole process."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import rnnbench
from rnnbench.history import history
from rnnbench.records import Block, Case, Parity, Record, Run
from rnnbench.results import create
from rnnbench.results.reading import find_runs, read

RUNS, CASES, ROUNDS = 100, 100, 5
PHASES = ("forward", "train_step")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 runs of 100 cases, each with two phases of five rounds: 10,000 records, 100,000 blocks."""
    results = tmp_path_factory.mktemp("results")
    for number in range(RUNS):
        _write(results, number)
    return results


def test_load(benchmark: Any, folder: Path) -> None:
    """``rnnbench.load``: at most 1 s is the goal."""
    table = benchmark.pedantic(lambda: rnnbench.load(folder), rounds=5, warmup_rounds=1)
    assert len(table) == RUNS * CASES


def test_history(benchmark: Any, folder: Path) -> None:
    """Every case over all runs, change points searched: with the reading, at most 2 s is the goal."""

    def read_all() -> int:
        return len(history([read(run) for run in find_runs([folder])]))

    assert benchmark.pedantic(read_all, rounds=3, warmup_rounds=1) == CASES


def test_history_command(benchmark: Any, folder: Path) -> None:
    """``rnnbench history``, as a whole process: at most 2 s is the goal."""
    program = str(Path(sys.executable).with_name("rnnbench"))
    words = [program, "history", str(folder)]
    benchmark.pedantic(lambda: subprocess.run(words, check=True, capture_output=True), rounds=3)


def _write(results: Path, number: int) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)
    run = Run(
        name=f"run-{number:03}",
        suite="big",
        about="",
        command=(),
        started=start.isoformat(),
        rnnbench="0.1.0",
        rounds=ROUNDS,
        processes=1,
        budget_s=None,
        machine={"cpu": "one"},
        environments={},
    )
    record = Record(
        Case("copy", 20, "lstm", "torch", "native", measure=PHASES),
        "ok",
        path="oneDNN LSTM",
        parameters=40_000,
        parity=Parity("float32", {"y": 0.1}),
        phases={"import_s": 1.0, "build_s": 0.1},
        memory={"host_peak_bytes": 1 << 29},
        compilations=0,
    )
    with create(results / run.name, run) as writer:
        for hidden in range(1, CASES + 1):
            case = replace(record.case, hidden=hidden)
            writer.record(replace(record, case=case))
            for phase in PHASES:
                for at in range(ROUNDS):
                    seconds = 0.02 * (1 + 0.03 * ((number * 7919 + hidden * 31 + at * 17) % 101) / 101)
                    writer.block(Block(case.key, phase, 0, at, 0, 20, seconds))
