"""Who trains, who follows, and what a network that diverges costs: on a floor without workers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import CASE, FakeFloor, died, station

from rnnbench.contracts import Baseline, TaskShape
from rnnbench.measuring.budget import Budget
from rnnbench.measuring.flowing import Flows
from rnnbench.measuring.learning import learn
from rnnbench.measuring.ledger import Ledger
from rnnbench.measuring.stations import Station
from rnnbench.records import Record

SHAPE = TaskShape(1, "last", "mse", "recall", higher_is_better=True, features=1)
BACKENDS = ("torch", "jax", "numpy", "toy")


class Task:
    shape = SHAPE

    def prepare(self, length: int) -> Task:
        return self

    def baselines(self) -> dict[str, Baseline]:
        return {}


@dataclass
class Written:
    records: list[Record] = field(default_factory=list)

    def record(self, record: Record) -> None:
        self.records.append(record)

    def note(self, text: str) -> None:
        pass


FLOWS = Flows({}, {})
PLAN: Any = SimpleNamespace(tasks={"copy": Task()}, suite=SimpleNamespace(score_on="fastest"))


def four() -> list[Station]:
    """torch is the quickest, then jax, numpy, toy."""
    return [station(name, {"train_step": 1e-3 * (i + 1)}) for i, name in enumerate(BACKENDS)]


def learned(
    floor: FakeFloor, budget: Budget | None = None, prepare: Callable[[Ledger], None] = lambda ledger: None
) -> dict[str, Record]:
    written: Any = Written()
    ledger = Ledger(written, written, None)
    stations = four()
    for each in stations:
        ledger.keep(each.record("ok"))
    prepare(ledger)
    wanted = [each for each in stations if ledger.records[each.case.key].score is None]
    learn(floor, ledger, PLAN, wanted, FLOWS, budget or Budget(None), 0.0)  # type: ignore[arg-type]
    return {record.case.backend: record for record in ledger.records.values()}


def spent() -> Budget:
    return Budget(10.0, begun=time.monotonic() - 11)


def test_one_trains_and_the_others_follow() -> None:
    floor = FakeFloor()
    found = learned(floor)
    assert all(record.status == "ok" and record.score is not None for record in found.values())
    assert {record.score.trained_on for record in found.values() if record.score} == {found["torch"].case.key}
    assert {backend for backend, do, _ in floor.asked if do == "evaluate"} == {"torch"}


def test_without_budget_nothing_is_trained_and_the_record_says_so() -> None:
    floor = FakeFloor()
    found = learned(floor, spent())
    assert floor.asked == []
    for record in found.values():
        assert (record.status, record.score) == ("ok", None)
        assert [finding.word for finding in record.findings] == ["over_budget"]
        assert "not trained" in record.findings[0].text


def test_a_later_score_takes_the_finding_back() -> None:
    def untrained(ledger: Ledger) -> None:
        for record in list(ledger.records.values()):
            learn(FakeFloor(), ledger, PLAN, [Station(record.case, None)], FLOWS, spent(), 0.0)  # type: ignore[arg-type]
            assert ledger.records[record.case.key].findings

    assert all(record.findings == () for record in learned(FakeFloor(), prepare=untrained).values())


def test_following_an_earlier_sitting_ends_with_the_budget() -> None:
    def led(ledger: Ledger) -> None:
        first = four()[:1]
        learn(FakeFloor(), ledger, PLAN, first, FLOWS, Budget(None), 0.0)  # type: ignore[arg-type]

    floor = FakeFloor()
    found = learned(floor, spent(), prepare=led)
    assert floor.asked == []
    assert {name: record.score and record.score.follows for name, record in found.items()} == {
        "torch": 0.0, "jax": None, "numpy": None, "toy": None,
    }  # fmt: skip
    assert all(record.score is not None for record in found.values())
    assert {r.score.follows for r in learned(FakeFloor(), prepare=led).values() if r.score} == {0.0}


def test_a_network_that_diverges_on_two_is_not_trained_on_the_rest() -> None:
    floor = FakeFloor(loss=lambda backend, seed, step: math.nan if (seed, step) == (1, 5) else 1.0)
    found = learned(floor)
    assert {record.status for record in found.values()} == {"diverged"}
    assert {backend for backend, _, _ in floor.asked} == {"torch", "jax"}
    assert found["torch"].case.key in found["toy"].reason
    assert "step 6 (seed 1)" in found["toy"].reason
    seeds = [request["id"] for backend, do, request in floor.asked if backend == "jax" and do == "train"]
    assert set(seeds) == {"train-1"}, "the second begins where the first diverged"
    kept = found["torch"].score
    assert kept is not None
    assert [curve.seed for curve in kept.curves] == [0]
    assert found["jax"].score is None


def test_one_that_diverges_alone_is_broken_and_the_others_go_on() -> None:
    """Negative control of the above."""
    floor = FakeFloor(loss=lambda backend, seed, step: math.nan if backend == "torch" else 1.0)
    found = learned(floor)
    assert {name: record.status for name, record in found.items()} == {
        "torch": "diverged", "jax": "ok", "numpy": "ok", "toy": "ok",
    }  # fmt: skip
    assert {r.score.trained_on for r in found.values() if r.score} == {found["jax"].case.key}


@pytest.mark.parametrize("fault", ["build", "evaluate"])
def test_a_death_in_a_later_seed_keeps_the_finished_ones(fault: str) -> None:
    calls = {"build": [None, died()], "evaluate": [None, None, None, died()]}[fault]
    found = learned(FakeFloor(faults={("torch", fault): calls}))  # type: ignore[dict-item]
    assert found["torch"].status == "crashed"
    assert found["torch"].score is not None
    assert [(c.seed, c.steps) for c in found["torch"].score.curves] == [(0, (4, 8, 10))]
    assert found["jax"].score is not None
    assert found["jax"].score.trained_on == found["jax"].case.key
    assert CASE.train.seeds == len(found["jax"].score.curves) == 2
