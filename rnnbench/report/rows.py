"""The ranking as rows: what stands in each, how it sorts, by what it is filtered, what a copy of it holds.

Words are made here, once. The template lays out the first rows, the page's script all of them, from the same
data.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from rnnbench.escaping import safe
from rnnbench.records import Case, Measure, Record, Score, Train
from rnnbench.report.blocks import raw_blocks
from rnnbench.report.ranking import NAMED, Ranking, Row, peak_bytes
from rnnbench.report.words import (
    MISSING,
    PHASES,
    bounds,
    digits,
    seconds,
    size,
    times,
    unit_of,
)
from rnnbench.results.deriving import derive
from rnnbench.results.reading import RunResults
from rnnbench.stats import Interval

SHORT: dict[Measure, str] = {
    "stream": "time step", "forward": "forward", "gradients": "gradients", "train_step": "training step"
}  # fmt: skip
NUMBERS = (
    "rank", "time_s", "time_low_s", "time_high_s", "ratio", "ratio_low", "ratio_high",
    "score", "score_low", "score_high", "trivial", "simple", "peak_bytes", "first_call_s", "break_even_calls",
)  # fmt: skip
"""What a row is sorted by and what a copy of it holds, to seven digits; None where there is none."""
MOST_IN_FULL = 200
"""Cases with a finding whose blocks stand on the page one by one; of all others medians and a histogram."""
SHOWN = 100
"""Rows that stand on the page before its script runs, and on each of its leaves after that."""


@dataclass(frozen=True, slots=True)
class Column:
    """``by``: the number of ``NUMBERS`` by which it is sorted, "" for one that is sorted by its words."""

    name: str
    title: str
    by: str = ""

    @property
    def number(self) -> bool:
        """Whether it stands to the right."""
        return bool(self.by)


COLUMNS = (
    Column("rank", "#", "rank"),
    Column("case", "case"),
    Column("time", "time", "time_s"),
    Column("ratio", "÷ best", "ratio"),
    Column("also", "also"),
    Column("score", "score", "score"),
    Column("memory", "peak memory", "peak_bytes"),
    Column("first", "first call", "first_call_s"),
    Column("even", "pays after", "break_even_calls"),
    Column("status", "status"),
)
ALWAYS = ("rank", "case", "time", "ratio", "status")


@dataclass(frozen=True, slots=True)
class Group:
    """``network``: the name under which figures draw what it learned."""

    title: str
    note: str
    phase: str
    network: str


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table.

    ``group``: which of the table's; ``axes``: of each axis the position of its value, ``numbers`` as
    ``NUMBERS``; ``cells``: of each column its words and, after a line end, the smaller ones below them;
    ``raw``: the blocks behind the time.
    """

    key: str
    group: int
    axes: tuple[int, ...]
    numbers: tuple[float | None, ...]
    cells: tuple[str, ...]
    status: str
    reason: str
    findings: tuple[str, ...]
    raw: str
    best: bool


@dataclass(frozen=True, slots=True)
class Table:
    """The whole ranking. ``axes``: name -> its values as words, in their order."""

    columns: tuple[Column, ...]
    axes: dict[str, tuple[str, ...]]
    groups: tuple[Group, ...]
    rows: tuple[Line, ...]

    @property
    def shown(self) -> tuple[Line, ...]:
        """The first rows: those of a page without a script."""
        return self.rows[:SHOWN]

    @property
    def json(self) -> str:
        """Everything for the script, free of what would end a script element."""
        reasons = _Places()
        data = {
            "shown": SHOWN,
            "numbers": NUMBERS,
            "columns": [[column.name, column.title, column.by] for column in self.columns],
            "axes": self.axes,
            "groups": [[g.title, g.note, g.phase, g.network] for g in self.groups],
            "rows": [
                [
                    row.key, row.group, row.axes, [_endless(each) for each in row.numbers], row.cells,
                    reasons[row.status], reasons[row.reason], [reasons[each] for each in row.findings],
                    row.raw, int(row.best),
                ]
                for row in self.rows
            ],
        }  # fmt: skip
        data["words"] = list(reasons)
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace(
            "<", "\\u003c"
        )


