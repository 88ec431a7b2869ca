"""The script behind the figures on false alarms: its resampling is a null hypothesis, its rules can tell."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "false_alarms.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("false_alarms", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["false_alarms"] = module
    spec.loader.exec_module(module)
    return module


def pair(rng: np.random.Generator, change: float, *, processes: int = 10, rounds: int = 20) -> Any:
    """Two sides in turns: the machine moves both by 20 %, a process by 0.5 %, a block by 2 %."""
    sides: tuple[dict[int, dict[int, float]], ...] = ({}, {})
    for process in range(processes):
        machine = rng.normal(0, 0.2) + np.cumsum(rng.normal(0, 0.02, rounds))
        for side, factor in zip(sides, (1.0, change), strict=True):
            logs = machine + rng.normal(0, 0.005) + rng.normal(0, 0.02, rounds)
            side[process] = dict(enumerate(1e-3 * factor * np.exp(logs)))
    return sides


def test_resampled_blocks_know_no_difference_and_ours_says_so(script: ModuleType) -> None:
    rng = np.random.default_rng(4)
    slower = [pair(rng, 1.05) for _ in range(20)]
    assert all(map(script.ours, slower))
    # who is base is drawn for each process, so that even a true difference is gone
    drawn = [script.resample(slower[n % 20], rng) for n in range(200)]
    assert sum(map(script.ours, drawn)) <= 6
    base, head = drawn[0]
    assert base.keys() == head.keys() == slower[0][0].keys()
    assert all(len(rounds) == 20 for rounds in base.values())


def test_who_takes_no_turns_is_fooled_by_the_machine(script: ModuleType) -> None:
    rng = np.random.default_rng(5)
    same = [pair(rng, 1.0) for _ in range(40)]
    assert sum(map(script.ours, same)) == 0
    rules = script.rules()
    assert len(rules) >= 3  # of pytest-benchmark, which the tests need anyway
    for rule in rules.values():
        assert sum(rule(script.one_after_the_other(each)) for each in same) > 10
    for name, rule in rules.items():
        if name.startswith("pytest-benchmark"):
            assert all(rule(each) for each in [pair(rng, 1.5), pair(rng, 1 / 1.5)])
