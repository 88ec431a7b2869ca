"""A floor without workers: networks that train as they are told, blocks that last as they are told."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rnnbench.contracts import NetworkSpec
from rnnbench.measuring.refusals import Refused, WorkerDied
from rnnbench.measuring.stations import Protocol, Station
from rnnbench.records import Case, Train

SPEC = NetworkSpec("elman", 1, 2, 1, "last", "mse")
CASE = Case(
    "copy",
    20,
    "elman",
    "torch",
    "native",
    train=Train(steps=10, evaluate_every=4, seeds=2),
    measure=("train_step",),
)


def station(backend: str = "torch", median_s: Mapping[Any, float] | None = None, **changes: Any) -> Station:
    made = Station(replace(CASE, backend=backend, **changes), SPEC)
    made.median_s.update({"train_step": 1e-3} if median_s is None else median_s)
    return made


@dataclass
class FakeWorker:
    idle_cpu_share: float = 0.0
    paused: int = 0

    def pause(self) -> None:
        self.paused += 1


@dataclass
class FakeFloor:
    """``faults``: (backend, request) -> what to raise, once each, in order; None: nothing this time.

    ``loss(backend, seed, step)`` and ``seconds(backend, loops)`` are the world's answers.
    """

    faults: dict[tuple[str, str], list[Refused | None]] = field(default_factory=dict)
    loss: Callable[[str, int, int], float] = lambda backend, seed, step: 1.0 / (1 + step + seed)
    score: Callable[[int], float] = lambda step: step / 10
    finite: Callable[[int], bool] = lambda step: True
    seconds: Callable[[str, int], float] = lambda backend, loops: 1e-3 * loops
    compiled: Callable[[int], int] = lambda call: 0
    steps_at_once: int = 1000
    protocol: Protocol = field(default_factory=Protocol)
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    workers: dict[str, FakeWorker] = field(default_factory=dict)
    built: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def station(self, case: Case) -> Station:
        made = Station(case, SPEC)
        made.median_s["train_step"] = 1e-3
        return made

    def worker(self, case: Case) -> FakeWorker:
        return self.workers.setdefault(case.backend, FakeWorker())

    def start(self, station: Station, *, prove: bool) -> None:
        self.started.append(station.case.key)
        self._stumble(station, "start")

    def build(self, station: Station, id: str, seed: int = 0) -> None:
        self._stumble(station, "build")
        self.built[station.case.backend, id] = [seed, 0]

    def drop(self, case: Case, id: str) -> None:
        self.dropped.append((case.backend, id))
        self.built.pop((case.backend, id), None)

    def ask(self, station: Station, do: str, **request: Any) -> dict[str, Any]:
        backend = station.case.backend
        self.asked.append((backend, do, request))
        self._stumble(station, do)
        return getattr(self, f"_{do}")(backend, **request)  # type: ignore[no-any-return]

    def _stumble(self, station: Station, do: str) -> None:
        faults = self.faults.get((station.case.backend, do), [])
        fault = faults.pop(0) if faults else None
        if fault is not None:
            raise fault

    def _block(self, backend: str, id: str, phase: str, loops: int) -> dict[str, Any]:
        calls = sum(asked[1] == "block" for asked in self.asked)
        return {"seconds": self.seconds(backend, loops), "compiled": self.compiled(calls)}

    def _train(self, backend: str, id: str, steps: int, at_most_s: float) -> dict[str, Any]:
        network = self.built[backend, id]
        losses: list[float] = []
        for _ in range(min(steps, self.steps_at_once if at_most_s > 0 else 1)):
            losses.append(self.loss(backend, *network))
            network[1] += 1
            if not math.isfinite(losses[-1]):
                break
        return {"losses": losses, "steps": network[1], "seconds": 0.0}

    def _fit(self, backend: str, id: str, steps: int, at_most_s: float) -> dict[str, Any]:
        return self._train(backend, id, steps, at_most_s)

    def _solve(self, backend: str, id: str, alpha: float) -> dict[str, Any]:
        return {}

    def _evaluate(self, backend: str, id: str) -> dict[str, Any]:
        step = self.built[backend, id][1]
        return {"score": self.score(step), "finite": self.finite(step)}


def died() -> WorkerDied:
    return WorkerDied("crashed", "the worker was killed by SIGSEGV")
