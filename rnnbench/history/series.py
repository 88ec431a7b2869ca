"""Runs -> lines: one case, one quantity, one machine, in order of time."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rnnbench.compare.fingerprints import environment_of, unlike_runs, unlike_workers
from rnnbench.history.changepoints import ChangePoint, change_points
from rnnbench.records import TIMED, Case, Measure, Record, Run, Status
from rnnbench.results.reading import RunResults, timings
from rnnbench.stacked import Stack
from rnnbench.stats import Interval, Summary, quotient, summarize

COUNTS = ("parameters", "compilations")
SCORE = "score"

Unlike = Callable[[tuple[Run, Case], tuple[Run, Case]], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Point:
    """One run's value of a quantity; ``value`` None: the case did not end ``ok``, or has no such quantity.

    ``interval`` is that of a time. ``ratio`` is to the point before that has a value: unpaired, for two runs
    are never timed in turns. ``commit``, ``branch`` and ``dirty`` are those of the project that was measured,
    "" and False where the run does not tell.
    """

    run: str
    started: str
    commit: str
    branch: str
    dirty: bool
    status: Status
    value: float | None = None
    interval: Interval | None = None
    ratio: Interval | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A quantity of a case over runs on like terms. Indices of ``changes`` are those of ``points``.

    ``before`` and ``after`` of a change are on the scale of the points, as geometric means of times, bytes
    and counts. ``apart`` says in what its first point differs from the line of this case before it.
    """

    case: Case
    what: str
    points: tuple[Point, ...]
    changes: tuple[ChangePoint, ...] = ()
    apart: tuple[str, ...] = ()


@dataclass(slots=True)
class _Growing:
    """A line so far. ``last``, ``value`` and ``summary`` are those of its last point that has a value."""

    case: Case
    apart: tuple[str, ...]
    first: tuple[Run, Case]
    last: tuple[Run, Case]
    value: float | None = None
    summary: Summary | None = None
    points: list[Point] = field(default_factory=list)

    def differs(self, now: tuple[Run, Case], unlike: Unlike) -> tuple[str, ...]:
        """Also from its first run: one in the middle may not tell what it ran on."""
        return unlike(self.last, now) or unlike(self.first, now)


@dataclass(frozen=True, slots=True)
class _Time:
    interval: Interval
    summary: Summary


def measured(runs: Iterable[RunResults]) -> tuple[str, ...]:
    """Every quantity that some record of ``runs`` has: phases, single timings, bytes, counts and scores."""
    found: dict[str, None] = {}
    for results in runs:
        timed = {phase for _, phase in results.timings}
        found |= {phase: None for phase in TIMED if phase in timed}
        for record in results.records:
            found |= dict.fromkeys((*record.phases, *record.memory))
            found |= {name: None for name in COUNTS if getattr(record, name) is not None}
            found |= {SCORE: None} if record.score is not None else {}
    return tuple(found)


def history(
    runs: Sequence[RunResults], what: str | None = None, keys: Collection[str] | None = None
) -> tuple[Line, ...]:
    """The lines of each case of ``keys`` (all where None), cases in their first order.

    ``what`` is a word of ``measured``; None: for each case the timed phase of the most work that it asks for.
    Runs go by their start. Where the machine, the protocol, versions or settings are not those of a line's
    last run, another line begins: two machines never share one.
    """
    unlike = _remembering()
    growing: dict[str, list[_Growing]] = {}
    for results in sorted(runs, key=lambda each: (each.run.started, each.run.name)):
        wanted = {record.case.key: record for record in results.records}
        if keys is not None:
            wanted = {key: record for key, record in wanted.items() if key in keys}
        times = _times(results, {key: what or phase_of(record.case) for key, record in wanted.items()})
        for key, record in wanted.items():
            quantity = what or phase_of(record.case)
            if quantity is not None:
                _grow(growing.setdefault(key, []), results.run, record, quantity, times.get(key), unlike)
    return tuple(
        _finished(line, what or phase_of(line.case) or "")
        for lines in growing.values()
        for line in lines
        if any(point.value is not None for point in line.points)
    )


