"""From which length on a scan over time pays: a sentence for every cell and backend, from intervals alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

from rnnbench.escaping import safe
from rnnbench.records import Case
from rnnbench.report.answers import Answer
from rnnbench.report.ranking import Ranking, Row
from rnnbench.report.words import PHASES, digits, lengths, listed
from rnnbench.results.reading import RunResults, Timings
from rnnbench.stats import Interval, ratio

Quicker = Literal["scan", "portable", ""]
"""The empty one: the intervals do not tell the two apart."""


def crossings(results: RunResults, groups: Sequence[Ranking]) -> list[Answer]:
    """Of all that was timed both as ``scan`` and as ``portable``, in turns, at two or more lengths."""
    timings = results.timings
    several = [
        name for name in ("device", "env") if len({getattr(r.case, name) for r in results.records}) > 1
    ]
    found: dict[str, dict[str, dict[int, Interval | None]]] = {}
    for group in groups:
        title = " · ".join(part for part in (safe(group.cell, 60), safe(group.task, 60), group.other) if part)
        if group.phase:
            title += f" ({PHASES[group.phase]})"
        for place, pair in _by_place(group, several).items():
            if "scan" in pair and "portable" in pair:
                of_place = found.setdefault(title, {}).setdefault(place, {})
                of_place[group.length] = _gain(pair["portable"], pair["scan"], group, timings)
    answers = [
        Answer(title, tuple(sentence for sentence in map(_sentence, places, places.values()) if sentence))
        for title, places in found.items()
    ]
    return [answer for answer in answers if answer.sentences]


def quicker(gain: Interval) -> Quicker:
    """Who is shown to be quicker by portable ÷ scan; of a screening, who took the shorter time."""
    if gain.screening:
        return "scan" if gain.value > 1 else "portable"
    if gain.above_one:
        return "scan"
    return "portable" if gain.inverse.above_one else ""


def _by_place(group: Ranking, several: Sequence[str]) -> dict[str, dict[str, Row]]:
    found: dict[str, dict[str, Row]] = {}
    for row in group.rows:
        case = row.record.case
        found.setdefault(_place(case, several), {})[case.implementation] = row
    return found


def _place(case: Case, several: Sequence[str]) -> str:
    """Who computes, but for the implementation; ``several``: fields of which the run has several values."""
    return safe(" ".join([case.backend, *(getattr(case, name) for name in several)]), 60)


def _gain(portable: Row, scan: Row, group: Ranking, timings: Timings) -> Interval | None:
    if group.phase is None or portable.rank is None or scan.rank is None:
        return None
    ours, theirs = (timings[row.record.case.key, group.phase] for row in (portable, scan))
    return ratio(ours, theirs)


class _Stretch(NamedTuple):
    """Neighbouring lengths of which the same holds."""

    quicker: Quicker
    lengths: tuple[int, ...]


def _sentence(place: str, gains: Mapping[int, Interval | None]) -> str:
    """Empty for fewer than two lengths at which both were timed."""
    known = [(length, gain) for length, gain in sorted(gains.items()) if gain is not None]
    if len(known) < 2:
        return ""
    stretches = [
        _Stretch(who, tuple(length for length, _ in some))
        for who, some in groupby(known, key=lambda item: quicker(item[1]))
    ]
    missing = lengths(length for length, gain in gains.items() if gain is None)
    without = f" Not compared at {missing}." if any(gain is None for gain in gains.values()) else ""
    note = " (screening, no interval)" if any(gain.screening for _, gain in known) else ""
    return f"On {place} {_story(stretches, _margin(stretches[-1], known))}{note}.{without}"


def _story(stretches: Sequence[_Stretch], margin: str) -> str:
    match stretches:
        case [_Stretch("", where)]:
            return f"no difference is seen between scan and portable at any length measured, {lengths(where)}"
        case [_Stretch(who, where)]:
            return f"{who} is quicker than {_other(who)} at every length measured, {lengths(where)}{margin}"
        case [_Stretch("", below), _Stretch(who, where)]:
            return f"{who} is quicker than {_other(who)} from T = {where[0]} on{margin}; {_open(below)}"
        case [_Stretch(who, where), _Stretch("", beyond)]:
            return f"{who} is quicker than {_other(who)} up to T = {where[-1]}; {_open(beyond)}"
        case [_Stretch(before, below), _Stretch(who, where)]:
            return f"{who} overtakes {before} between T = {below[-1]} and T = {where[0]}{margin}"
        case [_Stretch(before, below), _Stretch("", between), _Stretch(who, where)] if before != who:
            crossed = f"{who} overtakes {before} between T = {below[-1]} and T = {where[0]}"
            return f"{crossed}{margin}; {_open(between)}"
    parts = [
        f"{each.quicker} is quicker at {lengths(each.lengths)}" if each.quicker else _open(each.lengths)
        for each in stretches
    ]
    return f"neither of scan and portable stays ahead: {listed(parts)}"


def _open(where: Sequence[int]) -> str:
    return f"no difference is seen at {lengths(where)}"


def _margin(last: _Stretch, known: Sequence[tuple[int, Interval]]) -> str:
    """By how much the winner at the longest length leads there, by the lower bound."""
    length, gain = known[-1]
    led = gain if last.quicker == "scan" else gain.inverse
    return f", at least {digits(led.low)}× at T = {length}" if last.quicker and led.low is not None else ""


def _other(who: Quicker) -> Quicker:
    return "portable" if who == "scan" else "scan"
