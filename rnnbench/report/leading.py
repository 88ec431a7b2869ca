"""The answer of a run in a few sentences: who is fastest, what is learned, what failed, and how sure that is.

Every sentence follows from ranks, intervals and statuses; none says more than these do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from rnnbench.escaping import safe
from rnnbench.judging import gain
from rnnbench.records import Score
from rnnbench.report.answers import level, summary, verdict
from rnnbench.report.ranking import Ranking
from rnnbench.report.splitting import network
from rnnbench.report.words import PHASES, at_least, counted, digits, listed, spans, up_to
from rnnbench.results.reading import RunResults
from rnnbench.stats import noises

Item = TypeVar("Item")
Key = TypeVar("Key")

MOST_SENTENCES = 5
MOST_OTHERS = 3
MOST_REASONS = 3


@dataclass(frozen=True, slots=True)
class Lead:
    """``place``: where and by what this holds. ``sure``: why one may believe it, and how far."""

    place: str
    sentences: tuple[str, ...]
    sure: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Stand:
    """Who leads a group of one length, or who are tied. ``ahead``: other -> lower bound of its ratio.

    ``leader``: whose time was the shortest; "" where that differs over what was put together.
    """

    length: int
    mode: str
    who: tuple[str, ...]
    leader: str
    ahead: Mapping[str, float]
    drifted: bool


def lead(results: RunResults, groups: Sequence[Ranking]) -> Lead:
    """The answer of a run; without sentences where nothing was timed, learned or refused."""
    speed = _speed(groups)
    said = [*speed[:MOST_SENTENCES]]
    if len(speed) > MOST_SENTENCES:
        said.append(f"{summary(groups)} All {len(speed)} sentences on speed stand below.")
    learned = _learned(groups)
    said += learned[:MOST_SENTENCES]
    said += _failed(results)
    return Lead(_place(results, groups), tuple(said), tuple(_sure(results, groups)))


def _place(results: RunResults, groups: Sequence[Ranking]) -> str:
    machine = results.run.machine
    cores = machine.get("cores")
    known = [safe(machine["cpu"], 60)] if machine.get("cpu") else []
    known += [counted(cores, "core")] if isinstance(cores, int) else []
    devices = sorted({safe(record.case.device, 20) for record in results.records if record.status == "ok"})
    known += [] if devices in ([], ["cpu"]) else [listed(devices)]
    # its release stands in the fingerprint
    known += [safe(str(machine["os"]).partition(" ")[0], 40)] if machine.get("os") else []
    phases = sorted({PHASES[group.phase] for group in groups if group.phase and group.ranked})
    judged = f", by the time of one {listed(phases, 'or')}" if phases else ""
    return f"On this machine ({', '.join(known)}){judged}:" if known else f"On this machine{judged}:"


def _speed(groups: Sequence[Ranking]) -> list[str]:
    """For each cell over its lengths; where its tasks do not agree, for each task."""
    said = []
    for cell, members in _by(groups, lambda group: group.cell):
        where = _by(members, lambda group: (group.task, group.other))
        stands = {place: [stand for group in of if (stand := _stand(group))] for place, of in where}
        together = _together(list(stands.values()))
        if together is not None:
            said += _sentences(safe(cell, 60), "", together)
            continue
        for (task, other), found in stands.items():
            about = f" ({other})" if other else ""
            said += _sentences(f"{safe(cell, 60)}{about}", f" on {safe(task, 60)}", found)
    return said


def _stand(group: Ranking) -> _Stand | None:
    found = verdict(group)
    if found is None:
        return None
    ahead = {
        row.label: row.to_best.low
        for row in group.ranked[1:]
        if row.to_best is not None and row.to_best.above_one and row.to_best.low is not None
    }
    mode = "alone" if found.alone else "screening" if found.screening else "tied" if found.tied else "fastest"
    who = tuple(sorted((found.leader, *found.tied)))
    return _Stand(group.length, mode, who, found.leader, ahead, found.drifted and not found.tied)


def _together(of_places: Sequence[Sequence[_Stand]]) -> list[_Stand] | None:
    """One stand for each length, where every task has the same one there; None where they differ."""
    at: dict[int, list[_Stand]] = {}
    for stands in of_places:
        for stand in stands:
            at.setdefault(stand.length, []).append(stand)
    merged = []
    for length, found in sorted(at.items()):
        if len({(each.mode, each.who) for each in found}) > 1:
            return None
        ahead = _least([each.ahead for each in found])
        drifted = any(each.drifted for each in found)
        merged.append(_Stand(length, found[0].mode, found[0].who, _leader(found), ahead, drifted))
    return merged


def _sentences(cell: str, task: str, stands: Sequence[_Stand]) -> list[str]:
    every = [stand.length for stand in stands]
    said = []
    for (mode, who), members in _by(stands, lambda stand: (stand.mode, stand.who)):
        where = f"For sequences of {spans([each.length for each in members], every)}{task}"
        ahead = _least([each.ahead for each in members])
        order = sorted(ahead.items(), key=lambda item: item[1])
        others = [f"{at_least(low)} of {name}" for name, low in order[:MOST_OTHERS]]
        if others:
            others[0] = others[0].replace(" of ", " ahead of ", 1)
        if len(order) > MOST_OTHERS:
            others.append(f"of {len(order) - MOST_OTHERS} more")
        drifted = ", though its times drifted over the rounds" if any(e.drifted for e in members) else ""
        match mode:
            case "fastest":
                margin = f": at least {listed(others)}" if others else ""
                said.append(f"{where}, the fastest correct {cell} is {who[0]}{margin}{drifted}.")
            case "tied":
                leader = _leader(members)
                first = f"of these {leader} took" if leader else "whichever of these took"
                apart = " is" if not leader else ","
                behind = f"; {first} the shortest time{apart} at least {listed(others)}" if others else ""
                said.append(f"{where}, no difference is seen between {listed(who)} for {cell}{behind}.")
            case "screening":
                said.append(
                    f"{where}, {who[0]} took the shortest time for {cell} (screening: an order, no proof)."
                )
            case _:
                said.append(f"{where}, only {who[0]} was timed for {cell}: there is nothing to compare.")
    return said


def _leader(stands: Sequence[_Stand]) -> str:
    leaders = {stand.leader for stand in stands}
    return leaders.pop() if len(leaders) == 1 else ""


def _least(many: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The least bound of each name that all have."""
    names = set.intersection(*(set(each) for each in many)) if many else set()
    return {name: min(each[name] for each in many) for name in sorted(names)}


