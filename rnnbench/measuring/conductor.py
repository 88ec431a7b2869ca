"""The parent: takes a plan through gate, turns and training, and writes what comes of it as it comes.

Order of work. Pass 0 measures every group once in fresh workers and records each case; then the
networks are trained; then further passes, each in fresh processes, add blocks, for the process is
the unit of replication. A budget shortens training and further passes, never the gate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from typing import Protocol as Interface

from rnnbench.contracts import TaskShape
from rnnbench.errors import RnnbenchError, Unavailable
from rnnbench.measuring.budget import LEAST_ROUNDS, Budget, affordable_rounds, training_share_s
from rnnbench.measuring.gate import Gate
from rnnbench.measuring.scoring import (
    ScoreOn,
    Trained,
    assemble,
    choose_trained,
    follow,
    score_findings,
    train_all_seeds,
)
from rnnbench.measuring.stations import Floor, Protocol, Station, timed_phases
from rnnbench.measuring.turns import restart_beside, take_turns
from rnnbench.measuring.workers import Refused, WorkerDied, Workers
from rnnbench.planning import Plan
from rnnbench.plugins import Plugins
from rnnbench.records import Block, Case, Finding, Record
from rnnbench.results import RunResults, Writer

_OVERHEAD = 1.15
"""Batches and evaluations come on top of the training steps that an estimate counts."""


class Progress(Interface):
    """Who is told what happens; the command line shows it."""

    def note(self, text: str) -> None:
        """What is being done now."""
        ...

    def record(self, record: Record) -> None:
        """A case has a new record."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the run as a whole has to say, for run.json."""

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
) -> Outcome:
    """Measure everything that is not in ``done`` yet. Every case has a record when this returns."""
    return _Conductor(plan, plugins, writer, progress, protocol, plugin_files, done).conduct()


