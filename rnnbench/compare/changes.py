"""What became of cases: statuses then and now, what vanished, what is new. No number is judged here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rnnbench.compare.outcome import FAILED, Change
from rnnbench.compare.pairing import Pairing
from rnnbench.compare.verdicts import Times
from rnnbench.records import Record


@dataclass(slots=True)
class Changes:
    """Collected pair by pair, in the words of ``Comparison``."""

    vanished: list[Change] = field(default_factory=list)
    new: list[Change] = field(default_factory=list)
    newly_failing: list[Change] = field(default_factory=list)
    newly_ok: list[Change] = field(default_factory=list)
    still_failing: list[Change] = field(default_factory=list)
    unmeasured: list[Change] = field(default_factory=list)


def find_changes(pairing: Pairing, base: Mapping[str, Times], head: Mapping[str, Times]) -> Changes:
    """All changes of a pairing; ``base`` and ``head`` are the times of each side, by case key.

    A case that was ok and is skipped or unsupported now has vanished: nothing was measured. So has a phase
    or the score that only the base has of a case that is ok on both sides.
    """
    changes = Changes()
    changes.vanished += [Change(each.case, each.status, "", each.reason) for each in pairing.only_base]
    changes.new += [Change(each.case, "", each.status, each.reason) for each in pairing.only_head]
    for pair in pairing.pairs:
        then, now = pair.base.status, pair.head.status
        if then == now == "ok":
            ours, theirs = _measured(pair.head, head), _measured(pair.base, base)
            if ours == theirs:
                continue
            changes.vanished += [
                Change(pair.base.case, "ok", "ok", what=what) for what in sorted(theirs - ours)
            ]
            changes.new += [Change(pair.head.case, "ok", "ok", what=what) for what in sorted(ours - theirs)]
            continue
        change = Change(pair.head.case, then, now, pair.head.reason or pair.base.reason)
        if now == "ok":
            changes.newly_ok.append(change)
        elif now in FAILED and then not in FAILED:
            changes.newly_failing.append(change)
        elif then == "ok":
            changes.vanished.append(change)
        elif then in FAILED:
            changes.still_failing.append(change)
        else:
            changes.unmeasured.append(change)
    return changes


def _measured(record: Record, times: Mapping[str, Times]) -> set[str]:
    found: set[str] = set(times.get(record.case.key, ()))
    if record.score is not None:
        found.add("score")
    return found
