from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.measuring import budget as module
from rnnbench.measuring.budget import LEAST_ROUNDS, Budget, affordable_rounds, training_share_s

seconds = st.just(0.0) | st.floats(1e-9, 1e5)  # no clock ticks faster


def test_a_budget_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    budget = Budget(60.0, begun=100.0)
    assert budget.remaining_s() == 60
    now = 159.0
    assert budget.remaining_s() == 1
    assert not budget.over()
    now = 120.0
    assert budget.share_ends(8) == 125.0
    now = 161.0
    assert budget.share_ends(8) == 161.0
    assert budget.remaining_s() == 0
    assert budget.over()
    assert not Budget(None).over()
    assert Budget(None).remaining_s() == Budget(None).share_ends(3) == math.inf


@given(seconds, seconds, seconds)
def test_training_gets_at_most_what_is_left(remaining_s: float, training_s: float, passes_s: float) -> None:
    share_s = training_share_s(remaining_s, training_s, passes_s)
    assert 0 <= share_s <= remaining_s * (1 + 1e-12)
    if training_s + passes_s <= remaining_s:
        assert share_s == remaining_s - passes_s >= training_s - 1e-9
    else:  # both give way in proportion
        assert share_s * (training_s + passes_s) == pytest.approx(remaining_s * training_s)


def test_without_a_limit_everything_fits() -> None:
    assert training_share_s(math.inf, 1e9, 1e9) == math.inf
    assert affordable_rounds(math.inf, 1e9, 1e9, 20) == 20


@given(seconds, seconds, st.floats(0, 100), st.integers(1, 80))
def test_rounds_fit_or_are_none(remaining_s: float, fixed_s: float, round_s: float, wanted: int) -> None:
    rounds = affordable_rounds(remaining_s, fixed_s, round_s, wanted)
    assert rounds == 0 or min(LEAST_ROUNDS, wanted) <= rounds <= wanted
    if rounds:
        assert fixed_s + rounds * round_s <= remaining_s * (1 + 1e-9) + 1e-6
    elif round_s > 1e-6:
        assert fixed_s + (min(LEAST_ROUNDS, wanted) + 1) * round_s >= remaining_s * (1 - 1e-9) - 1e-6


def test_a_suite_that_asks_for_few_rounds_gets_them() -> None:
    assert affordable_rounds(1000.0, 1.0, 1.0, 2) == 2
    assert affordable_rounds(12.0, 1.0, 2.0, 20) == 0
    assert affordable_rounds(13.5, 1.0, 2.0, 20) == 6