class _Conductor:
    def __init__(
        self,
        plan: Plan,
        plugins: Plugins,
        writer: Writer,
        progress: Progress,
        protocol: Protocol,
        plugin_files: Sequence[str],
        done: RunResults | None,
    ) -> None:
        self._plan, self._plugins, self._writer, self._progress = plan, plugins, writer, progress
        self._protocol, self._plugin_files = protocol, plugin_files
        self._budget = Budget(plan.suite.budget_s)
        self._begun = time.monotonic()
        self._records: dict[str, Record] = {}
        self._blocks: dict[str, list[Block]] = {}
        if done is not None:
            self._records = {record.case.key: record for record in done.records}
            for block in done.blocks:
                self._blocks.setdefault(block.case, []).append(block)
        self._stations: dict[str, Station] = {}
        self._environments: dict[str, dict[str, Any]] = {}
        self._spent_s: dict[str, float] = {}
        self._findings: list[Finding] = []

    def conduct(self) -> Outcome:
        for refused in self._plan.refused:
            if refused.case.key not in self._records:
                self._keep_record(Record(refused.case, refused.status, refused.reason))
        with self._workers() as workers:
            floor = self._floor(workers, Gate(self._plugins.cells))
            begun = time.monotonic()
            rounds_s = self._first_pass(floor)
            pass_s = time.monotonic() - begun
            self._score(floor, (self._plan.suite.processes - 1) * pass_s)
            self._note_environments(workers)
        self._further_passes(pass_s - rounds_s, rounds_s / max(1, self._protocol.rounds))
        self._spent_s["total"] = time.monotonic() - self._begun
        return Outcome(self._environments, self._spent_s, tuple(self._findings))

    # pass 0

    def _first_pass(self, floor: Floor) -> float:
        """Gate, time and record every case that has no record; returns the seconds spent in rounds."""
        todo = [case for case in self._plan.cases if case.key not in self._records]
        groups = grouped(todo, lambda case: case.group)
        rounds_s = 0.0
        for number, cases in enumerate(groups, start=1):
            if self._budget.over():
                for case in cases:
                    self._keep_record(Record(case, "skipped", self._over_budget()))
                continue
            self._progress.note(f"group {number} of {len(groups)}: {_describe(cases[0])}")
            living = self._start(floor, cases, prove=True)
            begun = time.monotonic()
            living = take_turns(floor, living, 0, self._protocol.rounds, number, self._keep_block, self._fail)
            rounds_s += time.monotonic() - begun
            for station in living:
                self._finish(floor, station)
            self._clear(floor, living)
        return rounds_s

    def _start(self, floor: Floor, cases: Iterable[Case], *, prove: bool) -> list[Station]:
        living: list[Station] = []
        for case in cases:
            station = self._station(floor, case)
            if station is None:
                continue
            try:
                floor.start(station, prove=prove)
                living.append(station)
            except Refused as refused:
                self._fail(station, refused)
                if isinstance(refused, WorkerDied):
                    living = restart_beside(floor, living, station, self._fail)
        return living

    def _station(self, floor: Floor, case: Case) -> Station | None:
        try:
            station = floor.station(case)
            station.phases["import_s"] = floor.worker(case).opened["import_s"]
        except Unavailable as error:
            self._keep_record(Record(case, "skipped", str(error)))
        except Refused as refused:
            self._keep_record(Record(case, refused.status, refused.reason))
        except RnnbenchError as error:
            self._keep_record(Record(case, "failed", str(error)))
        else:
            return station
        return None

    def _finish(self, floor: Floor, station: Station) -> None:
        """The memory pass and the record of a case that went through its rounds."""
        phases = timed_phases(station.case)
        try:
            if "memory" in station.case.measure:
                phase = phases[-1] if phases else "train_step"
                station.memory.update(floor.ask(station, "memory", id=station.case.key, phase=phase))
            self._keep_record(station.record("ok", findings=tuple(self._doubts(floor, station))))
            self._stations[station.case.key] = station
        except Refused as refused:
            self._fail(station, refused)

    def _doubts(self, floor: Floor, station: Station) -> Iterator[Finding]:
        if not floor.worker(station.case).opened["pinned"]:
            yield Finding("not_pinned", "this system cannot pin a process to cores")
        if station.compiled_in_blocks:
            yield Finding(
                "recompiled",
                f"{station.compiled_in_blocks} compilations after warm-up; their blocks do not count",
            )

    def _clear(self, floor: Floor, stations: Iterable[Station]) -> None:
        for station in stations:
            try:
                floor.ask(station, "drop", id=station.case.key)
            except Refused:
                continue  # its worker is gone, and the network with it

    # scores

    def _score(self, floor: Floor, passes_s: float) -> None:
        ok = [case for case in self._plan.cases if self._needs_score(case)]
        networks = grouped(ok, lambda case: case.network)
        jobs = [(cases, self._resumed_stations(floor, cases)) for cases in networks]
        score_on: ScoreOn = self._plan.suite.score_on
        chosen = [choose_trained(stations, score_on) for _, stations in jobs]
        estimates = [sum(_training_s(station) for station in stations) for stations in chosen]
        left_s = training_share_s(self._budget.remaining_s(), sum(estimates), passes_s)
        for number, ((_, stations), trained_ones, estimate) in enumerate(
            zip(jobs, chosen, estimates, strict=True)
        ):
            share = estimate / max(sum(estimates[number:]), 1e-9)
            begun = time.monotonic()
            self._score_network(floor, stations, trained_ones, left_s * share)
            left_s -= time.monotonic() - begun

    def _needs_score(self, case: Case) -> bool:
        record = self._records[case.key]
        return record.status == "ok" and "score" in case.measure and record.score is None

    def _resumed_stations(self, floor: Floor, cases: Iterable[Case]) -> list[Station]:
        """The stations of pass 0; for a resumed run rebuilt from what its blocks say."""
        stations = []
        for case in cases:
            if case.key not in self._stations:
                station = floor.station(case)
                for block in self._blocks.get(case.key, ()):
                    station.median_s[block.phase] = block.per_call_s
                self._stations[case.key] = station
            stations.append(self._stations[case.key])
        return stations

    def _score_network(
        self, floor: Floor, stations: list[Station], chosen: list[Station], allowed_s: float
    ) -> None:
        """Train the chosen stations of one network; the others follow the first of them that ends well."""
        case = stations[0].case
        task = self._plan.tasks[case.task]
        shape = task.prepare(case.length).shape
        trained: tuple[Station, Trained] | None = None
        rest = [station for station in stations if station not in chosen]
        candidates = list(chosen)
        while candidates:
            station = candidates.pop(0)
            result = self._train(floor, station, shape, allowed_s / max(1, len(chosen)))
            if result is None:
                # a score is still wanted when the quickest backend crashed: the next one trains
                if trained is None and not candidates and rest:
                    candidates.append(rest.pop(0))
                continue
            score = assemble(task, shape, station.case.key, result, case.length)
            self._amend(station, score=score, findings=tuple(score_findings(score)))
            trained = trained or (station, result)
        if trained is None:
            return
        leader, result = trained
        for station in rest:
            self._progress.note(f"{station.case.key}: follows {leader.case.backend}?")
            try:
                difference = follow(floor, station, result.first_losses)
            except Refused as refused:
                self._amend(station, status=refused.status, reason=refused.reason)
                continue
            score = replace(assemble(task, shape, leader.case.key, result, case.length), follows=difference)
            self._amend(station, score=score, findings=tuple(score_findings(score)))

    def _train(self, floor: Floor, station: Station, shape: TaskShape, allowed_s: float) -> Trained | None:
        try:
            return train_all_seeds(floor, station, shape, allowed_s, self._progress.note)
        except Refused as refused:
            self._amend(station, status=refused.status, reason=refused.reason)
            return None

    # further passes

    def _further_passes(self, fixed_s: float, round_s: float) -> None:
        processes = self._plan.suite.processes
        for process in range(1, processes):
            todo = [case for case in self._plan.cases if self._needs_blocks(case, process)]
            if not todo:
                continue
            rounds = affordable_rounds(self._budget.remaining_s(), fixed_s, round_s, self._protocol.rounds)
            if rounds == 0:
                self._findings.append(
                    Finding(
                        "over_budget",
                        f"{process} of {processes} processes were measured: {self._over_budget()}",
                    )
                )
                return
            with self._workers() as workers:
                floor = self._floor(workers, None)
                groups = grouped(todo, lambda case: case.group)
                for number, cases in enumerate(groups, start=1):
                    if self._budget.over():
                        break
                    self._progress.note(
                        f"process {process + 1} of {processes}, group {number} of {len(groups)}: "
                        f"{_describe(cases[0])}"
                    )
                    living = self._start(floor, cases, prove=False)
                    living = take_turns(floor, living, process, rounds, number, self._keep_block, self._fail)
                    self._clear(floor, living)

    def _needs_blocks(self, case: Case, process: int) -> bool:
        if self._records[case.key].status != "ok" or not timed_phases(case):
            return False
        blocks = [block for block in self._blocks.get(case.key, ()) if block.process == process]
        rounds = {block.round for block in blocks if block.phase == timed_phases(case)[-1]}
        return len(rounds) < min(LEAST_ROUNDS, self._protocol.rounds)

    # what is kept

    def _keep_block(self, block: Block) -> None:
        self._blocks.setdefault(block.case, []).append(block)
        self._writer.block(block)

    def _keep_record(self, record: Record) -> None:
        self._records[record.case.key] = record
        self._writer.record(record)
        self._progress.record(record)

    def _fail(self, station: Station, refused: Refused) -> None:
        known = self._records.get(station.case.key)
        if known is not None:  # it was ok in an earlier process: what was learned then stays
            self._amend(station, status=refused.status, reason=refused.reason)
        else:
            self._keep_record(station.record(refused.status, refused.reason))

    def _amend(self, station: Station, findings: tuple[Finding, ...] = (), **changes: Any) -> None:
        record = self._records[station.case.key]
        self._keep_record(replace(record, findings=(*record.findings, *findings), **changes))

    def _over_budget(self) -> str:
        return f"the budget of {self._budget.total_s:.0f} s was spent; give more with --budget"

    def _workers(self) -> Workers:
        return Workers(self._plugin_files, tuple(self._plan.suite.tasks.values()))

    def _floor(self, workers: Workers, gate: Gate | None) -> Floor:
        floor = Floor(workers, gate, self._plugins.cells, self._plan.tasks, self._protocol)
        floor.spent_s = self._spent_s
        return floor

    def _note_environments(self, workers: Workers) -> None:
        for key, opened in workers.environments.items():
            settings = key.settings
            facts = {"device": settings.device, "dtype": settings.dtype, "threads": settings.threads}
            self._environments.setdefault(key.backend, {**opened, **facts})


def grouped(cases: Iterable[Case], key: Callable[[Case], Any]) -> list[list[Case]]:
    """Cases with equal keys together, in the order in which they first appear."""
    groups: dict[Any, list[Case]] = {}
    for case in cases:
        groups.setdefault(key(case), []).append(case)
    return list(groups.values())


def _describe(case: Case) -> str:
    return f"{case.task}, length {case.length}, {case.cell}, hidden {case.hidden}"


def _training_s(station: Station) -> float:
    train = station.case.train
    times = station.median_s
    step_s = times.get("train_step") or 3 * times.get("forward", 0.01)
    return train.seeds * train.steps * step_s * _OVERHEAD