def _learned(groups: Sequence[Ranking]) -> list[str]:
    """For each task that is ranked: the best network at the longest length at which one is shown to learn."""
    said = []
    for task, members in _by([group for group in groups if group.score_ranked], lambda group: group.task):
        scored = [(group, group.score) for group in members if group.score is not None]
        finite = [(g, s) for g, s in scored if s.values and all(map(math.isfinite, s.values))]
        if not finite:
            continue
        learned = [(g, s) for g, s in finite if level(s).startswith("beats")]
        every = [group.length for group, _ in finite]
        if not learned:
            where = spans(every, every)
            said.append(f"On {safe(task, 60)} no network is shown to beat the trivial baseline ({where}).")
            continue
        longest = max(group.length for group, _ in learned)
        at = [(network(group), score) for group, score in learned if group.length == longest]
        said.append(_best(safe(task, 60), longest, at, max(every)))
    return said


def _best(task: str, length: int, at: Sequence[tuple[str, Score]], longest: int) -> str:
    sign = 1 if at[0][1].higher_is_better else -1
    order = sorted(at, key=lambda item: -sign * _mean(item[1]))
    name, score = order[0]
    finals = score.values
    spread = f", {digits(min(finals))}–{digits(max(finals))} over {counted(len(finals), 'seed')}"
    equal = [other for other, its in order[1:] if not _is_better(score, its)]
    tied = f"; seeds do not tell {listed(equal)} from it" if equal else ""
    beyond = "" if length == longest else f"; at {longest} steps nothing is shown to learn"
    metric = safe(score.metric, 40)
    return (
        f"Best score on {task} at {length} steps: {name}, {metric} {digits(_mean(score))}"
        f"{spread if len(finals) > 1 else ', one seed'}, {level(score)}{tied}{beyond}."
    )


