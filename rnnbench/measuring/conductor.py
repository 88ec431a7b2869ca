"""The parent: takes a plan through gate, turns and training, and writes what comes of it as it comes.

Order of work. Pass 0 measures every group once in fresh workers and records each case; then the
networks are trained; then further passes, each in fresh processes, add blocks, for the process is
the unit of replication. A budget shortens training and further passes, never the gate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rnnbench.measuring.budget import Budget, affordable_rounds
from rnnbench.measuring.costing import Cost, cost_of_pass
from rnnbench.measuring.environments import Environments
from rnnbench.measuring.findings import of_first_process, of_further_process
from rnnbench.measuring.flowing import Flows
from rnnbench.measuring.gate import Gate
from rnnbench.measuring.grouping import grouped
from rnnbench.measuring.launch import Environment
from rnnbench.measuring.learning import learn
from rnnbench.measuring.ledger import Ledger, Progress, WriteFailed
from rnnbench.measuring.process import WorkerKey
from rnnbench.measuring.refusals import Refused, WorkerDied
from rnnbench.measuring.replication import Replication, is_settled, siblings
from rnnbench.measuring.stations import Floor, Protocol, Station, timed_phases, worker_key
from rnnbench.measuring.turns import Loops, restart_beside, take_turns
from rnnbench.measuring.workers import Workers
from rnnbench.planning.plan import Plan
from rnnbench.plugins import Plugins
from rnnbench.records import Case, Finding
from rnnbench.results import Writer
from rnnbench.results.reading import RunResults, timings


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
    replication: Replication,
    environments: Sequence[Environment],
    again: bool = False,
    done: RunResults | None = None,
    keep: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Measure everything that is not in ``done`` yet. Every case has a record when this returns.

    ``environments``: every one that a case of the plan names. ``again``: neither proven nor trained.

    ``keep`` is told what holds so far when a backend has opened, and when the sitting is cut short.
    Raises ``WriteFailed`` where results cannot be written any more, ``RequestError`` where a backend has
    other versions than ``done`` was measured with.
    """
    earlier = {} if done is None else done.run.environments
    ledger = Ledger(writer, progress, done)
    conductor = _Conductor(plan, plugins, ledger, protocol, replication, environments, again, keep, earlier)
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
        replication: Replication,
        environments: Sequence[Environment],
        again: bool,
        keep: Callable[[Outcome], None],
        earlier: Mapping[str, Mapping[str, Any]],
    ) -> None:
        planned = [worker_key(case) for case in plan.cases]
        self._environments, self._beside = Environments(planned, earlier, environments), environments
        self._plan, self._plugins, self._ledger, self._keep = plan, plugins, ledger, keep
        self._protocol, self._replication, self._again = protocol, replication, again
        self._loops = Loops(plan.cases, ledger.blocks)
        self._flows = Flows(plugins.cells, plan.tasks)
        self._budget = Budget(plan.suite.budget_s)
        self._begun = time.monotonic()
        self._stations: dict[str, Station] = {}
        self._spent_s: dict[str, float] = {}
        self._findings: list[Finding] = []
        self._own_files: dict[str, int] = {}

    def conduct(self) -> None:
        for refused in self._plan.refused:
            if refused.case.key not in self._ledger.records:
                self._ledger.end(refused.case, Refused(refused.status, refused.reason))
        with self._workers() as workers:
            floor = self._floor(workers, Gate(self._plugins.cells))
            self._first_pass(floor)
            stations = [
                self._resumed(floor, case)
                for case in self._plan.cases
                if not self._again and self._ledger.needs_score(case)
            ]
            later = [self._groups_without_blocks(process) for process in range(1, self._replication.start)]
            later_s = sum(self._cost_of_pass(groups).pass_s for groups in later)
            learn(floor, self._ledger, self._plan, stations, self._flows, self._budget, later_s)
        self._further_passes()

    def outcome(self) -> Outcome:
        spent_s = {**self._spent_s, "total": time.monotonic() - self._begun}
        unused = [
            Finding("not_imported", f"{env}: no worker has imported a file of what is measured there")
            for env, files in self._own_files.items()
            if files == 0
        ]
        return Outcome(self._environments.named(), spent_s, (*self._findings, *unused))

    # pass 0

    def _first_pass(self, floor: Floor) -> None:
        """Gate, time and record every case that has no record, each with its whole group."""
        records = self._ledger.records
        groups = [
            cases
            for cases in grouped(self._plan.cases, lambda case: case.group)
            if any(case.key not in records for case in cases)
        ]
        for number, cases in enumerate(groups, start=1):
            if self._budget.over():
                for case in cases:
                    if case.key not in records:
                        self._ledger.end(case, Refused("skipped", self._over_budget()))
                continue
            self._ledger.note(f"group {number} of {len(groups)}: {_describe(cases[0])}")
            # turns cannot be taken with an earlier sitting
            self._ledger.reopen(cases)
            self._loops.forget(cases)
            until = self._share_ends(0, groups, number)
            stations = self._start(floor, cases, prove=not self._again)
            living = self._take_turns(floor, stations, 0, self._protocol.rounds, number, until)
            self._clear(floor, cases)
            self._finish(floor, living)

    def _cost_of_pass(self, groups: Iterable[Iterable[Case]]) -> Cost:
        ledger, cases = self._ledger, [case for group in groups for case in group]
        return cost_of_pass(
            [ledger.records[case.key] for case in cases],
            [block for case in cases for block in ledger.blocks.get(case.key, ()) if block.process == 0],
            self._protocol,
        )

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
                # not sooner: much is imported only when a network is built or called
                worker = floor.worker(case)
                worker.check_origins(self._protocol.case_limit_s)
                if worker.own_files is not None:
                    self._own_files[case.env] = self._own_files.get(case.env, 0) + worker.own_files
                living.append(station)
            except Refused as refused:
                self._ledger.fail(station, refused)
                if isinstance(refused, WorkerDied):
                    living = restart_beside(floor, living, station, self._ledger.fail)
        return living

    def _share_ends(self, process: int, groups: Sequence[object], number: int) -> float:
        """When the share of the ``number``-th group (from 1) in this process ends: all have equal ones.

        Rounds of one process must not take the time of processes to come, which make an interval narrow.
        """
        further = self._replication.foreseen(process) - process - 1
        return self._budget.share_ends(further * len(groups) + len(groups) - number + 1)

    def _take_turns(
        self,
        floor: Floor,
        stations: Sequence[Station],
        process: int,
        rounds: int,
        seed: int,
        until: float,
    ) -> list[Station]:
        ledger, most = self._ledger, self._protocol.most_rounds
        # a budget that allows fewer rounds than are wanted allows no further ones
        most = most if rounds == self._protocol.rounds else None
        keep, fail = ledger.keep_block, ledger.fail
        return take_turns(
            floor, stations, process, rounds, seed, self._loops, keep, fail, most=most, until=until
        )

    def _finish(self, floor: Floor, living: list[Station]) -> None:
        """What is taken apart, and then all records at once: a kill seldom cuts a group in two."""
        whole = []
        for station in living:
            try:
                floor.take_apart(station)
                if "gradient_flow" in station.case.measure:
                    station.gradient_flow = self._flows.before(station.case, station.spec)
                whole.append(station)
            except Refused as refused:
                self._ledger.fail(station, refused)
        for station in whole:
            self._ledger.keep(station.record("ok", findings=tuple(of_first_process(station))))
            self._stations[station.case.key] = station

    def _amend(self, living: Iterable[Station], process: int) -> None:
        """Add to the records what a further process has shown."""
        for station in living:
            path = self._ledger.records[station.case.key].path
            findings = tuple(of_further_process(station, process, path))
            if findings:
                self._ledger.amend(station.case, findings)

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

    def _further_passes(self) -> None:
        processes, settled = self._replication.start, set[str]()
        for process in range(1, self._replication.most):
            if self._replication.is_due(process):
                settled |= self._settled()
            groups = self._groups_without_blocks(process, settled)
            if not groups:
                continue
            processes = max(processes, process + 1)
            remaining_s, cost = self._budget.remaining_s(), self._cost_of_pass(groups)
            rounds = affordable_rounds(remaining_s, cost.fixed_s, cost.round_s, self._protocol.rounds)
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
                    until = self._share_ends(process, groups, number)
                    stations = self._start(floor, cases, prove=False)
                    living = self._take_turns(floor, stations, process, rounds, number, until)
                    self._amend(living, process)
                    self._clear(floor, cases)

    def _settled(self) -> set[str]:
        """Keys of the cases that need no further process."""
        blocks = (block for blocks in self._ledger.blocks.values() for block in blocks)
        samples, half_width = timings(blocks), self._replication.half_width
        sides = siblings([case for case in self._plan.cases if self._ledger.is_ok(case)])
        return {case.key for cases in sides if is_settled(cases, samples, half_width) for case in cases}

    def _groups_without_blocks(self, process: int, settled: Container[str] = ()) -> list[list[Case]]:
        """Whole groups of what is not settled: turns cannot be taken with an earlier sitting."""
        ledger, rounds = self._ledger, self._protocol.rounds
        timed = [
            case
            for case in self._plan.cases
            if ledger.is_ok(case) and timed_phases(case) and case.key not in settled
        ]
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
        tasks = tuple(self._plan.suite.tasks.values())
        return Workers((), tasks, environments=self._beside, opened=self._opened)

    def _floor(self, workers: Workers, gate: Gate | None) -> Floor:
        floor = Floor(workers, gate, self._plugins.cells, self._plan.tasks, self._protocol)
        floor.spent_s = self._spent_s
        return floor

    def _opened(self, key: WorkerKey, opened: Mapping[str, Any]) -> None:
        if self._environments.note(key, opened):
            self._keep(self.outcome())


def _describe(case: Case) -> str:
    return f"{case.task}, length {case.length}, {case.cell}, hidden {case.hidden}"
