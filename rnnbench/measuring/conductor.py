"""The parent: takes a plan through gate, turns and training, and writes what comes of it as it comes.

Order of work. Pass 0 measures every group once in fresh workers and records each case; then the
networks are trained; then further passes, each in fresh processes, add blocks, for the process is
the unit of replication. A budget shortens training and further passes, never the gate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rnnbench.measuring.budget import Budget, affordable_rounds
from rnnbench.measuring.gate import Gate
from rnnbench.measuring.grouping import grouped
from rnnbench.measuring.learning import learn
from rnnbench.measuring.ledger import Ledger, Progress, WriteFailed
from rnnbench.measuring.refusals import Refused, WorkerDied
from rnnbench.measuring.stations import Floor, Protocol, Station, timed_phases
from rnnbench.measuring.turns import restart_beside, take_turns
from rnnbench.measuring.workers import Workers
from rnnbench.planning.plan import Plan
from rnnbench.plugins import Plugins
from rnnbench.records import Case, Finding
from rnnbench.results import Writer
from rnnbench.results.reading import RunResults


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the sitting as a whole has to say, for run.json."""

    environments: Mapping[str, Mapping[str, Any]]
    spent_s: Mapping[str, float]
    findings: tuple[Finding, ...]


def conduct(
    plan: Plan,
    plugins: Plugins,
    writer: Writer,
    progress: Progress,
    *,
    protocol: Protocol,
    plugin_files: Sequence[str] = (),
    done: RunResults | None = None,
    keep: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Measure everything that is not in ``done`` yet. Every case has a record when this returns.

    ``keep`` is told what holds so far when a backend has opened, and when the sitting is cut short.
    Raises ``WriteFailed`` where results cannot be written any more.
    """
    conductor = _Conductor(plan, plugins, Ledger(writer, progress, done), protocol, plugin_files, keep)
    try:
        conductor.conduct()
    except BaseException:
        with suppress(WriteFailed):
            keep(conductor.outcome())
        raise
    return conductor.outcome()


class _Conductor:
    def __init__(
        self,
        plan: Plan,
        plugins: Plugins,
        ledger: Ledger,
        protocol: Protocol,
        plugin_files: Sequence[str],
        keep: Callable[[Outcome], None],
    ) -> None:
        self._plan, self._plugins, self._ledger, self._keep = plan, plugins, ledger, keep
        self._protocol, self._plugin_files = protocol, plugin_files
        self._budget = Budget(plan.suite.budget_s)
        self._begun = time.monotonic()
        self._stations: dict[str, Station] = {}
        self._environments: dict[str, dict[str, Any]] = {}
        self._spent_s: dict[str, float] = {}
        self._findings: list[Finding] = []

    def conduct(self) -> None:
        for refused in self._plan.refused:
            if refused.case.key not in self._ledger.records:
                self._ledger.end(refused.case, Refused(refused.status, refused.reason))
        begun = time.monotonic()
        with self._workers() as workers:
            floor = self._floor(workers, Gate(self._plugins.cells))
            rounds_s = self._first_pass(floor, workers)
            pass_s = time.monotonic() - begun
            stations = [
                self._resumed(floor, case) for case in self._plan.cases if self._ledger.needs_score(case)
            ]
            later_s = (self._plan.suite.processes - 1) * pass_s
            learn(floor, self._ledger, self._plan, stations, self._budget, later_s)
            self._note_environments(workers)
        self._further_passes(pass_s - rounds_s, rounds_s / max(1, self._protocol.rounds))

    def outcome(self) -> Outcome:
        spent_s = {**self._spent_s, "total": time.monotonic() - self._begun}
        return Outcome(self._environments, spent_s, tuple(self._findings))

    # pass 0

    def _first_pass(self, floor: Floor, workers: Workers) -> float:
        """Gate, time and record every case that has no record; returns the seconds spent in rounds."""
        todo = [case for case in self._plan.cases if case.key not in self._ledger.records]
        groups = grouped(todo, lambda case: case.group)
        rounds_s = 0.0
        for number, cases in enumerate(groups, start=1):
            if self._budget.over():
                for case in cases:
                    self._ledger.end(case, Refused("skipped", self._over_budget()))
                continue
            self._ledger.note(f"group {number} of {len(groups)}: {_describe(cases[0])}")
            stations = self._start(floor, cases, prove=True)
            self._note_environments(workers)
            begun = time.monotonic()
            living = self._take_turns(floor, stations, 0, self._protocol.rounds, number)
            rounds_s += time.monotonic() - begun
            self._clear(floor, cases)
            self._finish(floor, living)
        return rounds_s

    def _start(self, floor: Floor, cases: Iterable[Case], *, prove: bool) -> list[Station]:
        living: list[Station] = []
        for case in cases:
            try:
                station = floor.station(case)
                opened = floor.worker(case).opened
                station.phases["import_s"], station.cores = opened["import_s"], len(opened["pinned"])
            except Refused as refused:
                self._ledger.end(case, refused)
                continue
            try:
                floor.start(station, prove=prove)
                living.append(station)
            except Refused as refused:
                self._ledger.fail(station, refused)
                if isinstance(refused, WorkerDied):
                    living = restart_beside(floor, living, station, self._ledger.fail)
        return living

    def _take_turns(
        self, floor: Floor, stations: Sequence[Station], process: int, rounds: int, seed: int
    ) -> list[Station]:
        ledger = self._ledger
        return take_turns(floor, stations, process, rounds, seed, ledger.keep_block, ledger.fail)

    def _finish(self, floor: Floor, living: list[Station]) -> None:
        """What is taken apart, and then all records at once: a kill seldom cuts a group in two."""
        whole = []
        for station in living:
            try:
                floor.take_apart(station)
                whole.append(station)
            except Refused as refused:
                self._ledger.fail(station, refused)
        for station in whole:
            self._ledger.keep(station.record("ok", findings=tuple(self._doubts(station))))
            self._stations[station.case.key] = station

    def _doubts(self, station: Station) -> Iterator[Finding]:
        threads, cores = station.case.threads, station.cores
        if cores == 0:
            yield Finding("not_pinned", "this system cannot pin a process to cores")
        elif cores < threads:
            yield Finding("not_pinned", f"{threads} threads share {cores} cores, all that are allowed here")
        if station.compiled_in_blocks:
            yield Finding(
                "recompiled",
                f"{station.compiled_in_blocks} compilations after warm-up; their blocks do not count",
            )

    def _clear(self, floor: Floor, cases: Iterable[Case]) -> None:
        """Also what failed may have left a network behind."""
        for case in cases:
            floor.drop(case, case.key)

    def _resumed(self, floor: Floor, case: Case) -> Station:
        """The station of pass 0; for a resumed run rebuilt from what its blocks say."""
        if case.key not in self._stations:
            station = floor.station(case)
            station.median_s.update(self._ledger.median_s(case))
            self._stations[case.key] = station
        return self._stations[case.key]

    # further passes

    def _further_passes(self, fixed_s: float, round_s: float) -> None:
        processes, rounds = self._plan.suite.processes, self._protocol.rounds
        for process in range(1, processes):
            groups = self._groups_without_blocks(process)
            if not groups:
                continue
            rounds = affordable_rounds(self._budget.remaining_s(), fixed_s, round_s, self._protocol.rounds)
            if rounds == 0:
                self._note_over_budget(f"{process} of {processes} processes were measured")
                return
            with self._workers() as workers:
                floor = self._floor(workers, None)
                for number, cases in enumerate(groups, start=1):
                    if self._budget.over():
                        done = f"{number - 1} of {len(groups)} groups"
                        self._note_over_budget(f"process {process + 1} of {processes} measured {done}")
                        return
                    self._ledger.note(
                        f"process {process + 1} of {processes}, group {number} of {len(groups)}: "
                        f"{_describe(cases[0])}"
                    )
                    stations = self._start(floor, cases, prove=False)
                    self._take_turns(floor, stations, process, rounds, number)
                    self._clear(floor, cases)

    def _groups_without_blocks(self, process: int) -> list[list[Case]]:
        """Whole groups: turns cannot be taken with an earlier sitting."""
        ledger, rounds = self._ledger, self._protocol.rounds
        timed = [case for case in self._plan.cases if ledger.is_ok(case) and timed_phases(case)]
        return [
            cases
            for cases in grouped(timed, lambda case: case.group)
            if any(ledger.needs_blocks(case, process, rounds) for case in cases)
        ]

    # the run as a whole

    def _over_budget(self) -> str:
        return f"the budget of {self._budget.total_s:.0f} s was spent; give more with --budget"

    def _note_over_budget(self, what: str) -> None:
        self._findings.append(Finding("over_budget", f"{what}: {self._over_budget()}"))

    def _workers(self) -> Workers:
        return Workers(self._plugin_files, tuple(self._plan.suite.tasks.values()))

    def _floor(self, workers: Workers, gate: Gate | None) -> Floor:
        floor = Floor(workers, gate, self._plugins.cells, self._plan.tasks, self._protocol)
        floor.spent_s = self._spent_s
        return floor

    def _note_environments(self, workers: Workers) -> None:
        known = len(self._environments)
        for key, opened in workers.environments.items():
            settings = key.settings
            facts = {"device": settings.device, "dtype": settings.dtype, "threads": settings.threads}
            self._environments.setdefault(key.backend, {**opened, **facts})
        if len(self._environments) > known:
            self._keep(self.outcome())


def _describe(case: Case) -> str:
    return f"{case.task}, length {case.length}, {case.cell}, hidden {case.hidden}"
