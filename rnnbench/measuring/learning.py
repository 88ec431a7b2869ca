"""Every network gets its score: one backend trains it, the others follow, within the budget's share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic

from rnnbench.measuring.budget import Budget, training_share_s
from rnnbench.measuring.grouping import grouped
from rnnbench.measuring.ledger import Ledger
from rnnbench.measuring.refusals import Refused, refusing
from rnnbench.measuring.scoring import (
    FOLLOW_STEPS,
    Trained,
    assemble,
    choose_trained,
    first_losses,
    follow,
    score_findings,
    seconds_per_step,
    train_all_seeds,
)
from rnnbench.measuring.stations import Floor, Station
from rnnbench.planning.plan import Plan
from rnnbench.records import Record, Score

_OVERHEAD = 1.15
"""Batches and evaluations come on top of the training steps that an estimate counts."""

_UNTIMED_STEP_S = 0.03
"""Stands for a training step that was never timed."""


@dataclass(slots=True)
class _Job:
    """One network: those that train it, the others, and who has trained it in an earlier sitting."""

    chosen: list[Station]
    rest: list[Station]
    leader: Record | None

    @property
    def estimate_s(self) -> float:
        return sum(_training_s(station) for station in self.chosen)


@dataclass(frozen=True, slots=True)
class _Lead:
    """What the others follow."""

    station: Station
    losses: Sequence[float]
    score: Score


def learn(
    floor: Floor, ledger: Ledger, plan: Plan, stations: Sequence[Station], budget: Budget, passes_s: float
) -> None:
    """Train the networks of ``stations``, and amend their records.

    ``passes_s`` of the budget are left for further passes; the rest is shared out by what each network
    is expected to need, and again after each network.
    """
    jobs = []
    for of_network in grouped(stations, lambda station: station.case.network):
        leader = ledger.trained(of_network[0].case.network)
        chosen = choose_trained(of_network, plan.suite.score_on, led=leader is not None)
        jobs.append(_Job(chosen, [station for station in of_network if station not in chosen], leader))
    end = monotonic() + training_share_s(budget.remaining_s(), sum(job.estimate_s for job in jobs), passes_s)
    for number, job in enumerate(jobs):
        left_s = max(0.0, end - monotonic())
        later_s = sum(later.estimate_s for later in jobs[number + 1 :])
        allowed_s = left_s if math.isinf(left_s) else allowance_s(left_s, job.estimate_s, later_s)
        _score_network(floor, ledger, plan, job, allowed_s / max(1, len(job.chosen)))


def allowance_s(left_s: float, estimate_s: float, later_s: float) -> float:
    """What one network may take of ``left_s``: its share, or all that later ones can spare if that is more.

    Estimates know steps, not evaluations, which are most of the time of a short sequence; so the
    later networks are left half as much again as they are expected to need.
    """
    total_s = estimate_s + later_s
    return max(left_s * (estimate_s / total_s if total_s else 1.0), left_s - 1.5 * later_s)


def _score_network(floor: Floor, ledger: Ledger, plan: Plan, job: _Job, allowed_s: float) -> None:
    lead = _lead_again(floor, ledger, job.leader) if job.leader is not None else None
    candidates, rest = list(job.chosen), sorted(job.rest, key=seconds_per_step)
    while candidates or (lead is None and rest):
        # a score is still wanted when the quickest backend fails: the next one trains
        station = candidates.pop(0) if candidates else rest.pop(0)
        trained = _train(floor, ledger, plan, station, allowed_s)
        lead = lead or trained
    if lead is None:
        return
    for station in rest:
        ledger.note(f"{station.case.key}: follows {lead.station.case.backend}?")
        try:
            score = replace(lead.score, follows=follow(floor, station, lead.losses))
        except Refused as refused:
            ledger.fail(station, refused)
            continue
        ledger.amend(station.case, score=score, findings=tuple(score_findings(score)))


def _train(floor: Floor, ledger: Ledger, plan: Plan, station: Station, allowed_s: float) -> _Lead | None:
    case = station.case
    task = plan.tasks[case.task]
    try:
        with refusing():
            shape = task.prepare(case.length).shape
        trained: Trained = train_all_seeds(floor, station, shape, allowed_s, ledger.note)
        with refusing():
            score = assemble(task, shape, case.key, trained, case.length)
    except Refused as refused:
        ledger.fail(station, refused)
        return None
    ledger.amend(case, score=score, findings=tuple(score_findings(score)))
    return _Lead(station, trained.first_losses, score)


def _lead_again(floor: Floor, ledger: Ledger, record: Record) -> _Lead | None:
    """The first losses of a network that an earlier sitting has trained: they are not kept in files."""
    assert record.score is not None
    ledger.note(f"{record.case.key}: its first steps again, for the others to follow")
    try:
        station = floor.station(record.case)
        losses = first_losses(floor, station, min(FOLLOW_STEPS, record.case.train.steps))
    except Refused:
        return None  # its record stands; another backend trains
    return _Lead(station, losses, record.score)


def _training_s(station: Station) -> float:
    train = station.case.train
    step_s = station.median_s.get("train_step") or 3 * station.median_s.get("forward", _UNTIMED_STEP_S / 3)
    return train.seeds * train.steps * step_s * _OVERHEAD