def _is_better(ours: Score, theirs: Score) -> bool:
    """Shown seed by seed."""
    finals = [{c.seed: c.scores[-1] for c in each.curves if c.scores} for each in (ours, theirs)]
    found = gain(finals[0], finals[1], ours.higher_is_better)
    return found is not None and found.low is not None and found.low > 0


def _mean(score: Score) -> float:
    return math.fsum(score.values) / len(score.values)


def _failed(results: RunResults) -> list[str]:
    bad = [record for record in results.records if record.status != "ok"]
    if not bad:
        return []
    reasons = Counter((record.status.replace("_", " "), safe(record.reason, 120)) for record in bad)
    said = [f"{number} {status} ({reason})" for (status, reason), number in reasons.most_common(MOST_REASONS)]
    if len(reasons) > MOST_REASONS:
        left = sum(number for _, number in reasons.most_common()[MOST_REASONS:])
        said.append(f"{left} for {counted(len(reasons) - MOST_REASONS, 'other reason')}")
    total, verb = counted(len(results.records), "case"), "is" if len(bad) == 1 else "are"
    return [f"{len(bad)} of {total} did not end ok and {verb} not ranked: {listed(said)}."]


def _sure(results: RunResults, groups: Sequence[Ranking]) -> list[str]:
    run = results.run
    said = []
    halves = [
        math.log(row.to_best.high / row.to_best.low) / 2
        for group in groups
        for row in group.ranked[1:]
        if row.to_best is not None
        and row.to_best.low
        and row.to_best.high is not None
        and math.isfinite(row.to_best.high)
    ]
    if halves:
        half = math.expm1(median(halves))
        known = (
            f"are known to ± {half:.1%} or better" if half < 1 else "have bounds too wide to say by how much"
        )
        said.append(
            f"Each case ran in {up_to(run.processes, run.most_processes)} fresh processes, in turns with the "
            f"others; bounds hold at 99 %. Half of all ratios {known}."
        )
    elif any(group.screening for group in groups):
        said.append("Each case ran in one process: a screening, which proves no difference.")
    elif any(group.ranked for group in groups):
        said.append(f"Each case ran in {counted(run.processes, 'fresh process', 'fresh processes')}.")
    proven = [r.parity.worst for r in results.records if r.parity and r.parity.passed and r.parity.worst]
    if proven:
        worst = max(max(errors.values()) for errors in proven)
        whole = all(any("gradient" in quantity for quantity in errors) for errors in proven)
        said.append(
            f"Correct: {counted(len(proven), 'case')} reproduced the float64 reference, "
            f"{'outputs and gradients' if whole else 'not all of them with gradients'}, "
            f"the worst at {digits(worst)} of its tolerance."
        )
    spreads = noises(results.stack)
    doubted = sum(
        any(finding.word in ("drift", "noisy") for finding in record.findings) for record in results.records
    )
    if spreads:
        doubts = (
            f"; {counted(doubted, 'case')} drifted or {'was' if doubted == 1 else 'were'} noisy"
            if doubted
            else ""
        )
        said.append(f"Noise: rounds of one process spread by {median(spreads):.1%} in the median{doubts}.")
    return said


def _by(items: Iterable[Item], key: Callable[[Item], Key]) -> list[tuple[Key, list[Item]]]:
    """Items by key, in the order in which keys occur first."""
    found: dict[Key, list[Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.items())
