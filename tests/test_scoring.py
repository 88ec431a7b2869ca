"""Training and following, on a floor without workers."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest
from fakes import CASE, FakeFloor, died, station

from rnnbench.contracts import Baseline, TaskShape
from rnnbench.measuring import scoring
from rnnbench.measuring.refusals import WorkerDied
from rnnbench.measuring.scoring import (
    FOLLOW_STEPS,
    Diverged,
    Trained,
    assemble,
    choose_trained,
    curve_difference,
    first_losses,
    follow,
    score_findings,
    train_all_seeds,
)
from rnnbench.measuring.stations import Protocol
from rnnbench.records import Curve, Score

SHAPE = TaskShape(1, "last", "mse", "recall", higher_is_better=True, features=1)


def train(floor: FakeFloor, allowed_s: float = math.inf, **changes: object) -> Trained:
    one = station(train=replace(CASE.train, **changes))  # type: ignore[arg-type]
    trained = Trained()
    train_all_seeds(floor, one, SHAPE, time.monotonic() + allowed_s, lambda text: None, trained)  # type: ignore[arg-type]
    return trained


def test_a_curve_for_each_seed_with_the_mean_loss_between_evaluations() -> None:
    floor = FakeFloor()
    trained = train(floor)
    assert [curve.seed for curve in trained.curves] == [0, 1]
    first, second = trained.curves
    assert first.steps == second.steps == (4, 8, 10)
    assert first.scores == (0.4, 0.8, 1.0)
    assert first.loss == pytest.approx(
        ((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4, (1 / 5 + 1 / 6 + 1 / 7 + 1 / 8) / 4, 19 / 180)
    )
    assert second.loss[2] == pytest.approx((1 / 10 + 1 / 11) / 2)
    assert first.stopped == "steps"
    assert trained.first_losses == [1 / (1 + step) for step in range(10)]
    assert floor.built == {}, "every network that was built was dropped"


def test_of_a_readout_that_is_solved_only_the_losses_before_that_are_kept() -> None:
    trained = train(FakeFloor(), optimizer="ridge", steps=60, evaluate_every=20)
    assert len(trained.first_losses) == 20


def test_only_the_first_losses_are_kept() -> None:
    trained = train(FakeFloor(), steps=3 * FOLLOW_STEPS, evaluate_every=40)
    assert trained.first_losses == [1 / (1 + step) for step in range(FOLLOW_STEPS)]


@pytest.mark.parametrize(("higher", "target", "steps"), [(True, 0.75, (4, 8)), (False, 0.5, (4,))])
def test_training_stops_at_its_target(higher: bool, target: float, steps: tuple[int, ...]) -> None:
    shape = replace(SHAPE, higher_is_better=higher)
    one = station(train=replace(CASE.train, target=target))
    trained = Trained()
    train_all_seeds(FakeFloor(), one, shape, math.inf, lambda text: None, trained)  # type: ignore[arg-type]
    assert len(trained.curves) == 2
    assert all(curve.steps == steps and curve.stopped == "target" for curve in trained.curves)


def test_a_seed_for_which_no_time_is_left_is_not_begun() -> None:
    trained = train(FakeFloor(), allowed_s=0.0)
    assert [(curve.steps, curve.stopped) for curve in trained.curves] == [((1,), "budget")]
    score = assemble(FakeTask(), SHAPE, "key", trained, 20)  # type: ignore[arg-type]
    assert any("1 of 2 seeds" in finding.text for finding in score_findings(score, 2))


def test_nan_that_comes_with_the_last_update_is_diverged() -> None:
    """All losses were finite, and argmax of NaN is a class."""
    with pytest.raises(Diverged, match=r"outputs were NaN or infinite at step 10 \(seed 0\)"):
        train(FakeFloor(finite=lambda step: step < 10))


def test_finished_seeds_outlive_a_later_one_that_fails() -> None:
    floor = FakeFloor(loss=lambda backend, seed, step: math.nan if (seed, step) == (1, 5) else 1.0)
    trained = Trained()
    with pytest.raises(Diverged) as diverged:
        train_all_seeds(floor, station(), SHAPE, math.inf, lambda text: None, trained)  # type: ignore[arg-type]
    assert [curve.steps for curve in trained.curves] == [(4, 8, 10)]
    assert diverged.value.seed == 1
    trained, told = Trained(), []
    with pytest.raises(Diverged):
        train_all_seeds(floor, station(), SHAPE, math.inf, told.append, trained, first_seed=1)  # type: ignore[arg-type]
    assert trained.curves == []
    assert len(told) == 1, "the seed that is in doubt comes first"


def test_slow_steps_are_no_hang() -> None:
    floor = FakeFloor(steps_at_once=3, protocol=Protocol(case_limit_s=8.0))
    trained = train(floor, seeds=1)
    assert trained.curves[0].steps == (4, 8, 10), "in pieces, but evaluated where it was asked for"
    assert len(trained.first_losses) == 10
    pieces = [request["at_most_s"] for _, do, request in floor.asked if do == "train"]
    assert len(pieces) == 5
    assert set(pieces) == {4.0}


def test_nan_is_diverged_with_its_step() -> None:
    floor = FakeFloor(loss=lambda backend, seed, step: math.nan if (seed, step) == (1, 5) else 1.0)
    with pytest.raises(Diverged, match=r"at step 6 \(seed 1\)") as diverged:
        train(floor)
    assert diverged.value.status == "diverged"
    assert floor.built == {}


def test_a_crash_in_training_is_passed_on() -> None:
    floor = FakeFloor(faults={("torch", "evaluate"): [None, died()]})
    with pytest.raises(WorkerDied):
        train(floor)


def test_following() -> None:
    expected = [1 / (1 + step) for step in range(10)]
    assert follow(FakeFloor(), station(), expected, math.inf) == 0.0  # type: ignore[arg-type]
    off = FakeFloor(loss=lambda backend, seed, step: 1 / (1 + step) + (0.03 if step == 7 else 0.0))
    assert follow(off, station(), expected, math.inf) == pytest.approx(0.03)  # type: ignore[arg-type]
    assert off.built == {}
    slow = FakeFloor(steps_at_once=3)
    assert first_losses(slow, station(), 10, math.inf) == expected  # type: ignore[arg-type]
    gone = FakeFloor(loss=lambda backend, seed, step: math.inf if step == 2 else 1.0)
    with pytest.raises(Diverged, match="step 3"):
        follow(gone, station(), expected, math.inf)  # type: ignore[arg-type]


def test_following_ends_with_the_budget() -> None:
    expected = [1 / (1 + step) for step in range(10)]
    floor = FakeFloor()
    assert follow(floor, station(), expected, time.monotonic()) is None  # type: ignore[arg-type]
    assert floor.asked == [], "nothing is begun"
    assert follow(floor, station(), [], math.inf) is None  # type: ignore[arg-type]
    slow = FakeFloor(steps_at_once=1)
    train = slow._train

    def sleeps(*arguments: object, **options: object) -> dict[str, object]:
        time.sleep(0.02)
        return train(*arguments, **options)  # type: ignore[arg-type]

    slow._train = sleeps  # type: ignore[method-assign]
    assert follow(slow, station(), expected, time.monotonic() + 0.05) is None  # type: ignore[arg-type]
    assert len(slow.asked) < 10
    assert slow.built == {}


def test_curve_difference_is_relative_to_the_largest_loss() -> None:
    assert curve_difference([4.0, 2.0, 1.0], [4.0, 2.2, 0.9]) == pytest.approx(0.05)
    assert curve_difference([0.0], [0.0]) == 0.0
    with pytest.raises(ValueError, match="zip"):
        curve_difference([1.0, 2.0], [1.0])


def test_who_is_trained() -> None:
    torch = station("torch", {"forward": 1.0, "train_step": 3e-3})
    jax = station("jax", {"forward": 9.0, "train_step": 2e-3})
    numpy = station("numpy", {})
    all_three = [torch, jax, numpy]
    assert choose_trained(all_three, "fastest") == [jax]
    assert choose_trained(all_three, "all") == all_three
    assert choose_trained(all_three, ("numpy", "torch")) == [torch, numpy]
    assert choose_trained([torch, numpy], ("jax",)) == [torch], (
        "the named one is gone: the quickest stands in"
    )
    assert choose_trained([numpy, station("toy", {})], "fastest") == [numpy]
    assert choose_trained(all_three, "fastest", led=True) == []
    assert choose_trained(all_three, ("numpy",), led=True) == [numpy]
    assert choose_trained([torch], ("jax",), led=True) == []


class FakeTask:
    def prepare(self, length: int) -> FakeTask:
        return self

    def baselines(self) -> dict[str, Baseline]:
        return {"trivial": Baseline("chance", 0.125)}


def test_a_score_stands_beside_the_baselines() -> None:
    curve = Curve(0, (4, 10), (0.5, 0.75), (1.0, 0.5), "steps")
    score = assemble(FakeTask(), SHAPE, "key", Trained([curve], [1.0]), 20)  # type: ignore[arg-type]
    assert (score.trivial, score.trivial_name, score.simple, score.simple_name) == (0.125, "chance", None, "")
    assert (score.metric, score.trained_on, score.follows, score.values) == ("recall", "key", 0.0, (0.75,))


@pytest.mark.parametrize(
    ("stopped", "follows", "words"),
    [
        ("steps", 0.0, []),
        ("budget", None, ["over_budget"]),
        ("steps", scoring.FOLLOW_TOLERANCE * 1.01, ["curve_differs"]),
        ("target", scoring.FOLLOW_TOLERANCE * 0.99, []),
    ],
)
def test_doubts_about_a_score(stopped: str, follows: float | None, words: list[str]) -> None:
    score = Score("recall", True, "key", (Curve(0, (7,), (0.5,), (1.0,), stopped),), follows=follows)
    found = list(score_findings(score, 1))
    assert [finding.word for finding in found] == words
    assert all("7 steps" in finding.text for finding in found if finding.word == "over_budget")
