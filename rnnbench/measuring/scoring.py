"""Scores: train each network once, on the quickest backend, and let the others prove that they follow.

Equal functions on equal batches learn equally, so training needs no turns. Evaluation stands
outside every clock. NaN or inf ends a network as ``diverged`` with the step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rnnbench.contracts import Task, TaskShape
from rnnbench.measuring.stations import Floor, Station
from rnnbench.measuring.workers import Refused
from rnnbench.records import Curve, Finding, Score

FOLLOW_STEPS = 50
"""The other backends train for so many steps on the first seed."""

FOLLOW_TOLERANCE = 0.02
"""Largest difference of two loss curves over those steps, relative to the largest loss.

Float32 rounding grows along a trajectory: after 50 steps of Adam the shipped backends lie within
0.003 of each other on the shipped tasks, and a wrong gate order or bias differs by more than 0.05.
"""

ScoreOn = Literal["fastest", "all"] | tuple[str, ...]


class Diverged(Refused):
    """Training met a loss that is not a number."""

    def __init__(self, step: int, seed: int) -> None:
        super().__init__("diverged", f"the loss was NaN or infinite at step {step} (seed {seed})")


@dataclass(slots=True)
class Trained:
    """What training one station gave: a curve per seed, and the first losses of seed 0."""

    curves: list[Curve] = field(default_factory=list)
    first_losses: list[float] = field(default_factory=list)


def choose_trained(stations: Sequence[Station], score_on: ScoreOn) -> list[Station]:
    """Which of the stations of one network are trained: the quickest, all, or those of named backends.

    Quickest by training step, else by what was timed; where nothing was timed, the first in the plan.
    """
    if score_on == "all":
        return list(stations)
    if score_on == "fastest":
        return [min(stations, key=_seconds_per_step)]
    return [station for station in stations if station.case.backend in score_on]


def _seconds_per_step(station: Station) -> float:
    times = station.median_s
    return next((times[p] for p in ("train_step", "gradients", "forward") if p in times), math.inf)


def train_all_seeds(
    floor: Floor, station: Station, shape: TaskShape, allowed_s: float, note: Callable[[str], None]
) -> Trained:
    """Train with every seed; each may take an equal part of ``allowed_s``. Raises Refused, Diverged."""
    trained = Trained()
    end = time.monotonic() + allowed_s
    seeds = station.case.train.seeds
    for seed in range(seeds):
        share_s = max(0.0, end - time.monotonic()) / (seeds - seed)
        note(f"{station.case.key}: training, seed {seed + 1} of {seeds}")
        # training has the budget as its limit, each request its own: the case's limit is for measuring
        station.used_s = 0.0
        trained.curves.append(_train(floor, station, shape, seed, share_s, trained.first_losses))
    return trained


def _train(
    floor: Floor, station: Station, shape: TaskShape, seed: int, share_s: float, first_losses: list[float]
) -> Curve:
    train, id = station.case.train, f"train-{seed}"
    end = time.monotonic() + share_s
    floor.build(station, id, seed)
    points: list[tuple[int, float, float]] = []
    stopped = "steps"
    try:
        step, losses = 0, []
        while step < train.steps:
            wanted = min(train.evaluate_every, train.steps - step)
            reply = floor.ask(
                station, "train", id=id, steps=wanted, at_most_s=max(0.0, end - time.monotonic())
            )
            losses, step = reply["losses"], reply["steps"]
            if seed == 0 and len(first_losses) < FOLLOW_STEPS:
                first_losses.extend(losses[: FOLLOW_STEPS - len(first_losses)])
            if not math.isfinite(losses[-1]):
                raise Diverged(step, seed)
            score = floor.ask(station, "evaluate", id=id)["score"]
            points.append((step, score, sum(losses) / len(losses)))
            station.used_s = 0.0
            if train.target is not None and _reached(score, train.target, shape.higher_is_better):
                stopped = "target"
                break
            if time.monotonic() > end and step < train.steps:
                stopped = "budget"
                break
    finally:
        _drop(floor, station, id)
    return Curve(
        seed=seed,
        steps=tuple(p[0] for p in points),
        scores=tuple(p[1] for p in points),
        loss=tuple(p[2] for p in points),
        stopped=stopped,
    )


def follow(floor: Floor, station: Station, expected: Sequence[float]) -> float:
    """Train a station for as many steps as ``expected`` has losses, on the first seed.

    Returns the largest difference between the two curves, relative to the largest expected loss.
    Raises Refused, Diverged.
    """
    station.used_s = 0.0
    floor.build(station, "follow", 0)
    try:
        losses: list[float] = []
        while len(losses) < len(expected):
            wanted = len(expected) - len(losses)
            losses += floor.ask(station, "train", id="follow", steps=wanted, at_most_s=math.inf)["losses"]
            if not math.isfinite(losses[-1]):
                raise Diverged(len(losses), 0)
    finally:
        _drop(floor, station, "follow")
    return curve_difference(expected, losses)


def curve_difference(expected: Sequence[float], given: Sequence[float]) -> float:
    """max |given - expected| / max |expected| over their common steps."""
    largest = max(abs(value) for value in expected)
    return max(abs(a - b) for a, b in zip(expected, given, strict=True)) / max(largest, 1e-12)


def assemble(task: Task, shape: TaskShape, key: str, trained: Trained, length: int) -> Score:
    """A score beside the task's baselines."""
    baselines = task.prepare(length).baselines()
    trivial, simple = baselines.get("trivial"), baselines.get("simple")
    return Score(
        metric=shape.metric,
        higher_is_better=shape.higher_is_better,
        trained_on=key,
        curves=tuple(trained.curves),
        trivial=None if trivial is None else trivial.value,
        trivial_name="" if trivial is None else trivial.name,
        simple=None if simple is None else simple.value,
        simple_name="" if simple is None else simple.name,
        follows=0.0,
    )


def score_findings(score: Score) -> Iterator[Finding]:
    """Doubts about a score: cut short by the budget, a curve of its own."""
    cut = [curve for curve in score.curves if curve.stopped == "budget"]
    if cut:
        steps = min(curve.steps[-1] for curve in cut)
        yield Finding(
            "over_budget", f"training was cut short by the budget, after {steps} steps at the least"
        )
    if score.follows is not None and score.follows > FOLLOW_TOLERANCE:
        yield Finding(
            "curve_differs",
            f"over the first steps its loss differs by {score.follows:.3g} of the largest loss "
            f"from that of {score.trained_on}; at most {FOLLOW_TOLERANCE} is rounding",
        )


def shared(score: Score, follows: float | None) -> Score:
    """The score of a network for another backend that computes it."""
    return replace(score, follows=follows)


def _reached(score: float, target: float, higher_is_better: bool) -> bool:
    return score >= target if higher_is_better else score <= target


def _drop(floor: Floor, station: Station, id: str) -> None:
    try:
        floor.ask(station, "drop", id=id)
    except Refused:
        return  # its worker is gone, and the network with it
