"""Scores: train each network once, on the quickest backend, and let the others prove that they follow.

Equal functions on equal batches learn equally, so training needs no turns. Evaluation stands
outside every clock. NaN or inf ends a network as ``diverged`` with the step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from rnnbench.contracts import Task, TaskShape
from rnnbench.measuring.refusals import Refused
from rnnbench.measuring.stations import Floor, Station
from rnnbench.records import Curve, Finding, Score, Train

FOLLOW_STEPS = 50
"""The other backends train for so many steps on the first seed."""

FOLLOW_TOLERANCE = 0.02
"""Largest difference of two loss curves over those steps, relative to the largest loss.

Float32 rounding grows along a trajectory: after 50 steps of Adam the shipped backends lie within
0.003 of each other on the shipped tasks, and a wrong gate order or bias differs by more than 0.05.
"""

ScoreOn = Literal["fastest", "all"] | tuple[str, ...]


class Diverged(Refused):
    """Training met a loss, or gave outputs, that are not numbers."""

    def __init__(self, step: int, seed: int, what: str = "loss was") -> None:
        self.seed = seed
        super().__init__("diverged", f"the {what} NaN or infinite at step {step} (seed {seed})")


@dataclass(slots=True)
class Trained:
    """What training one station gave: a curve per seed, and of seed 0 the first losses.

    ``parameters``: those that seed 0 ended with, where the case asks for what depends on them.
    """

    curves: list[Curve] = field(default_factory=list)
    first_losses: list[float] = field(default_factory=list)
    parameters: Mapping[str, np.ndarray] | None = None


def choose_trained(stations: Sequence[Station], score_on: ScoreOn, *, led: bool = False) -> list[Station]:
    """Which of the stations of one network are trained: the quickest, all, or those of named backends.

    Quickest by training step, else by what was timed; where nothing was timed, the first in the plan. The
    quickest also stands in where none of the named backends has come so far. ``led``: another case has
    been trained already, so that nobody need be.
    """
    if score_on == "all":
        return list(stations)
    named = [station for station in stations if station.case.backend in score_on]
    if named and score_on != "fastest":
        return named
    return [] if led else [min(stations, key=seconds_per_step)]


def seconds_per_step(station: Station) -> float:
    """Of the slowest phase that was timed; infinite where none was."""
    times = station.median_s
    return next((times[p] for p in ("train_step", "gradients", "forward") if p in times), math.inf)


def train_all_seeds(
    floor: Floor,
    station: Station,
    shape: TaskShape,
    end: float,
    note: Callable[[str], None],
    trained: Trained,
    first_seed: int = 0,
) -> None:
    """Train with every seed, ``first_seed`` first, into ``trained``: what it has when this raises is whole.

    Each seed may take an equal part of the time until ``end`` (of ``time.monotonic``); the first is trained
    for a step at least, later ones are left out when it is over. Raises Refused, Diverged.
    """
    seeds = sorted(range(station.case.train.seeds), key=lambda seed: seed != first_seed)
    for number, seed in enumerate(seeds):
        now = time.monotonic()
        if trained.curves and now >= end:
            return
        note(f"{station.case.key}: training, seed {seed + 1} of {len(seeds)}")
        seed_end = now + (end - now) / (len(seeds) - number)
        trained.curves.append(_train(floor, station, shape, seed, seed_end, trained))
        trained.curves.sort(key=lambda curve: curve.seed)


def _train(
    floor: Floor, station: Station, shape: TaskShape, seed: int, end: float, trained: Trained
) -> Curve:
    train, id = station.case.train, f"train-{seed}"
    # training has the budget as its limit, each request its own: the case's limit is for measuring
    station.used_s = 0.0
    floor.build(station, id, seed)
    points: list[tuple[int, float, float]] = []
    stopped, step = "steps", 0
    try:
        while step < train.steps and stopped == "steps":
            losses = _steps(
                floor, station, id, min(train.evaluate_every, train.steps - step), seed, end, step
            )
            step += len(losses)
            if seed == 0:
                trained.first_losses.extend(losses[: followed_steps(train) - len(trained.first_losses)])
            station.used_s = 0.0
            if train.optimizer == "ridge":
                floor.ask(station, "solve", id=id, alpha=train.ridge_alpha)
            evaluated = floor.ask(station, "evaluate", id=id)
            if not evaluated["finite"]:
                raise Diverged(step, seed, "outputs were")
            score = evaluated["score"]
            points.append((step, score, sum(losses) / len(losses)))
            if train.target is not None and _reached(score, train.target, shape.higher_is_better):
                stopped = "target"
            elif time.monotonic() > end and step < train.steps:
                stopped = "budget"
        if seed == 0 and "gradient_flow" in station.case.measure:
            trained.parameters = floor.ask(station, "parameters", id=id)["values"]
    finally:
        floor.drop(station.case, id)
    return Curve(
        seed=seed,
        steps=tuple(p[0] for p in points),
        scores=tuple(p[1] for p in points),
        loss=tuple(p[2] for p in points),
        stopped=stopped,
    )


def _steps(
    floor: Floor, station: Station, id: str, wanted: int, seed: int, end: float, done: int
) -> list[float]:
    """Losses of ``wanted`` more steps, fewer where ``end`` comes first. Raises Refused, Diverged."""
    losses: list[float] = []
    while len(losses) < wanted:
        # in pieces: many slow steps are no hang, and the worker's silence must not look like one
        piece_s = min(max(0.0, end - time.monotonic()), floor.protocol.case_limit_s / 2)
        station.used_s = 0.0
        do = "fit" if station.case.train.optimizer == "ridge" else "train"
        reply = floor.ask(station, do, id=id, steps=wanted - len(losses), at_most_s=piece_s)
        losses += reply["losses"]
        if not math.isfinite(losses[-1]):
            raise Diverged(done + len(losses), seed)
        if time.monotonic() > end:
            break
    return losses


def followed_steps(train: Train) -> int:
    """For how many steps the others follow: a readout that is solved has another loss from then on."""
    until_solved = train.evaluate_every if train.optimizer == "ridge" else train.steps
    return min(FOLLOW_STEPS, train.steps, until_solved)


def first_losses(floor: Floor, station: Station, steps: int, end: float) -> list[float]:
    """The losses of the first ``steps`` updates on the first seed, fewer where ``end`` comes first.

    Raises Refused, Diverged.
    """
    if time.monotonic() >= end:
        return []
    station.used_s = 0.0
    floor.build(station, "follow", 0)
    try:
        return _steps(floor, station, "follow", steps, 0, end, 0)
    finally:
        floor.drop(station.case, "follow")


def follow(floor: Floor, station: Station, expected: Sequence[float], end: float) -> float | None:
    """How far a station's first losses lie from those of the trained one; None where ``end`` comes first.

    Raises Refused, Diverged.
    """
    given = first_losses(floor, station, len(expected), end) if expected else []
    return curve_difference(expected, given) if given and len(given) == len(expected) else None


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


def score_findings(score: Score, seeds: int) -> Iterator[Finding]:
    """Doubts about a score that was to have ``seeds``: cut short by the budget, a curve of its own."""
    if len(score.curves) < seeds:
        yield Finding("over_budget", f"{len(score.curves)} of {seeds} seeds were trained within the budget")
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


def _reached(score: float, target: float, higher_is_better: bool) -> bool:
    return score >= target if higher_is_better else score <= target
