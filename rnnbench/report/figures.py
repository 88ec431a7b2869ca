"""The figures of a run: what to draw, and in words, what it shows. ``drawing`` knows how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rnnbench.compare.outcome import Comparison
from rnnbench.report.drawing import draw_heat
from rnnbench.report.flows import flow_figure
from rnnbench.report.forest import forest_figure
from rnnbench.report.lengthwise import memory_against_length, time_against_length
from rnnbench.report.matrix import Field, matrix
from rnnbench.report.overhead import Overhead, overheads
from rnnbench.report.panels import styles
from rnnbench.report.ranking import Ranking, rank_groups
from rnnbench.report.rawblocks import flagged_blocks, other_blocks
from rnnbench.report.scored import learning_curves, score_against_length, speed_against_score
from rnnbench.report.splitting import Figure, network
from rnnbench.report.starts import phase_bars, total_times
from rnnbench.report.timeline import history_figure
from rnnbench.report.words import listed
from rnnbench.results.reading import RunResults

MATRIX = "matrix"
FEW_RECORDS = 1_000
"""Runs of more records have fewer panels on their page: it is to open at once, and to go by mail."""


def most_panels(results: RunResults) -> int:
    """How many panels a figure has on a page, so that it stays small."""
    return 12 if len(results.records) <= FEW_RECORDS else 3


@dataclass(frozen=True)
class Subject:
    """What a report is about: a run; with it a comparison that it is the head of, or other runs beside it."""

    results: RunResults
    comparison: Comparison | None = None
    others: tuple[RunResults, ...] = ()

    @cached_property
    def groups(self) -> tuple[Ranking, ...]:
        """The ranking of the run; of ten thousand records it takes seconds."""
        return rank_groups(self.results)

    @cached_property
    def overheads(self) -> tuple[Overhead, ...]:
        """What a call costs and what a time step adds, of all that was timed at several lengths."""
        return overheads(self.results, self.groups)

    @property
    def stem(self) -> str:
        """The name of its files, but for the ending."""
        return "report" if self.comparison is None else "comparison"


def figures_of(subject: Subject, most: int | None = None) -> tuple[Figure, ...]:
    """The figures of a run, before them those of what stands beside it."""
    beside = []
    if subject.comparison is not None:
        beside.append(forest_figure(subject.comparison, most))
    if subject.others:
        beside.append(history_figure((subject.results, *subject.others), most))
    return (*(figure for figure in beside if figure.panels), *figures(subject, most))


def figures(subject: Subject | RunResults, most: int | None = None) -> tuple[Figure, ...]:
    """Every figure for which the run has numbers, in the order of the page; ``most`` panels of each."""
    if isinstance(subject, RunResults):
        subject = Subject(subject)
    results, groups = subject.results, subject.groups
    rows = {row.label: row.record.case.backend for group in groups for row in group.rows}
    names = sorted(rows)
    cases = styles(names, [rows[name] for name in names])
    cells = styles(sorted({network(group) for group in groups}))
    drawn = (
        time_against_length(groups, cases, subject.overheads, most),
        memory_against_length(groups, cases, most),
        score_against_length(groups, cells, most),
        speed_against_score(groups, cells, most),
        learning_curves(groups, cells, most, by_seconds=False),
        learning_curves(groups, cells, most, by_seconds=True),
        flow_figure(results, most),
        phase_bars(results, groups),
        total_times(groups, cases, most),
        _matrix(groups),
        flagged_blocks(results, most),
        other_blocks(results),
    )
    return tuple(figure for figure in drawn if figure.panels)


def _matrix(groups: Sequence[Ranking]) -> Figure:
    title, caption = "Time ÷ the best of its group", "Geometric means over groups colour the fields."
    found = matrix(groups)
    if not any(field.ratio for row in found.fields for field in row):
        return Figure(MATRIX, title, caption, ())
    fields = [[(field.ratio, _field_text(field)) for field in row] for row in found.fields]
    said = []
    for name, row in zip(found.rows, found.fields, strict=True):
        words = [f"{cell} {field.text}" for cell, field in zip(found.columns, row, strict=True)]
        said.append(f"{name}: {listed(words)}")
    alt = f"{title}. {'; '.join(said)}."
    panel = draw_heat("matrix-0", title, alt, found.rows, found.columns, fields)
    return Figure(MATRIX, title, caption, (panel,))


def _field_text(field: Field) -> str:
    return f"{field.text}: {field.detail}" if field.ratio is None else field.text
