"""What a comparison found: rows, cases that came and went, an exit status. No statistic is computed here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from rnnbench.errors import RequestError, nearest
from rnnbench.judging import Gain
from rnnbench.records import Case, Status
from rnnbench.stats import Interval

Verdict = Literal[
    "regression", "improvement", "unchanged", "inconclusive",
    "suspect", "within_spread", "different", "not_told_apart", "incomparable",
]  # fmt: skip
VERDICTS: tuple[Verdict, ...] = (
    "regression", "suspect", "improvement", "different", "incomparable", "inconclusive",
    "not_told_apart", "within_spread", "unchanged",
)  # fmt: skip
"""In the order in which a reader wants them: what changed first."""

FLAGGED: tuple[Verdict, ...] = ("regression", "improvement")
FAILED: tuple[Status, ...] = ("mismatch", "diverged", "failed", "crashed", "timeout", "out_of_memory")
"""The case could have been measured and was not; ``skipped`` and ``unsupported`` are not failures."""

Kind = Literal["time", "memory", "count", "score", "case"]

FAIL_ON = ("regression", "suspect", "inconclusive", "incomparable")
"""What ``--fail-on`` takes. A regression needs no asking."""


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity of one pair of cases.

    ``what``: the phase (kind "time"), the key of the record's memory ("memory"), "parameters" or
    "compilations" ("count"), the metric ("score"), or "" where the pair as a whole is meant ("case").
    ``base`` and ``head``: seconds per call, bytes, a number, or the mean score over seeds. ``ratio`` is head
    ÷ base, above 1 is slower or more; of scores there is a ``gain`` instead. ``bound`` is the threshold that
    the verdict was given by, and ``detectable`` the smallest change that this measurement could have shown
    (0.03 is 3 %). ``text`` says what the numbers do not.
    """

    base_case: Case
    case: Case
    kind: Kind
    what: str
    verdict: Verdict
    base: float | None = None
    head: float | None = None
    ratio: Interval | None = None
    gain: Gain | None = None
    bound: float | None = None
    detectable: float | None = None
    text: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The same quantity of the same pair has the same key in every comparison."""
        return self.base_case.key, self.case.key, self.kind, self.what

    @property
    def worse(self) -> bool:
        """Whether the head's side is the slower, larger or less able one."""
        if self.gain is not None:
            return self.gain.value < 0
        return self.ratio is not None and self.ratio.value > 1


@dataclass(frozen=True, slots=True)
class Change:
    """A case (or one phase of it, ``what``) that only one side has, or whose status is another now.

    ``base`` and ``head`` are statuses, "" on the side that does not have the case; ``reason`` is the head's,
    or the base's where the head has none.
    """

    case: Case
    base: Status | Literal[""]
    head: Status | Literal[""]
    reason: str = ""
    what: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """Where one side comes from: its run, how that was named (``source``), and the ``value`` of the axis."""

    run: str
    suite: str
    started: str
    source: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """``axis`` is "" for two runs. ``live``: timed in turns, so that times can be judged.

    ``confirmed``: every row that is flagged was flagged again by fresh processes. ``vanished``, ``new``,
    ``newly_failing``, ``newly_ok`` and ``still_failing`` name cases; ``notes`` are sentences for the reader.
    """

    base: Side
    head: Side
    axis: str = ""
    live: bool = False
    confirmed: bool = False
    forced: bool = False
    rows: tuple[Row, ...] = ()
    vanished: tuple[Change, ...] = ()
    new: tuple[Change, ...] = ()
    newly_failing: tuple[Change, ...] = ()
    newly_ok: tuple[Change, ...] = ()
    still_failing: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def flagged(self) -> tuple[Row, ...]:
        """Times and memory that count only if fresh processes show them again."""
        return tuple(row for row in self.rows if row.verdict in FLAGGED and row.kind in ("time", "memory"))

    @property
    def comparable(self) -> bool:
        """Whether anything that was measured was compared, or a case fails now.

        That a case failed in the base is no proof that it is as fast as it was, nor is that networks have
        as many parameters as before.
        """
        compared = any(row.verdict != "incomparable" and row.kind != "count" for row in self.rows)
        return compared or bool(self.newly_failing)

    def count(self, verdict: Verdict) -> int:
        """Rows of a verdict."""
        return sum(row.verdict == verdict for row in self.rows)

    def exit_code(self, fail_on: Collection[str] = ()) -> int:
        """The exit status, the gravest first.

        6: a case that was ok fails, a new one fails, or a score became worse beyond its margin.
        3: a regression of times, memory or counts.
        5: nothing was comparable, or cases vanished.
        4: a word of ``fail_on`` (suspect, inconclusive, incomparable) applies. 0: none of these.
        Of suspects only those count that became worse. Raises ``RequestError`` for an unknown word.
        """
        for word in fail_on:
            if word not in FAIL_ON:
                raise RequestError(f'no verdict "{word}". {nearest(word, FAIL_ON)}', where="--fail-on")
        regressions = [row.kind for row in self.rows if row.verdict == "regression"]
        if self.newly_failing or "score" in regressions or any(each.head in FAILED for each in self.new):
            return 6
        if regressions:
            return 3
        if self.vanished or not self.comparable:
            return 5
        asked = any(row.verdict in fail_on and (row.verdict != "suspect" or row.worse) for row in self.rows)
        return 4 if asked else 0


def confirm(first: Comparison, again: Comparison) -> Comparison:
    """``first``, its flagged times and memory kept only where ``again``, of fresh processes, flags them too.

    A row that is flagged both times has the second measurement's numbers: the first was chosen for being
    large. One that is not is ``unchanged`` where the second says so, else ``inconclusive``. Every other row
    is kept. A case that fails the second time is newly failing, and one that was not measured has vanished.
    """
    found: Mapping[tuple[str, ...], Row] = {row.key: row for row in again.rows}
    flagged = {row.key for row in first.flagged}
    rows = tuple(_confirmed(row, found.get(row.key)) if row.key in flagged else row for row in first.rows)
    known = {change.case for change in first.newly_failing}
    failing = (*first.newly_failing, *(each for each in again.newly_failing if each.case not in known))
    gone = {(change.case, change.what) for change in first.vanished}
    vanished = (*first.vanished, *(each for each in again.vanished if (each.case, each.what) not in gone))
    notes = tuple(dict.fromkeys((*first.notes, *again.notes)))
    return replace(first, rows=rows, vanished=vanished, newly_failing=failing, notes=notes, confirmed=True)


def _confirmed(row: Row, again: Row | None) -> Row:
    if again is None or again.verdict == "incomparable":
        return replace(row, verdict="inconclusive", text=f"{row.verdict} once, not measured again")
    if again.verdict == row.verdict:
        return replace(again, text="found again by fresh processes")
    verdict: Verdict = "unchanged" if again.verdict == "unchanged" else "inconclusive"
    return replace(again, verdict=verdict, text=f"{row.verdict} once, not found again by fresh processes")
