"""What the gate gives its second run, without any measuring."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import CASE

from rnnbench.ci import gating
from rnnbench.ci.gating import AGAIN, Effort, measure
from rnnbench.measuring.budget import Budget


@dataclass(frozen=True)
class Suite:
    budget_s: float | None
    processes: int = 2
    rounds: int = 6
    document: Any = field(default_factory=lambda: SimpleNamespace(places={}))


@dataclass(frozen=True)
class Plan:
    suite: Suite
    cases: tuple[Any, ...]
    refused: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Side:
    source: str = ""


SIDE = Side()


@dataclass(frozen=True)
class Found:
    flagged: tuple[Any, ...]
    notes: tuple[str, ...] = ()
    newly_ok: tuple[Any, ...] = ()
    newly_failing: tuple[Any, ...] = ()
    still_failing: tuple[Any, ...] = ()
    new: tuple[Any, ...] = ()
    rows: tuple[Any, ...] = (SimpleNamespace(verdict="regression", kind="time"),)
    comparable: bool = True
    confirmed: bool = False
    base: Any = SIDE
    head: Any = SIDE


@pytest.mark.parametrize(
    ("budget_s", "took_s", "left_s"), [(60.0, 45.0, 15.0), (60.0, 70.0, 1.0), (None, 1e4, None)]
)
def test_the_second_run_has_what_the_first_left_of_the_budget(
    budget_s: float | None,
    took_s: float,
    left_s: float | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    now, runs = [1e3], []
    monkeypatch.setattr("rnnbench.measuring.budget.time.monotonic", lambda: now[0])
    sides = {env: replace(CASE, env=env) for env in ("base", "head")}
    other = replace(sides["head"], hidden=128)
    row = SimpleNamespace(base_case=sides["base"], case=sides["head"])

    def run_plan(plan: Plan, *_: Any, folder: Path, **options: Any) -> Any:
        runs.append((plan, folder, options["again"]))
        now[0] += took_s
        return SimpleNamespace(run=SimpleNamespace(findings=()))

    monkeypatch.setattr(gating, "Budget", lambda total_s: Budget(total_s, begun=now[0]))
    monkeypatch.setattr(gating, "run_plan", run_plan)
    monkeypatch.setattr(gating, "compare_axis", lambda *_: Found((row,)))
    monkeypatch.setattr(gating, "confirm", lambda first, again: replace(first, confirmed=True))
    plan = Plan(Suite(budget_s), (*sides.values(), other))
    given: Any = SimpleNamespace(environments=(), sources=("main", "tree"), notes=())
    told: Any = SimpleNamespace(note=lambda text: None)
    nothing: Any = None
    found = measure(plan, nothing, given, told, folder=tmp_path, command=(), effort=Effort())  # type: ignore[arg-type]
    assert found.confirmed
    (first, _, _), (second, folder, again) = runs
    assert first.suite.budget_s == (None if budget_s is None else pytest.approx(0.6 * budget_s))
    assert second.suite.budget_s == (None if left_s is None else pytest.approx(left_s))
    assert second.cases == tuple(sides.values())
    assert (folder, again) == (tmp_path / AGAIN, True)
