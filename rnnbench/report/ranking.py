"""Who is fastest, group by group: cases that compute the same function and were timed in turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnbench.escaping import safe
from rnnbench.records import TIMED, Case, Measure, Record, Score
from rnnbench.report.words import labels, phase_of
from rnnbench.results.doubts import drifting, is_followed
from rnnbench.results.reading import RunResults
from rnnbench.stats import Interval, ranks, ratio

NAMED = ("task", "length", "cell", "backend", "implementation", "device", "env", "measure")
WORDS = {"hidden": "H", "batch": "B", "layers": "layers", "threads": "threads"}


@dataclass(frozen=True, slots=True)
class Row:
    """A case in its group. ``rank`` is None for a case that is shown but not ranked.

    ``times`` has every timed phase; ``to_best`` is this case ÷ the first of the group in the phase by
    which the group is ranked, 1 for the first itself; both are None where nothing was timed.
    """

    label: str
    record: Record
    rank: int | None
    times: dict[Measure, Interval]
    to_best: Interval | None
    score: Score | None
    drift: float | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """A group, its best first, what is not ranked last.

    ``scores``: what its network learned, by the label of each case that was trained.
    """

    task: str
    length: int
    cell: str
    other: str
    phase: Measure | None
    rows: tuple[Row, ...]
    scores: Mapping[str, Score]
    score_ranked: bool

    @property
    def score(self) -> Score | None:
        """That of the first that was trained; all trainings of a network share metric and baselines."""
        return next(iter(self.scores.values()), None)

    @property
    def title(self) -> str:
        """task · T 20 · cell, and what else tells this group from the others."""
        parts = (safe(self.task, 60), f"T {self.length}", safe(self.cell, 60), self.other)
        return " · ".join(part for part in parts if part)

    @property
    def place(self) -> str:
        """task · cell, and what else tells this group from those of the same length."""
        return " · ".join(part for part in (safe(self.task, 60), safe(self.cell, 60), self.other) if part)

    @property
    def ranked(self) -> tuple[Row, ...]:
        """The rows that have a rank."""
        return tuple(row for row in self.rows if row.rank is not None)

    @property
    def screening(self) -> bool:
        """Whether there are times and none has an interval, so that ranks are an order and no more."""
        times = [row.times[self.phase] for row in self.ranked if self.phase in row.times]
        return bool(times) and all(time.screening for time in times)


def rank_groups(results: RunResults) -> tuple[Ranking, ...]:
    """The groups of a run by task, cell and length. Only ``ok`` cases have a rank.

    Of the tasks that the run names as negative controls the times are ranked, the scores never.
    """
    names = labels([record.case for record in results.records])
    scores = scores_by_network(results.records, names)
    varying = varying_fields([record.case for record in results.records])
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in results.records:
        groups.setdefault(record.case.group, []).append(record)
    found = []
    for records in groups.values():
        case = records[0].case
        phase = phase_of(record.case for record in records)
        rows = _rows(results, records, phase, names)
        learned = scores.get(case.network, {})
        other = describe(case, varying)
        ranked = case.task not in results.run.unranked
        found.append(Ranking(case.task, case.length, case.cell, other, phase, rows, learned, ranked))
    return tuple(sorted(found, key=lambda group: (group.task, group.cell, group.length, group.other)))


def scores_by_network(
    records: Sequence[Record], names: Mapping[str, str]
) -> dict[tuple[Any, ...], dict[str, Score]]:
    """What each network learned, by the label (``names``: case key -> label) of who was trained.

    A score that another case quotes stands in only where who was trained is not among the records, or is
    a mismatch.
    """
    found: dict[tuple[Any, ...], dict[str, Score]] = {}
    usable = [
        (each, each.score)
        for each in records
        if each.score and each.status != "mismatch" and is_followed(each, each.score)
    ]
    for own in (True, False):
        for record, score in usable:
            of_network = found.setdefault(record.case.network, {})
            if own == (score.trained_on == record.case.key) and (own or not of_network):
                trainer = names.get(score.trained_on, score.trained_on)
                of_network[safe(trainer, 60)] = score
    return found


def peak_bytes(record: Record) -> int | None:
    """Peak memory of the device where it has its own, else of the host."""
    return record.memory.get("device_peak_bytes", record.memory.get("host_peak_bytes"))


def varying_fields(cases: Sequence[Case]) -> tuple[str, ...]:
    """Fields, apart from those that titles and labels name anyway, in which cases differ."""
    fields = [name for name in Case.__dataclass_fields__ if name not in NAMED]
    return tuple(name for name in fields if len({getattr(case, name) for case in cases}) > 1)


def describe(case: Case, fields: Sequence[str]) -> str:
    """The given fields of a case in words."""
    parts = []
    for name in fields:
        value = getattr(case, name)
        if name == "train" and value.optimizer == "ridge":
            parts.append(f"readout by ridge {value.ridge_alpha:g}, {value.steps} batches")
        elif name == "train":
            parts.append(f"{value.optimizer} {value.lr:g}, {value.steps} steps")
            parts.append("no clipping" if value.clip is None else f"clip {value.clip:g}")
            parts += [] if value.l2 == 0 else [f"L2 {value.l2:g}"]
            parts += [] if value.window is None else [f"window {value.window}"]
        else:
            parts.append(f"{WORDS.get(name, name.replace('_', ' '))} {safe(value, 60)}")
    return " · ".join(parts)


def _rows(
    results: RunResults, records: Sequence[Record], phase: Measure | None, names: dict[str, str]
) -> tuple[Row, ...]:
    timings, estimates = results.timings, results.estimates
    samples = {
        record.case.key: timings[record.case.key, phase]
        for record in records
        if phase and record.status == "ok" and (record.case.key, phase) in timings
    }
    order = ranks(samples)
    best = next(iter(order), None)
    changes = dict(zip(samples, drifting(list(samples.values())), strict=True))
    rows = []
    for record in records:
        key = record.case.key
        measured = {each: estimates[key, each] for each in TIMED if (key, each) in estimates}
        to_best = ratio(samples[key], samples[best]) if best is not None and key in samples else None
        score = record.score if record.score and is_followed(record, record.score) else None
        rows.append(Row(names[key], record, order.get(key), measured, to_best, score, changes.get(key)))
    place = {key: position for position, key in enumerate(order)}
    return tuple(sorted(rows, key=lambda row: (place.get(row.record.case.key, len(place)), row.label)))
