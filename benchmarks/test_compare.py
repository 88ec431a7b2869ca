"""How long ``rnnbench compare`` takes on two runs of 10,000 records each: at most 2 s is the goal."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest

from rnnbench.cli.comparing import Asked, compare
from rnnbench.compare import compare_runs
from rnnbench.records import Block, Case, Record, Run
from rnnbench.results.encoding import encode
from rnnbench.results.reading import BLOCKS, RECORDS, RUN, read

CASES, PROCESSES, ROUNDS = 10_000, 3, 2


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs with the cases in common: two phases, three processes, two rounds, memory; no scores."""
    out = tmp_path_factory.mktemp("runs")
    measure = ("forward", "train_step", "memory")
    cases = [
        Case("adding", 10 + number % 50, "lstm", "numpy", "native", hidden=1 + number // 50, measure=measure)
        for number in range(CASES)
    ]
    machine = {"cpu": "one", "cores": 2, "python": "3.11"}
    for name, factor in (("base", 1.0), ("head", 1.02)):
        folder = out / name
        folder.mkdir()
        run = Run(name, "large", "", (), f"2026-01-01T00:00:0{factor:.0f}", "0.1.0", ROUNDS, PROCESSES, None,
                  machine, {})  # fmt: skip
        (folder / RUN).write_bytes(encode(run))
        memory = {"parameters_bytes": 80_000, "host_peak_bytes": 9 << 20}
        phases = {"import_s": 1.4, "build_s": 0.02, "first_forward_s": 0.3, "first_train_step_s": 0.9}
        with (folder / RECORDS).open("wb") as records, (folder / BLOCKS).open("wb") as blocks:
            for case in cases:
                record = Record(case, "ok", parameters=20_000, phases=phases, memory=memory, compilations=0)
                records.write(encode(record) + b"\n")
                for phase in measure[:2]:
                    for process in range(PROCESSES):
                        for number in range(ROUNDS):
                            seconds = 0.02 * factor * (1 + 0.01 * process + 0.001 * number)
                            block = Block(case.key, phase, process, number, 0, 7, seconds)
                            blocks.write(encode(block) + b"\n")
    return out / "base", out / "head"


def test_compare_command(benchmark: Any, runs: tuple[Path, Path]) -> None:
    """From files to a table and verdict.json, without the start of the interpreter."""

    def command() -> int:
        with contextlib.redirect_stdout(io.StringIO()):
            return compare(str(runs[0]), str(runs[1]), Asked())

    assert benchmark.pedantic(command, rounds=3, warmup_rounds=1) == 0


def test_compare_runs(benchmark: Any, runs: tuple[Path, Path]) -> None:
    """The verdicts alone, from runs that have been read."""
    base, head = read(runs[0]), read(runs[1])
    found = benchmark.pedantic(lambda: compare_runs(base, head), rounds=3, warmup_rounds=1)
    assert found.count("within_spread") == 2 * CASES


def test_reading(benchmark: Any, runs: tuple[Path, Path]) -> None:
    """Of the time of the command, what the reading of one of the two runs takes."""
    assert len(benchmark.pedantic(lambda: read(runs[0]), rounds=3, warmup_rounds=1).records) == CASES
