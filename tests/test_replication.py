"""How many processes: enough for the interval that was asked for, and no more."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import CASE

from rnnbench.measuring.budget import Budget
from rnnbench.measuring.conductor import _Conductor
from rnnbench.measuring.replication import Replication, is_settled, siblings
from rnnbench.records import Case

BASE, HEAD = replace(CASE, env="base"), replace(CASE, env="head")


def samples(
    spread: float, processes: int, seed: int = 0
) -> dict[tuple[str, str], dict[int, dict[int, float]]]:
    """Two sides whose log ratio varies by ``spread`` from process to process."""
    rng = np.random.default_rng(seed)
    base: dict[int, dict[int, float]] = {}
    head: dict[int, dict[int, float]] = {}
    for process in range(processes):
        own = float(np.exp(rng.normal(0, spread)))
        base[process] = dict.fromkeys(range(4), 0.001)
        head[process] = dict.fromkeys(range(4), 0.001 * own)
    return {(BASE.key, "train_step"): base, (HEAD.key, "train_step"): head}


def settled(cases: list[Case], spread: float, processes: int, half_width: float = 0.025) -> bool:
    return is_settled(cases, samples(spread, processes), half_width)  # type: ignore[arg-type]


def test_time_is_kept_for_two_more_processes_than_are_sure() -> None:
    rule = Replication(start=6, most=20)
    assert [rule.foreseen(process) for process in (0, 5, 6, 7, 8, 17, 18, 19)] == [
        8,
        8,
        10,
        10,
        12,
        20,
        20,
        20,
    ]
    assert {Replication(3, 3).foreseen(process) for process in range(3)} == {3}


def test_every_group_in_every_process_has_an_equal_share_of_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each takes all of its share: 8 processes of 5 groups have 400 s, of which 6 processes are sure."""
    now = 0.0
    monkeypatch.setattr("rnnbench.measuring.budget.time.monotonic", lambda: now)
    sitting = SimpleNamespace(_replication=Replication(start=6, most=20), _budget=Budget(400.0, begun=0.0))
    spent = []
    for process in range(6):
        for number in range(1, 6):
            until = _Conductor._share_ends(sitting, process, range(5), number)  # type: ignore[arg-type]
            spent.append(until - now)
            now = until
    assert spent == pytest.approx([10.0] * 30)


def test_who_is_looked_at_when() -> None:
    rule = Replication(start=6, most=20)
    assert [process for process in range(20) if rule.is_due(process)] == [6, 8, 10, 12, 14, 16, 18]
    assert not any(Replication(3, 3).is_due(process) for process in range(3))


def test_sides_differ_in_environment_alone() -> None:
    other = replace(HEAD, backend="jax")
    assert siblings([BASE, other, HEAD]) == [[BASE, HEAD], [other]]


def test_a_pair_is_settled_when_student_says_so() -> None:
    """Half-width of six processes: t(5, 0.995) s / √6, and t(5, 0.995) = 4.0321 (tables)."""
    times = samples(0.02, 6)
    logs = [math.log(rounds[0] / 1e-3) for rounds in times[HEAD.key, "train_step"].values()]
    half = 4.0321 * float(np.std(logs, ddof=1)) / math.sqrt(6)
    assert settled([BASE, HEAD], 0.02, 6, half * 1.001)
    assert not settled([BASE, HEAD], 0.02, 6, half * 0.999)


def test_noise_asks_for_more_processes_and_gets_them() -> None:
    assert settled([BASE, HEAD], 0.002, 6)
    assert not settled([BASE, HEAD], 0.04, 6)
    assert settled([BASE, HEAD], 0.02, 20)
    assert not settled([BASE, HEAD], 0.0, 1), "one process has no interval"


def test_a_case_without_another_side_waits_for_nobody() -> None:
    assert settled([HEAD], 0.5, 2)
    assert is_settled([BASE, HEAD], {}, 0.025), "one that failed has no times"
