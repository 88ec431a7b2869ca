"""What a run answers, in sentences that claim no more than the intervals allow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rnnbench.escaping import safe
from rnnbench.records import Score
from rnnbench.report.ranking import Ranking
from rnnbench.report.words import PHASES, at_least, counted, lengths, listed
from rnnbench.results.doubts import is_cut_short
from rnnbench.stats import standing


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
    ``drifted``: whether the leader's times are shown to change over the rounds.
    """

    leader: str
    tied: tuple[str, ...]
    missing: tuple[str, ...]
    ahead: float | None
    alone: bool
    screening: bool
    drifted: bool


def verdict(group: Ranking) -> Verdict | None:
    """None where no case of the group was timed.

    The leader is the first by rank; it is called fastest only where every other ratio to it has usable
    bounds that lie above 1.
    """
    if not group.ranked:
        return None
    first, *others = group.ranked
    tied = tuple(row.label for row in others if row.to_best is None or not row.to_best.above_one)
    lows = [row.to_best.low for row in others if row.to_best is not None and row.to_best.low is not None]
    if group.screening:
        tied = ()
    ahead = min(lows) if lows and not tied and not group.screening else None
    missing = tuple(row.label for row in group.rows if row.rank is None)
    drifted = first.drift is not None
    return Verdict(first.label, tied, missing, ahead, not others, group.screening, drifted)


def speed(groups: Sequence[Ranking]) -> list[Answer]:
    """Who is fastest, for every cell and task, over the lengths."""
    found = []
    for (task, cell, other), members in _by(groups).items():
        said: dict[tuple[object, ...], list[tuple[int, Verdict]]] = {}
        for group in members:
            each = verdict(group)
            if each is not None:
                same = tuple(sorted((each.leader, *each.tied))) if each.tied else each.leader
                drifted = each.drifted and not each.tied
                kind = (same, each.missing, each.alone, each.screening, drifted)
                said.setdefault(kind, []).append((group.length, each))
        if said:
            title = " · ".join(part for part in (safe(cell, 60), safe(task, 60), other) if part)
            found.append(Answer(title, tuple(_speed_sentence(verdicts) for verdicts in said.values())))
    return found


def learning(groups: Sequence[Ranking]) -> list[Answer]:
    """What each network learned, for every task, against the baselines and over the lengths."""
    found: dict[str, list[str]] = {}
    scored: dict[str, list[Ranking]] = {}
    for (task, cell, other), members in _by(groups).items():
        several = any(len(group.scores) > 1 for group in members)
        levels: dict[str, dict[str, list[tuple[int, Score]]]] = {}
        for group in members:
            for trainer, score in group.scores.items():
                said = levels.setdefault(trainer if several else "", {})
                said.setdefault(level(score), []).append((group.length, score))
                scored.setdefault(task, []).append(group)
        for trainer, said in levels.items():
            name = " ".join(part for part in (safe(cell, 60), other, trainer and f"on {trainer}") if part)
            parts = [_learning_part(words, where) for words, where in said.items()]
            found.setdefault(task, []).append(f"{name}: {'; '.join(parts)}.")
    return [Answer(f"{safe(task, 60)} ({_about(scored[task])})", tuple(said)) for task, said in found.items()]


def level(score: Score) -> str:
    """How a network stands to its baselines, beyond what noise of the seeds explains."""
    finals = score.values
    if not finals:
        return "no seed was trained to an end"
    if not all(map(math.isfinite, finals)):
        lost = sum(not math.isfinite(value) for value in finals)
        return f"{lost} of {counted(len(finals), 'seed')} ended without a finite score"
    if score.trivial is None or not math.isfinite(score.trivial):
        return "no baseline to compare with"
    trivial = standing(finals, score.trivial, score.higher_is_better)
    if is_cut_short(score) and trivial != "better":
        return "cut short by the budget, so not judged"
    if trivial == "one seed":
        return "one seed, too few to compare"
    if trivial == "not told apart":
        return "not told apart from the trivial baseline"
    if trivial == "worse":
        return "worse than the trivial baseline"
    cut = ", though cut short by the budget" if is_cut_short(score) else ""
    if score.simple is None or not math.isfinite(score.simple):
        return f"beats the trivial baseline{cut}"
    simple = standing(finals, score.simple, score.higher_is_better)
    if simple == "better":
        return f"beats both baselines{cut}"
    if cut:
        return f"beats the trivial baseline{cut}"
    word = "worse than" if simple == "worse" else "not told apart from"
    return f"beats the trivial baseline, {word} the simple one"


def _learning_part(words: str, where: Sequence[tuple[int, Score]]) -> str:
    place = f"{words} at {lengths(length for length, _ in where)}"
    taken = [
        curve.steps[-1] if curve.steps else 0
        for _, score in where
        for curve in score.curves
        if curve.stopped == "budget"
    ]
    if not taken:
        return place
    low, high = min(taken), max(taken)
    return f"{place} (after {counted(high, 'step') if low == high else f'{low} to {high} steps'})"


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
        doubted = sum(each.drifted for each in shown)
        though = f" In {doubted} of these the first drifted over the rounds." if doubted else ""
        parts.append(f"Fastest{what}: {_tally(shown)} of {counted(len(verdicts), 'group')}.{though}")
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
    margin = f", at least {at_least(min(margins))} ahead of all others timed" if margins else ""
    though = ", though its times drifted over the rounds" if each.drifted else ""
    return f"At {where} {each.leader} is fastest{margin}{though}.{without}"


def _about(groups: Sequence[Ranking]) -> str:
    score = next(group.score for group in groups if group.score is not None)
    direction = "higher is better" if score.higher_is_better else "lower is better"
    trainers = sorted({trainer for group in groups for trainer in group.scores})
    control = "" if groups[0].score_ranked else "; negative control: shown, not ranked"
    return f"{safe(score.metric, 40)}, {direction}; trained on {listed(trainers)}{control}"


def _by(groups: Iterable[Ranking]) -> dict[tuple[str, str, str], list[Ranking]]:
    found: dict[tuple[str, str, str], list[Ranking]] = {}
    for group in groups:
        found.setdefault((group.task, group.cell, group.other), []).append(group)
    return found
