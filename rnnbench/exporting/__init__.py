"""Runs in the formats of other tools, a module for each. Nothing here prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rnnbench.errors import RequestError, nearest
from rnnbench.exporting.github_action import github_action_benchmark
from rnnbench.exporting.junit import junit
from rnnbench.exporting.pytest_benchmark import pytest_benchmark
from rnnbench.exporting.summary import summary
from rnnbench.exporting.tensorboard import tensorboard
from rnnbench.results.exporting import FORMATS as TABLES
from rnnbench.results.exporting import export as table
from rnnbench.results.reading import RunResults

FILES: Mapping[str, str] = {
    "csv": "records.csv",
    "jsonl": "records.export.jsonl",
    "parquet": "records.parquet",
    "pytest-benchmark": "pytest-benchmark.json",
    "github-action-benchmark": "github-action-benchmark.json",
    "junit": "junit.xml",
    "summary": "summary.md",
    "tensorboard": "tensorboard",
}
"""Format -> the name that its file has beside a run; tensorboard is a folder."""

_OF_ONE_RUN: Mapping[str, Callable[[RunResults], bytes]] = {
    "pytest-benchmark": pytest_benchmark,
    "github-action-benchmark": github_action_benchmark,
    "summary": summary,
}


def export(runs: Sequence[RunResults], format: str, path: Path) -> None:
    """Write runs to ``path``, which tensorboard makes a folder.

    Raises ``RequestError`` for an unknown format, where one takes a single run and gets several, and where
    ``path`` cannot be written.
    """
    check_format(format, len(runs))
    if format == "tensorboard":
        tensorboard(runs, path)
        return
    if format in TABLES:
        content = table(runs, format)
    else:
        content = junit(runs) if format == "junit" else _OF_ONE_RUN[format](runs[0])
    try:
        path.write_bytes(content)
    except OSError as error:
        raise RequestError(f"cannot be written: {error.strerror}", where=str(path)) from None


def check_format(format: str, runs: int) -> None:
    """Raise ``RequestError`` for an unknown format, or one of a single run that is given several."""
    if format not in FILES:
        raise RequestError(f'no format "{format}". {nearest(format, FILES)}', where="--format")
    if format in _OF_ONE_RUN and runs > 1:
        raise RequestError(f"takes one run, and these are {runs}", where=f"--format {format}")
