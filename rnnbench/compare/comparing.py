"""Two runs, or two sides of one run, to a ``Comparison``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rnnbench.compare.changes import find_changes
from rnnbench.compare.fingerprints import unlike_runs, unlike_workers
from rnnbench.compare.outcome import Change, Comparison, Row, Side
from rnnbench.compare.pairing import PAIRED, Pair, Pairing, pair_axis, pair_runs
from rnnbench.compare.spreads import Spreads, spreads_of
from rnnbench.compare.verdicts import (
    Drifts,
    Mode,
    Timed,
    Times,
    count_rows,
    drifts_of,
    missing_rows,
    score_row,
    time_rows,
)
from rnnbench.records import Case, Measure, Run
from rnnbench.results.doubts import is_followed
from rnnbench.results.reading import RunResults
from rnnbench.thresholds import Thresholds


@dataclass(frozen=True, slots=True)
class _Terms:
    """How pairs are judged. ``exactly``: both sides are one implementation, and must agree in all counts."""

    mode: Mode
    thresholds: Thresholds
    exactly: bool
    spreads: Spreads
    unlike: Callable[[Pair], Sequence[str]]
    scored: Callable[[Pair], bool]


def compare_runs(
    base: RunResults,
    head: RunResults,
    *,
    thresholds: Thresholds | None = None,
    force: bool = False,
    history: Sequence[RunResults] = (),
) -> Comparison:
    """Two runs that were not measured in turns: times are at most ``suspect``, all else is judged.

    ``thresholds`` are by default those that the head was measured with. ``history``: earlier runs of the same
    suite; those that were measured on the head's terms tell by how much runs differ here. Pairs on unlike
    terms are ``incomparable``, unless ``force``.
    """
    between_runs = unlike_runs(base.run, head.run)
    of_workers: dict[tuple[Any, ...], tuple[str, ...]] = {}

    def unlike(pair: Pair) -> Sequence[str]:
        then, now = pair.base.case, pair.head.case
        at = (*_worker(then), *_worker(now))
        if at not in of_workers:
            of_workers[at] = unlike_workers(base.run, then, head.run, now)
        return (*between_runs, *pair.unlike, *of_workers[at])

    seen: set[tuple[str, str]] = set()

    def scored(pair: Pair) -> bool:
        """Of a network once, whoever was trained: the other backends quote it."""
        then, now = pair.base.score, pair.head.score
        if then is None or now is None or (then.trained_on, now.trained_on) in seen:
            return False
        if not is_followed(pair.base, then) or not is_followed(pair.head, now):
            return False
        seen.add((then.trained_on, now.trained_on))
        return True

    terms = _Terms(
        "stored",
        thresholds or head.run.thresholds,
        True,
        spreads_of([run for run in history if not unlike_runs(run.run, head.run)], head),
        (lambda pair: ()) if force else unlike,
        scored,
    )
    found = _compare(pair_runs(base.records, head.records), by_case(base), by_case(head), terms)
    assumed = [row.bound for row in found.rows if row.kind == "time" and not row.text]
    notes = (*found.notes, _assumed(assumed)) if assumed else found.notes
    return replace(found, base=_side(base.run), head=_side(head.run), forced=force, notes=notes)


def compare_axis(
    results: RunResults, axis: str, base: object, *, thresholds: Thresholds | None = None
) -> Comparison:
    """The cases of one run with the value ``base`` of ``axis`` against those that differ in nothing else.

    Backend, implementation, device and env vary within a group, whose cases are timed in turns: their ratios
    are paired and judged. Of other axes (cell, hidden, threads, ...) no rounds are shared and the work
    differs: times and scores are ``different`` or ``not_told_apart``, never a regression. Memory and
    compilations are judged between environments only: two backends need not agree in them.

    Raises ``RequestError`` for an unknown axis or value.
    """
    live = axis in PAIRED

    def scored(pair: Pair) -> bool:
        """Only where each side was trained itself: a score that is quoted would be compared with itself."""
        return all(each.score and each.score.trained_on == each.case.key for each in (pair.base, pair.head))

    terms = _Terms(
        "live" if live else "apart",
        thresholds or results.run.thresholds,
        axis == "env",
        {},
        lambda pair: (),
        scored,
    )
    times = by_case(results)
    found = _compare(pair_axis(results.records, axis, base), times, times, terms)
    others = {str(getattr(record.case, axis)): None for record in results.records}
    others.pop(str(base))
    found = replace(
        found,
        base=_side(results.run, str(base)),
        head=_side(results.run, ", ".join(others)),
        axis=axis,
        live=live,
    )
    if axis == "env":
        return found
    found = _without_partners(found, axis)
    return found if live else _without_statuses(found, axis)


def by_case(results: RunResults) -> Mapping[str, Times]:
    """Case key -> phase -> its times."""
    found: dict[str, dict[Measure, Timed]] = {}
    for (at, samples), summary in zip(results.timings.items(), results.summaries.values(), strict=True):
        found.setdefault(at[0], {})[at[1]] = Timed(samples, summary)
    return found


def _compare(
    pairing: Pairing, base: Mapping[str, Times], head: Mapping[str, Times], terms: _Terms
) -> Comparison:
    changes = find_changes(pairing, base, head)
    drifts = drifts_of(pairing.pairs, base, head) if terms.mode == "live" else {}
    return Comparison(
        base=Side("", "", ""),
        head=Side("", "", ""),
        rows=tuple(row for pair in pairing.pairs for row in _rows(pair, base, head, terms, drifts)),
        vanished=tuple(changes.vanished),
        new=tuple(changes.new),
        newly_failing=tuple(changes.newly_failing),
        newly_ok=tuple(changes.newly_ok),
        still_failing=tuple(changes.still_failing),
        notes=tuple(_unmeasured(changes.unmeasured)),
    )


def _rows(
    pair: Pair, base: Mapping[str, Times], head: Mapping[str, Times], terms: _Terms, drifts: Drifts
) -> Iterator[Row]:
    if not pair.base.status == pair.head.status == "ok":
        return
    unlike = terms.unlike(pair)
    if unlike:
        yield Row(pair.base.case, pair.head.case, "case", "", "incomparable", text="; ".join(unlike))
        return
    bounds = terms.thresholds.of(pair.head.case)
    key = pair.head.case.key
    then, now = base.get(pair.base.case.key, {}), head.get(key, {})
    spreads, changes = terms.spreads.get(key, {}), drifts.get(key, {})
    yield from time_rows(pair, then, now, terms.mode, bounds, spreads, changes)
    if terms.mode != "apart":
        yield from count_rows(pair, bounds, exactly=terms.exactly)
        yield from missing_rows(pair, then, now, exactly=terms.exactly)
    if terms.scored(pair):
        assert pair.base.score is not None
        assert pair.head.score is not None
        row = score_row(pair, pair.base.score, pair.head.score, bounds, judged=terms.mode != "apart")
        if row is not None:
            yield row


def _unmeasured(changes: Sequence[Change]) -> Iterator[str]:
    """A sentence for each reason why cases were measured on neither side."""
    for reason, count in Counter(f"{change.head}: {change.reason}" for change in changes).items():
        yield f"{count} {'case was' if count == 1 else 'cases were'} measured on neither side: {reason}"


def _without_partners(found: Comparison, axis: str) -> Comparison:
    """That one backend has an implementation which another lacks is no change: it is only noted."""
    alone = len({change.case for change in (*found.vanished, *found.new)})
    note = f"{alone} cases have no partner that differs in {axis} alone, or only some phases of one"
    notes = (*found.notes, note) if alone else found.notes
    return replace(found, vanished=(), new=(), notes=notes)


def _without_statuses(found: Comparison, axis: str) -> Comparison:
    """Other networks may fail where the base does not: said, and no regression."""
    changed = [*found.newly_failing, *found.newly_ok, *found.still_failing]
    notes = [
        f"{change.case.key}: {change.head}, where {axis} {found.base.value} is {change.base}"
        for change in changed
    ]
    return replace(found, newly_failing=(), newly_ok=(), still_failing=(), notes=(*found.notes, *notes))


def _assumed(bounds: Sequence[float | None]) -> str:
    shares = " or ".join(sorted({f"{bound:.0%}" for bound in bounds if bound is not None}))
    return (
        "How much runs of the same code differ on this machine is not known (that takes 3 runs on these "
        f"terms): {shares} is assumed for {len(bounds)} times"
    )


def _worker(case: Case) -> tuple[Any, ...]:
    return case.backend, case.device, case.dtype, case.threads, case.env


def _side(run: Run, value: str = "") -> Side:
    return Side(run=run.name, suite=run.suite, started=run.started, value=value)
