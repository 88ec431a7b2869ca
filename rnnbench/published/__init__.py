"""Figures that others have published, to stand beside a run of the suite that repeats their shapes.

Read off the primary repositories (stefbraun/rnn_benchmarks at eb6358a, its charts; baidu-research/DeepBench
at da81ba7, its spreadsheets), each for one training step or one call. They were measured on other machines,
years ago, with other rules, so they are shown and never compared: no ratio, no rank.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pydantic import TypeAdapter

from rnnbench.records import Case, Measure


@dataclass(frozen=True, slots=True)
class Published:
    """One figure. ``year`` is "" where the source does not say; ``shape`` is the source's own name."""

    suite: str
    shape: str
    cell: str
    layers: int
    bidirectional: str
    hidden: int
    batch: int
    length: int
    phase: Measure
    implementation: str
    milliseconds: float
    machine: str
    year: str

    @property
    def seconds(self) -> float:
        """The same in seconds."""
        return self.milliseconds / 1000


def published_beside(suite: str, case: Case) -> Sequence[Published]:
    """What was published for a case's shape, fastest first; [] where ``suite`` repeats nobody's benchmark.

    The shapes of ``braun2018`` belong to ``braun2018_gpu`` too, and so on.
    """
    shape = (
        case.cell, case.layers, case.bidirectional, case.hidden, case.batch, case.length,
    )  # fmt: skip
    found = [
        figure
        for figure in _figures()
        if (suite == figure.suite or suite.startswith(figure.suite + "_"))
        and shape == (
            figure.cell, figure.layers, figure.bidirectional, figure.hidden, figure.batch, figure.length,
        )
        and figure.phase in case.measure
    ]  # fmt: skip
    return sorted(found, key=lambda figure: figure.seconds)


@cache
def _figures() -> tuple[Published, ...]:
    text = (files("rnnbench.published") / "figures.csv").read_text("utf-8")
    return TypeAdapter(tuple[Published, ...]).validate_python(tuple(csv.DictReader(text.splitlines())))
