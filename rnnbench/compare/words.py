"""A comparison in words: what verdicts and cases are called, and why the exit status is what it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rnnbench.compare.outcome import FAILED, Change, Comparison, Row, Verdict
from rnnbench.compare.pairing import AXES
from rnnbench.records import Case

CALLED: dict[Verdict, str] = {
    "regression": "REGRESSION",
    "improvement": "improvement",
    "unchanged": "unchanged",
    "inconclusive": "inconclusive",
    "suspect": "SUSPECT",
    "within_spread": "within spread",
    "different": "different",
    "not_told_apart": "not told apart",
    "incomparable": "INCOMPARABLE",
}
ALWAYS = ("task", "length", "cell", "hidden", "backend", "implementation")
SHORT = {"length": "T", "hidden": "H", "batch": "B"}
WEAK = (
    "Two runs that were not measured in turns: their times are weak evidence, at most suspect. "
    "`rnnbench ci` measures both live."
)


def varying(cases: Iterable[Case]) -> tuple[str, ...]:
    """Fields in which cases differ, apart from those that a name always has."""
    cases = list(cases)
    return tuple(
        name for name in AXES if name not in ALWAYS and len({getattr(case, name) for case in cases}) > 1
    )


def name_case(case: Case, more: Sequence[str] = (), *, but: str = "") -> str:
    """task T20 cell H64 backend implementation, and further fields; ``but``: an axis left out."""
    parts = []
    for field in (*ALWAYS, *more):
        if field != but:
            value = getattr(case, field)
            parts.append(f"{SHORT[field]}{value}" if field in SHORT else _said(field, value))
    return " ".join(parts)


def name_row(row: Row, axis: str, more: Sequence[str] = ()) -> str:
    """The case of a row; along an axis, with both values: ``copy T20 gru H64 native, jax ÷ torch``."""
    if not axis:
        return name_case(row.case, more)
    values = f"{getattr(row.case, axis)} ÷ {getattr(row.base_case, axis)}"
    return f"{name_case(row.case, more, but=axis)}: {values}"


def describe_change(change: Change, comparison: Comparison, more: Sequence[str] = ()) -> str:
    """One line for a case that came, went or has another status."""
    name = name_case(change.case, more)
    if change.what:
        return f"{name}: {change.what}, not measured on the other side"
    then, now = change.base or "absent", change.head or "absent"
    if comparison.axis:
        said = f"{now}, {then} with {comparison.axis} {comparison.base.value}"
    else:
        said = f"{now}, was {then}"
    return f"{name}: {said}" + (f": {change.reason}" if change.reason else "")


def explain_exit(comparison: Comparison, code: int) -> str:
    """Why the exit status is what it is, in one sentence."""
    if code == 6:
        failing = len(comparison.newly_failing) + sum(each.head in FAILED for each in comparison.new)
        worse = sum(row.kind == "score" and row.verdict == "regression" for row in comparison.rows)
        parts = [
            f"{failing} newly failing" if failing else "",
            f"{worse} scores became worse" if worse else "",
        ]
        return "; ".join(part for part in parts if part)
    if code == 3:
        how = "confirmed by fresh processes" if comparison.confirmed else "by one run, measured in turns"
        kinds = {row.kind for row in comparison.rows if row.verdict == "regression"}
        shown = "by counts, which do not vary" if kinds == {"count"} else how
        return f"{_number(comparison.count('regression'), 'regression')}, shown {shown}"
    if code == 5:
        if comparison.vanished:
            return f"{len(comparison.vanished)} cases or phases vanished"
        return "nothing was comparable, so nothing was shown"
    if code == 4:
        return "asked for by --fail-on"
    if comparison.count("suspect"):
        return "suspects are not shown to be slower; --fail-on suspect makes them count"
    return "nothing is shown to have become worse"


def summarize(comparison: Comparison) -> str:
    """How many rows have which verdict, the gravest first."""
    counts = Counter(row.verdict for row in comparison.rows)
    return ", ".join(f"{counts[verdict]} {CALLED[verdict].lower()}" for verdict in CALLED if counts[verdict])


def _said(field: str, value: object) -> str:
    return str(value) if field in ("task", "cell", "backend", "implementation") else f"{field} {value}"


def _number(count: int, one: str) -> str:
    return f"{count} {one}" if count == 1 else f"{count} {one}s"