def phase_of(case: Case) -> Measure | None:
    """The timed phase of the most work that a case asks for."""
    return next((phase for phase in reversed(TIMED) if phase in case.measure), None)


def _times(results: RunResults, wanted: Mapping[str, str | None]) -> Mapping[str, _Time]:
    """Case key -> its time in the phase that is wanted of it, where it has one."""
    blocks = [block for block in results.blocks if wanted.get(block.case) == block.phase]
    found = {key: samples for (key, _), samples in timings(blocks).items() if samples}
    return {
        key: _Time(summary.interval(), summary)
        for key, summary in zip(found, summarize(Stack(list(found.values()))), strict=True)
    }


def _grow(
    lines: list[_Growing], run: Run, record: Record, what: str, time: _Time | None, unlike: Unlike
) -> None:
    now = run, record.case
    line = next((each for each in reversed(lines) if not each.differs(now, unlike)), None)
    if line is None:
        line = _Growing(record.case, lines[-1].differs(now, unlike) if lines else (), now, now)
        lines.append(line)
    if record.status != "ok":
        time, value = None, None
    elif what in TIMED:
        value = time.interval.value if time else None
    else:
        value = _value(record, what)
    revision: Mapping[str, Any] = environment_of(run, record.case).get("revision") or {}
    line.points.append(
        Point(
            run=run.name,
            started=run.started,
            commit=str(revision.get("commit", "")),
            branch=str(revision.get("branch", "")),
            dirty=bool(revision.get("dirty", False)),
            status=record.status,
            value=value,
            interval=time.interval if time else None,
            ratio=_ratio(value, line.value, time, line.summary),
        )
    )
    if value is not None:
        line.last, line.value, line.summary = now, value, time.summary if time else None


def _value(record: Record, what: str) -> float | None:
    if what == SCORE:
        finals = record.score.values if record.score else ()
        mean = math.fsum(finals) / len(finals) if finals else math.nan
        return mean if math.isfinite(mean) else None
    value = getattr(record, what) if what in COUNTS else record.phases.get(what, record.memory.get(what))
    return None if value is None else float(value)


def _ratio(
    now: float | None, before: float | None, time: _Time | None, earlier: Summary | None
) -> Interval | None:
    if now is None or before is None or now <= 0 or before <= 0:
        return None
    if time is not None and earlier is not None:
        return quotient(time.summary, earlier)
    return Interval(now / before, None, None, 1)


def _finished(line: _Growing, what: str) -> Line:
    valued = [(index, point.value) for index, point in enumerate(line.points) if point.value is not None]
    values = [value for _, value in valued]
    # times, bytes and counts multiply; a score may be negative
    logarithmic = what != SCORE and all(value > 0 for value in values)
    found = change_points([math.log(value) for value in values] if logarithmic else values)
    back = math.exp if logarithmic else float
    changes = tuple(
        replace(each, index=valued[each.index][0], before=back(each.before), after=back(each.after))
        for each in found
    )
    return Line(line.case, what, tuple(line.points), changes, line.apart)


def _remembering() -> Unlike:
    """Runs have thousands of cases and a handful of workers: each pair of these is compared once."""
    between_runs: dict[tuple[int, int], tuple[str, ...]] = {}
    between_workers: dict[tuple[Any, ...], tuple[str, ...]] = {}

    def unlike(then: tuple[Run, Case], now: tuple[Run, Case]) -> tuple[str, ...]:
        (base, base_case), (head, case) = then, now
        pair = id(base), id(head)
        if pair not in between_runs:
            between_runs[pair] = unlike_runs(base, head)
        worker = (*pair, case.backend, case.device, case.dtype, case.threads, case.env)
        if worker not in between_workers:
            between_workers[worker] = unlike_workers(base, base_case, head, case)
        return (*between_runs[pair], *between_workers[worker])

    return unlike
