"""A case at its worker: built, held to the reference, called for the first time, warmed up."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rnnbench.contracts import Cell, NetworkSpec, Settings, Task
from rnnbench.measuring.gate import Gate, join
from rnnbench.measuring.process import Worker, WorkerKey
from rnnbench.measuring.protocol import Message
from rnnbench.measuring.refusals import Refused, WorkerDied, refusing
from rnnbench.measuring.workers import Workers
from rnnbench.planning.networks import network_spec
from rnnbench.records import TIMED, Case, Finding, GradientFlow, Measure, Parity, Record, Status

WARM_CALLS = 10
WARM_AT_MOST_S = 30.0
_DROP_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Protocol:
    """How much is measured: the numbers of measurement.md, and a time limit for each case that kills.

    ``most_rounds``: with it ``rounds`` are the least, and a process goes on until its times are precise.
    """

    rounds: int = 20
    most_rounds: int | None = None
    block_s: float = 0.020
    warm_s: float = 1.0
    case_limit_s: float = 300.0


COMPARING = Protocol(rounds=10, most_rounds=80, block_s=0.005)
"""Where two versions of one network are told apart: many short blocks.

On a shared machine a core's speed changes in steps of about a block, and the median over rounds drops the
blocks that a change fell into; so in one time four blocks of 5 ms tell more than one of 20 ms.
"""


def worker_key(case: Case) -> WorkerKey:
    """The worker that a case needs."""
    settings = Settings(device=case.device, dtype=case.dtype, threads=case.threads)
    return WorkerKey(case.backend, settings, case.env)


@dataclass(slots=True)
class Station:
    """What is known of a case while it is measured.

    ``cores``: how many its worker is pinned to. ``used_s`` counts against the case's time limit.
    """

    case: Case
    spec: NetworkSpec
    cores: int = 0
    path: str = ""
    step_path: str = ""
    parameters: int | None = None
    steps: int | None = None
    parity: Parity | None = None
    phases: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    flops: dict[str, int] = field(default_factory=dict)
    compilations: int | None = None
    compiled_in_blocks: int = 0
    median_s: dict[Measure, float] = field(default_factory=dict)
    gradient_flow: GradientFlow | None = None
    used_s: float = 0.0

    def record(self, status: Status, reason: str = "", findings: tuple[Finding, ...] = ()) -> Record:
        """All of this as a record."""
        return Record(
            case=self.case,
            status=status,
            reason=reason,
            path=self.path,
            step_path=self.step_path,
            parameters=self.parameters,
            steps=self.steps,
            parity=self.parity,
            phases=dict(self.phases),
            memory=dict(self.memory),
            flops=dict(self.flops),
            compilations=self.compilations,
            gradient_flow=self.gradient_flow,
            findings=findings,
        )


class Floor:
    """Puts cases at their workers and speaks to them, within each case's time limit."""

    def __init__(
        self,
        workers: Workers,
        gate: Gate | None,
        cells: Mapping[str, Cell],
        tasks: Mapping[str, Task],
        protocol: Protocol,
    ) -> None:
        self._workers = workers
        self._gate = gate
        self._cells = cells
        self._tasks = tasks
        self.protocol = protocol
        self.spent_s: dict[str, float] = {}

    def station(self, case: Case) -> Station:
        """The case before anything has been done for it. Raises Refused where its task cannot be prepared."""
        with refusing():
            return Station(case, network_spec(case, self._tasks[case.task].prepare(case.length).shape))

    def worker(self, case: Case) -> Worker:
        """The case's worker, started if need be. Raises Refused."""
        key = worker_key(case)
        start = time.monotonic()
        try:
            return self._workers.of(key)
        finally:
            self._note("open", start)

    def drop(self, case: Case, id: str) -> None:
        """Forget a network, where its worker lives. A worker that hangs over it is killed, in silence."""
        worker = self._workers.living(worker_key(case))
        if worker is None:
            return
        start = time.monotonic()
        try:
            worker.ask("drop", _DROP_LIMIT_S, id=id)
        except WorkerDied:
            self._workers.forget(worker.key)
        except Refused:
            return
        finally:
            self._note("drop", start)

    def ask(self, station: Station, do: str, **request: Any) -> Message:
        """One request for a case. Raises Refused; after WorkerDied the worker is forgotten."""
        worker = self.worker(station.case)
        remaining_s = self.protocol.case_limit_s - station.used_s
        start = time.monotonic()
        try:
            return worker.ask(do, max(1.0, remaining_s), **request)
        except WorkerDied as died:
            self._workers.forget(worker.key)
            if died.status == "timeout":
                raise WorkerDied(
                    "timeout",
                    f"the limit of {self.protocol.case_limit_s:.0f} s for a case was over during {do}",
                ) from None
            raise
        finally:
            self._spend(station, do, start)

    def _spend(self, station: Station, what: str, start: float) -> None:
        station.used_s += time.monotonic() - start
        self._note(what, start)

    def _note(self, what: str, start: float) -> None:
        self.spent_s[what] = self.spent_s.get(what, 0.0) + time.monotonic() - start

    def build(self, station: Station, id: str, seed: int = 0) -> None:
        """Build the case's network under ``id`` with the initial parameters of ``seed``."""
        case = station.case
        reply = self.ask(
            station,
            "build",
            id=id,
            spec=asdict(station.spec),
            training=asdict(case.train.spec),
            implementation=case.implementation,
            task=case.task,
            length=case.length,
            size=case.batch,
            init=case.init,
            gain=case.gain,
            forget_bias=case.forget_bias,
            seed=seed,
        )
        station.phases.setdefault("build_s", reply["build_s"])
        station.path, station.parameters = reply["path"], reply["parameters"]
        station.steps = reply["steps"]
        station.flops = {phase: reply["flops"][phase] for phase in timed_phases(case)}

    def prove(self, station: Station) -> None:
        """The parity gate. Raises Refused with status ``mismatch``."""
        assert self._gate is not None
        case, worker = station.case, self.worker(station.case)
        start, computed_s = time.monotonic(), self._gate.computed_s
        limit_s = self.protocol.case_limit_s
        try:
            with refusing():
                task = self._tasks[case.task].prepare(case.length)
                steps = "stream" in case.measure
                probe = self._gate.probe(worker, station.spec, case.implementation, limit_s, steps=steps)
                check = self._gate.check(worker, case.key, case, station.spec, task, limit_s)
        except WorkerDied:
            self._workers.forget(worker.key)
            raise
        finally:
            self._spend(station, "prove", start)
            # the reference is this process's work, and whoever comes first would pay for all
            station.used_s -= self._gate.computed_s - computed_s
        station.parity = join(probe, check)
        if not station.parity.passed:
            wrong = [f"{name} {r:.3g}" for name, r in station.parity.worst.items() if not r <= 1.0]
            raise Refused(
                "mismatch",
                f"not the function of the {case.dtype} reference; error / tolerance: {', '.join(wrong)}",
            )

    def start(self, station: Station, *, prove: bool) -> None:
        """Build, first calls, gate, warm-up: everything before the rounds."""
        phases = timed_phases(station.case)
        self.build(station, station.case.key)
        for phase in phases:
            if phase != "train_step":
                self._first(station, phase)
        if prove:
            # before the first update, which moves the parameters away from the reference's
            self.prove(station)
        if "train_step" in phases:
            # not the figure: the gate may have traced a part of it; ``take_apart`` clocks it
            station.path = self.ask(station, "first", id=station.case.key, phase="train_step")["path"]
        for phase in phases:
            warm = self.ask(
                station,
                "warm",
                id=station.case.key,
                phase=phase,
                at_least_s=self.protocol.warm_s / len(phases),
                at_least_calls=WARM_CALLS,
                at_most_s=WARM_AT_MOST_S,
            )
            station.median_s[phase] = warm["median_s"]
            station.compilations = warm["compilations"]

    def take_apart(self, station: Station) -> None:
        """First training step and peak memory, on a fresh network that is alone in its process.

        The caller has dropped all others: what they hold would be charged to this one or hidden by it.
        """
        case = station.case
        phases = timed_phases(case)
        phase: Measure = phases[-1] if phases else "train_step"
        if "memory" in case.measure:
            implementation = case.implementation
            self.ask(station, "settle", spec=asdict(station.spec), implementation=implementation)
        elif phase != "train_step" or not phases:
            return
        self.build(station, case.key)
        try:
            if phase in phases:
                self._first(station, phase)
            if "memory" in case.measure:
                station.memory.update(self.ask(station, "memory", id=case.key, phase=phase))
        finally:
            self.drop(case, case.key)

    def _first(self, station: Station, phase: Measure) -> None:
        first = self.ask(station, "first", id=station.case.key, phase=phase)
        if f"first_{phase}_s" not in station.phases:
            station.phases[f"first_{phase}_s"] = first["seconds"]
            parts = {part: first[f"{part}_s"] for part in ("trace", "compile") if f"{part}_s" in first}
            station.phases.update({f"{part}_{phase}_s": seconds for part, seconds in parts.items()})
        station.path = first["path"]
        station.step_path = first.get("step_path", station.step_path)


def timed_phases(case: Case) -> list[Measure]:
    """The phases of a case that are timed in rounds."""
    return [phase for phase in TIMED if phase in case.measure]