def tabulate_ranking(results: RunResults, groups: Sequence[Ranking], networks: Sequence[str]) -> Table:
    """All cases, group by group, the best first; ``networks``: of each group the name that figures use."""
    records = [row.record for group in groups for row in group.rows]
    axes, places = _axes(records)
    medians = {
        (row.record.case.key, phase): time.value
        for group in groups
        for row in group.rows
        for phase, time in row.times.items()
    }
    derived = derive(results, medians)
    lines: list[Line] = []
    flagged = 0
    for number, group in enumerate(groups):
        look = _look(group)
        for row in group.rows:
            key = row.record.case.key
            flagged += bool(row.record.findings)
            raw = ""
            if group.phase is not None and (key, group.phase) in results.timings:
                in_full = bool(row.record.findings) and flagged <= MOST_IN_FULL
                raw = raw_blocks(results.timings[key, group.phase], look.unit, in_full)
            even = derived[key].get(f"{group.phase}_break_even_calls")
            lines.append(_line(number, group, row, look, places[len(lines)], even, raw))
    used = {index for line in lines for index, cell in enumerate(line.cells) if cell != MISSING}
    kept = [i for i, column in enumerate(COLUMNS) if column.name in ALWAYS or i in used]
    return Table(
        tuple(COLUMNS[index] for index in kept),
        axes,
        tuple(
            Group(group.title, _note(group), SHORT[group.phase] if group.phase else "", network)
            for group, network in zip(groups, networks, strict=True)
        ),
        tuple(_with_columns(line, kept) for line in lines),
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """What the rows of a group share: the unit of their times, other phases, how many have each rank."""

    unit: str
    others: tuple[Measure, ...]
    sharing: Counter[int | None]


def _look(group: Ranking) -> _Look:
    phase = group.phase
    others = tuple(each for each in PHASES if any(each in r.times for r in group.rows) and each != phase)
    unit = unit_of(row.times[phase].value for row in group.rows if phase in row.times) if phase else "s"
    return _Look(unit, others, Counter(row.rank for row in group.rows))


def _line(
    number: int, group: Ranking, row: Row, look: _Look, axes: tuple[int, ...], even: float | None, raw: str
) -> Line:
    record = row.record
    time = row.times.get(group.phase) if group.phase else None
    ratio = row.to_best
    finals = row.score.values if row.score else ()
    score = math.fsum(finals) / len(finals) if finals else None
    first = record.phases.get(f"first_{group.phase}_s")
    trivial, simple = (row.score.trivial, row.score.simple) if row.score and finals else (None, None)
    numbers = (
        row.rank, *_of(time), *_of(ratio), score, min(finals, default=None), max(finals, default=None),
        trivial, simple, peak_bytes(record), first, even,
    )  # fmt: skip
    others = [f"{SHORT[each]} {seconds(row.times[each].value)}" for each in look.others if each in row.times]
    cells = (
        "" if row.rank is None else f"{'=' if look.sharing[row.rank] > 1 else ''}{row.rank}",
        row.label,
        _two(MISSING if time is None else seconds(time.value, look.unit), _interval(time, look.unit)),
        _two(
            MISSING if ratio is None else times(ratio.value),
            bounds(ratio) if ratio and ratio.value != 1 else "",
        ),
        ", ".join(others) or MISSING,
        _score(row.score),
        size(peak_bytes(record)),
        _two(seconds(first), _first_parts(record, group.phase)),
        MISSING if even is None else "never" if math.isinf(even) else f"{even:,.0f} calls",
        "",
    )
    return Line(
        key=safe(record.case.key, 300),
        group=number,
        axes=axes,
        numbers=tuple(_rounded(value) for value in numbers),
        cells=cells,
        status=record.status.replace("_", " "),
        reason=safe(record.reason, 160),
        findings=tuple(dict.fromkeys(safe(finding.word, 40) for finding in record.findings)),
        raw=raw,
        best=row.rank == 1 and not group.screening,
    )


def _with_columns(line: Line, kept: Iterable[int]) -> Line:
    changed = {field.name: getattr(line, field.name) for field in fields(line)}
    return Line(**changed | {"cells": tuple(line.cells[index] for index in kept)})


def _two(text: str, small: str) -> str:
    return f"{text}\n{small}" if small else text


def _of(interval: Interval | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if interval is None else (interval.value, interval.low, interval.high)


def _interval(time: Interval | None, unit: str) -> str:
    if time is None:
        return ""
    return "no interval: screening" if time.screening else bounds(time, unit)


def _score(score: Score | None) -> str:
    finals = score.values if score else ()
    if not score or not finals:
        return MISSING
    spread = f"{digits(min(finals))}–{digits(max(finals))}" if len(finals) > 1 else "1 seed"
    baselines = [
        f"{name}\u00a0{digits(value)}"  # which are not torn apart
        for name, value in (("trivial", score.trivial), ("simple", score.simple))
        if value is not None
    ]
    return _two(digits(math.fsum(finals) / len(finals)), "; ".join([spread, *baselines]))


def _first_parts(record: Record, phase: Measure | None) -> str:
    parts = (("tracing", f"trace_{phase}_s"), ("compiling", f"compile_{phase}_s"))
    return ", ".join(
        f"{word} {seconds(record.phases[name])}" for word, name in parts if name in record.phases
    )


def _note(group: Ranking) -> str:
    """What else is said of a group, beside its title."""
    said = [SHORT[group.phase]] if group.phase else []
    score = group.score
    finals = [
        f"{_mean_and_spread(each)}, trained on {trainer}"
        for trainer, each in group.scores.items()
        if each.values
    ]
    if score is not None and finals:
        parts = [f"{safe(score.metric, 40)} {'; '.join(finals)}"]
        for word, value, name in (
            ("trivial", score.trivial, score.trivial_name), ("simple", score.simple, score.simple_name)
        ):  # fmt: skip
            if value is not None:
                parts.append(f"{word} {digits(value)} ({safe(name, 60)})")
        if not group.score_ranked:
            parts.append("negative control: not ranked")
        said.append("; ".join(parts))
    return " – ".join(said)


def _mean_and_spread(score: Score) -> str:
    finals = score.values
    mean = digits(sum(finals) / len(finals))
    if len(finals) == 1:
        return f"{mean} (1 seed)"
    return f"{mean} ({digits(min(finals))}–{digits(max(finals))} over {len(finals)} seeds)"


def _axes(records: Sequence[Record]) -> tuple[dict[str, tuple[str, ...]], list[tuple[int, ...]]]:
    """Every axis in which cases differ, those that name a case always; and of each record its places."""
    named = [name for name in NAMED if name != "measure"]
    rest = [field.name for field in fields(Case) if field.name not in (*NAMED, "train")]
    columns: dict[str, list[Any]] = {
        name: [getattr(record.case, name) for record in records] for name in (*named, *rest)
    }
    trainings = {field.name: field.name for field in fields(Train)}
    columns |= {name: [getattr(record.case.train, name) for record in records] for name in trainings}
    columns["status"] = [record.status.replace("_", " ") for record in records]
    axes: dict[str, tuple[str, ...]] = {}
    places: list[list[int]] = []
    for name, values in columns.items():
        distinct = sorted(set(values), key=lambda value: (value is not None, isinstance(value, str), value))
        if len(distinct) < 2 and name not in (*named, "status"):
            continue
        place = {value: index for index, value in enumerate(distinct)}
        axes[name.replace("_", " ")] = tuple(
            "none" if value is None else safe(value, 60) for value in distinct
        )
        places.append([place[value] for value in values])
    return axes, list(zip(*places, strict=True))


def _rounded(value: float | None) -> float | None:
    if value is None or math.isnan(value):
        return None
    return value if isinstance(value, int) or math.isinf(value) else float(f"{value:.7g}")


def _endless(value: float | None) -> float | str | None:
    """JSON knows no infinity; JavaScript reads this word as one."""
    return value if value is None or math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


class _Places(dict[str, int]):
    """Word -> its place among all that were asked for, in the order of asking."""

    def __missing__(self, word: str) -> int:
        self[word] = len(self)
        return self[word]
