"""Which case stands against which: two runs, or two values of an axis within one run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from rnnbench.errors import RequestError, nearest
from rnnbench.records import PRESENT, Case, Record

AXES = tuple(item.name for item in fields(Case) if item.name not in ("train", "measure"))
PAIRED = ("backend", "implementation", "device", "env")
"""Axes within a group: cases that differ only in one of these are timed in turns."""

TERMS = ("threads", "dtype")
"""Terms of measuring: cases that differ only in these ask the same question and cannot be compared."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two records of one question. ``unlike`` names the terms on which they were measured apart."""

    base: Record
    head: Record
    unlike: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pairing:
    """``pairs``, and the records of each side that have none."""

    pairs: tuple[Pair, ...]
    only_base: tuple[Record, ...]
    only_head: tuple[Record, ...]


def pair_runs(base: Sequence[Record], head: Sequence[Record]) -> Pairing:
    """Records whose cases agree in every field.

    What is left over is matched without regard to the environment, where that leaves no choice (a run with
    ``--env`` against one without), and then without threads and dtype, as pairs that are ``unlike``.
    """
    pairs: list[Pair] = []
    for ignored in ((), ("env",), (*TERMS,), ("env", *TERMS)):
        found, base, head = _match(base, head, ignored)
        pairs += found
    return Pairing(tuple(pairs), tuple(base), tuple(head))


def pair_axis(records: Sequence[Record], axis: str, base: object) -> Pairing:
    """Records whose cases differ in ``axis`` alone, those with the value ``base`` against every other one.

    A record of another value without a partner, or of ``base`` without any, is left over. Raises
    ``RequestError`` for an axis that no case has, and for a value of it that no case of the run has.
    """
    if axis not in AXES:
        raise RequestError(f'no axis "{axis}". {nearest(axis, AXES)}', where="--by")
    values = {str(getattr(record.case, axis)): getattr(record.case, axis) for record in records}
    if str(base) not in values:
        raise RequestError(f'no case has {axis} "{base}". {nearest(base, values)}', where="--base")
    value = values[str(base)]
    bases = {
        replace(each.case, **{axis: value}): each for each in records if getattr(each.case, axis) == value
    }
    others = [each for each in records if getattr(each.case, axis) != value]
    partners = [(bases.get(replace(each.case, **{axis: value})), each) for each in others]
    pairs = tuple(Pair(partner, each) for partner, each in partners if partner is not None)
    taken = {pair.base.case for pair in pairs}
    return Pairing(
        pairs,
        tuple(record for case, record in bases.items() if case not in taken),
        tuple(each for partner, each in partners if partner is None),
    )


def _match(
    base: Iterable[Record], head: Iterable[Record], ignored: tuple[str, ...]
) -> tuple[list[Pair], list[Record], list[Record]]:
    """Pairs, and what is left of each side. With ``ignored`` fields only what is the one choice pairs."""
    theirs, ours = _by_question(base, ignored), _by_question(head, ignored)
    pairs = [
        Pair(records[0], ours[question][0], _unlike(records[0].case, ours[question][0].case))
        for question, records in theirs.items()
        if len(records) == 1 and len(ours.get(question, ())) == 1
    ]
    paired = {id(pair.base) for pair in pairs} | {id(pair.head) for pair in pairs}
    left = [[each for records in side.values() for each in records if id(each) not in paired]
            for side in (theirs, ours)]  # fmt: skip
    return pairs, left[0], left[1]


def _by_question(records: Iterable[Record], ignored: tuple[str, ...]) -> Mapping[str, list[Record]]:
    neutral: dict[str, Any] = {"env": PRESENT, "threads": 1, "dtype": "float32"}
    reset = {name: neutral[name] for name in ignored}
    found: dict[str, list[Record]] = {}
    for record in records:
        case = replace(record.case, **reset) if reset else record.case
        found.setdefault(case.key, []).append(record)
    return found


def _unlike(base: Case, head: Case) -> tuple[str, ...]:
    return tuple(
        f"{name} {getattr(base, name)} then, {getattr(head, name)} now"
        for name in TERMS
        if getattr(base, name) != getattr(head, name)
    )
