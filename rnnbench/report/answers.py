"""What a run answers, in sentences that claim no more than the intervals allow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rnnbench.records import Score
from rnnbench.report.ranking import Ranking
from rnnbench.report.words import PHASES, counted, digits, lengths, listed, safe


@dataclass(frozen=True, slots=True)
class Answer:
    """What holds of ``subject``, each sentence on its own."""

    subject: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who leads a group. ``tied``: others that the intervals do not tell from the first.

    ``missing``: cases of the group that have no time to compare.
    ``ahead``: how many times faster the only leader is at least, by the lower bounds; None without.
    """

    leader: str
    tied: tuple[str, ...]
    missing: tuple[str, ...]
    ahead: float | None
    alone: bool
    screening: bool


def verdict(group: Ranking) -> Verdict | None:
    """None where no case of the group was timed.

    The leader is the first by rank; it is called fastest only where every other ratio to it lies above 1
    with its whole interval.
    """
    if not group.ranked:
        return None
    first, *others = group.ranked
    lows = [row.to_best.low for row in others if row.to_best is not None and row.to_best.low is not None]
    tied = tuple(
        row.label for row in others if row.to_best and row.to_best.low is not None and row.to_best.low <= 1
    )
    ahead = min(lows) if lows and not tied and not group.screening else None
    missing = tuple(row.label for row in group.rows if row.rank is None)
    return Verdict(first.label, tied, missing, ahead, not others, group.screening)


def speed(groups: Sequence[Ranking]) -> list[Answer]:
    """Who is fastest, for every cell and task, over the lengths."""
    found = []
    for (task, cell, other), members in _by(groups).items():
        said: dict[tuple[object, ...], list[tuple[int, Verdict]]] = {}
        for group in members:
            each = verdict(group)
            if each is not None:
                kind = (each.leader, tuple(sorted(each.tied)), each.missing, each.alone, each.screening)
                said.setdefault(kind, []).append((group.length, each))
        if said:
            title = " · ".join(part for part in (safe(cell, 60), safe(task, 60), other) if part)
            found.append(Answer(title, tuple(_speed_sentence(verdicts) for verdicts in said.values())))
    return found


def learning(groups: Sequence[Ranking]) -> list[Answer]:
    """What each network learned, for every task, against the baselines and over the lengths."""
    found: dict[str, list[str]] = {}
    about: dict[str, str] = {}
    for (task, cell, other), members in _by(groups).items():
        levels: dict[str, list[int]] = {}
        for group in members:
            if group.score is not None:
                levels.setdefault(level(group.score), []).append(group.length)
                about[task] = _about(group.score, group.score_ranked)
        if levels:
            name = " ".join(part for part in (safe(cell, 60), other) if part)
            parts = [f"{words} at {lengths(where)}" for words, where in levels.items()]
            found.setdefault(task, []).append(f"{name}: {'; '.join(parts)}.")
    return [Answer(f"{safe(task, 60)} ({about[task]})", tuple(said)) for task, said in found.items()]


def level(score: Score) -> str:
    """How a network stands to its baselines, by all of its seeds and not by their mean."""
    finals = score.values
    if not finals:
        return "no seed was trained to an end"
    if not all(map(math.isfinite, finals)):
        lost = sum(not math.isfinite(value) for value in finals)
        return f"{lost} of {counted(len(finals), 'seed')} ended without a finite score"
    if score.trivial is None:
        return "no baseline to compare with"
    over_trivial = sum(_better(value, score.trivial, score) for value in finals)
    if over_trivial == 0:
        return "no seed beats the trivial baseline"
    if over_trivial < len(finals):
        return f"only {over_trivial} of {counted(len(finals), 'seed')} beat the trivial baseline"
    if score.simple is None:
        return "every seed beats the trivial baseline"
    over_simple = sum(_better(value, score.simple, score) for value in finals)
    if over_simple == len(finals):
        return "every seed beats both baselines"
    if over_simple == 0:
        return "every seed beats the trivial baseline, none the simple one"
    return f"every seed beats the trivial baseline, {over_simple} of {len(finals)} the simple one"


def summary(groups: Sequence[Ranking]) -> str:
    """One sentence on speed over all groups; empty where nothing was compared."""
    verdicts = [each for each in map(verdict, groups) if each is not None and not each.alone]
    if not verdicts:
        return ""
    phases = {PHASES[group.phase] for group in groups if group.phase}
    what = f" ({listed(sorted(phases))})" if phases else ""
    screening = [each for each in verdicts if each.screening]
    shown = [each for each in verdicts if each.ahead is not None]
    tied = [each for each in verdicts if each.tied and not each.screening]
    parts = []
    if shown:
        parts.append(f"Fastest{what}: {_tally(shown)} of {counted(len(verdicts), 'group')}.")
    if tied:
        where = counted(len(tied), "group")
        parts.append(f"In {where} no difference is seen between the first and at least one other.")
    if screening:
        parts.append(
            f"Shortest time{what}: {_tally(screening)} of {counted(len(verdicts), 'group')}; this is a "
            "screening, without intervals: an order, not a proof."
        )
    return " ".join(parts)


def _tally(verdicts: Iterable[Verdict]) -> str:
    counts: dict[str, int] = {}
    for each in verdicts:
        counts[each.leader] = counts.get(each.leader, 0) + 1
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return listed([f"{name} in {number}" for name, number in order])


def _speed_sentence(verdicts: Sequence[tuple[int, Verdict]]) -> str:
    where = lengths(length for length, _ in verdicts)
    each = verdicts[0][1]
    without = f" Not timed there: {listed(each.missing)}." if each.missing else ""
    if each.alone:
        return f"At {where} only {each.leader} was timed.{without}"
    if each.screening:
        return f"At {where} {each.leader} had the shortest time (screening, no interval).{without}"
    if each.tied:
        return f"At {where} no difference is seen between {listed([each.leader, *each.tied])}.{without}"
    margins = [one.ahead for _, one in verdicts if one.ahead is not None]
    margin = f", at least {digits(min(margins))}× ahead of all others timed" if margins else ""
    return f"At {where} {each.leader} is fastest{margin}.{without}"


def _about(score: Score, ranked: bool) -> str:
    direction = "higher is better" if score.higher_is_better else "lower is better"
    control = "" if ranked else "; negative control: shown, not ranked"
    return f"{safe(score.metric, 40)}, {direction}{control}"


def _better(value: float, than: float, score: Score) -> bool:
    return value > than if score.higher_is_better else value < than


def _by(groups: Iterable[Ranking]) -> dict[tuple[str, str, str], list[Ranking]]:
    found: dict[tuple[str, str, str], list[Ranking]] = {}
    for group in groups:
        found.setdefault((group.task, group.cell, group.other), []).append(group)
    return found
