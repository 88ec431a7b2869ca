"""Every network gets its score: one backend trains it, the others follow, within the budget's share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from rnnbench.measuring.budget import Budget, training_share_s
from rnnbench.measuring.flowing import Flows
from rnnbench.measuring.grouping import grouped
from rnnbench.measuring.ledger import Ledger
from rnnbench.measuring.refusals import Refused, refusing
from rnnbench.measuring.scoring import (
    Diverged,
    Trained,
    assemble,
    choose_trained,
    first_losses,
    follow,
    followed_steps,
    score_findings,
    seconds_per_step,
    train_all_seeds,
)
from rnnbench.measuring.stations import Floor, Station
from rnnbench.planning.plan import Plan
from rnnbench.records import PRESENT, Case, Finding, GradientFlow, Record, Score

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
    def training_s(self) -> float:
        return sum(_training_s(station) for station in self.chosen)

    @property
    def estimate_s(self) -> float:
        following_s = sum(_following_s(station) for station in self.rest)
        again_s = max(map(_following_s, self.rest), default=0.0) if self.leader else 0.0
        return self.training_s + following_s + again_s


@dataclass(frozen=True, slots=True)
class _Lead:
    """What the others follow. No ``losses``: the budget left no time to take them."""

    case: Case
    losses: Sequence[float]
    score: Score
    flow: GradientFlow | None


def learn(
    floor: Floor,
    ledger: Ledger,
    plan: Plan,
    stations: Sequence[Station],
    flows: Flows,
    budget: Budget,
    passes_s: float,
) -> None:
    """Train the networks of ``stations``, and amend their records.

    ``passes_s`` of the budget are left for further passes; the rest is shared out by what each network
    is expected to need, and again after each network. A network for which nothing is left is not trained.
    """
    jobs = []
    trained: dict[tuple[Any, ...], set[Case]] = {}
    # each environment trains on its own: whether it still learns as well is what is asked of it
    for of_network in grouped(stations, lambda station: (station.case.network, station.case.env)):
        leader = ledger.trained(of_network[0].case)
        # the same case on each side, or their scores could not be compared
        before = trained.setdefault(of_network[0].case.network, set())
        same = [station for station in of_network if replace(station.case, env=PRESENT) in before]
        chosen = choose_trained(same or of_network, plan.suite.score_on, led=leader is not None)
        before.update(replace(station.case, env=PRESENT) for station in chosen)
        jobs.append(_Job(chosen, [station for station in of_network if station not in chosen], leader))
    budget_end = monotonic() + budget.remaining_s()
    end = monotonic() + training_share_s(budget.remaining_s(), sum(job.estimate_s for job in jobs), passes_s)
    for number, job in enumerate(jobs):
        left_s = max(0.0, end - monotonic())
        later_s = sum(later.estimate_s for later in jobs[number + 1 :])
        allowed_s = left_s if math.isinf(left_s) else allowance_s(left_s, job.estimate_s, later_s)
        if job.training_s and not math.isinf(allowed_s):
            allowed_s *= job.training_s / job.estimate_s
        _score_network(floor, ledger, plan, job, flows, monotonic() + allowed_s, budget_end)


def allowance_s(left_s: float, estimate_s: float, later_s: float) -> float:
    """What one network may take of ``left_s``: its share, or all that later ones can spare if that is more.

    Estimates know steps, not evaluations, which are most of the time of a short sequence; so the
    later networks are left half as much again as they are expected to need.
    """
    total_s = estimate_s + later_s
    return max(left_s * (estimate_s / total_s if total_s else 1.0), left_s - 1.5 * later_s)


def _score_network(
    floor: Floor, ledger: Ledger, plan: Plan, job: _Job, flows: Flows, end: float, budget_end: float
) -> None:
    """Train until ``end``, and let the others follow until ``budget_end``."""
    lead = _lead_again(floor, ledger, job.leader, budget_end) if job.leader is not None else None
    candidates, rest = list(job.chosen), sorted(job.rest, key=seconds_per_step)
    seen: list[tuple[Case, Diverged]] = []
    while candidates or (lead is None and rest):
        now = monotonic()
        if now >= end:
            _leave_untrained(ledger, [*candidates, *([] if lead else rest)])
            break
        # a score is still wanted when the quickest backend fails: the next one trains
        station = candidates.pop(0) if candidates else rest.pop(0)
        station_end = now + (end - now) / (1 + len(candidates))
        # one that diverged is either broken or right: the next one begins where that was seen
        first_seed = seen[0][1].seed if seen else 0
        try:
            trained = _train(floor, ledger, plan, station, flows, station_end, first_seed)
        except Diverged as diverged:
            seen.append((station.case, diverged))
        except Refused:
            continue
        else:
            lead = lead or trained
        if lead is None and len(seen) == 2:
            _diverge(ledger, [*candidates, *rest], seen)
            return
    if lead is not None:
        _follow_all(floor, ledger, rest, lead, budget_end)


def _train(
    floor: Floor, ledger: Ledger, plan: Plan, station: Station, flows: Flows, end: float, first_seed: int
) -> _Lead:
    """Train, and write what came of it, finished seeds beside a failure too. Raises Refused, Diverged."""
    case, trained = station.case, Trained()
    task = plan.tasks[case.task]
    try:
        with refusing():
            shape = task.prepare(case.length).shape
        train_all_seeds(floor, station, shape, end, ledger.note, trained, first_seed)
        with refusing():
            score = assemble(task, shape, case.key, trained, case.length)
        flow = None
        if trained.parameters is not None:
            flow = flows.after(case, station.spec, trained.parameters)
    except Refused as refused:
        kept = None
        if trained.curves:
            with suppress(Refused), refusing():
                kept = assemble(task, shape, case.key, trained, case.length)
        ledger.amend(case, status=refused.status, reason=refused.reason, score=kept)
        raise
    _keep_score(ledger, case, score, flow)
    return _Lead(case, trained.first_losses, score, flow)


def _follow_all(floor: Floor, ledger: Ledger, rest: Sequence[Station], lead: _Lead, end: float) -> None:
    for station in rest:
        ledger.note(f"{station.case.key}: follows {lead.case.backend}?")
        try:
            follows = follow(floor, station, lead.losses, end)
        except Refused as refused:
            ledger.fail(station, refused)
            continue
        _keep_score(ledger, station.case, replace(lead.score, follows=follows), lead.flow)


def _keep_score(ledger: Ledger, case: Case, score: Score, flow: GradientFlow | None) -> None:
    flowing = {} if flow is None else {"gradient_flow": flow}
    ledger.amend(case, score=score, findings=tuple(score_findings(score, case.train.seeds)), **flowing)


def _leave_untrained(ledger: Ledger, stations: Sequence[Station]) -> None:
    finding = Finding("over_budget", "not trained: the budget left no time for it; give more with --budget")
    for station in stations:
        ledger.amend(station.case, score=None, findings=(finding,))


def _diverge(ledger: Ledger, stations: Sequence[Station], seen: Sequence[tuple[Case, Diverged]]) -> None:
    """Two that passed the gate agree: it is the network that diverges, and the others need not show it."""
    (first, diverged), (second, _) = seen
    reason = f"{diverged.reason} on {first.key}, and likewise on {second.key}; not trained here"
    for station in stations:
        ledger.end(station.case, Refused("diverged", reason))


def _lead_again(floor: Floor, ledger: Ledger, record: Record, end: float) -> _Lead | None:
    """The first losses of a network that an earlier sitting has trained: they are not kept in files."""
    assert record.score is not None
    ledger.note(f"{record.case.key}: its first steps again, for the others to follow")
    steps = followed_steps(record.case.train)
    try:
        losses = first_losses(floor, floor.station(record.case), steps, end)
    except Refused:
        return None  # its record stands; another backend trains
    known = losses if len(losses) == steps else ()
    return _Lead(record.case, known, record.score, record.gradient_flow)


def _training_s(station: Station) -> float:
    train = station.case.train
    return train.seeds * train.steps * _step_s(station) * _OVERHEAD


def _following_s(station: Station) -> float:
    return followed_steps(station.case.train) * _step_s(station) * _OVERHEAD


def _step_s(station: Station) -> float:
    return station.median_s.get("train_step") or 3 * station.median_s.get("forward", _UNTIMED_STEP_S / 3)
