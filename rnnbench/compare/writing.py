"""verdict.json: a comparison for programs. docs/regression-tracking.md describes its keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from rnnbench.compare.outcome import VERDICTS, Change, Comparison, Row
from rnnbench.compare.pairing import AXES
from rnnbench.errors import RequestError
from rnnbench.records import Case

FORMAT = 1
NAME = "verdict.json"
CHANGES = ("vanished", "new", "newly_failing", "newly_ok", "still_failing")


def encode(comparison: Comparison, fail_on: Collection[str] = ()) -> bytes:
    """One JSON object in UTF-8. Infinite bounds are the strings "Infinity" and "-Infinity"."""
    cases = _Cases()
    counts = Counter(row.verdict for row in comparison.rows)
    content = {
        "format": FORMAT,
        "exit": comparison.exit_code(fail_on),
        "fail_on": sorted(fail_on),
        "base": asdict(comparison.base),
        "head": asdict(comparison.head),
        "axis": comparison.axis,
        "live": comparison.live,
        "confirmed": comparison.confirmed,
        "forced": comparison.forced,
        "counts": {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]},
        "rows": [_row(row, cases) for row in comparison.rows],
        **{name: [_change(each, cases) for each in getattr(comparison, name)] for name in CHANGES},
        "notes": list(comparison.notes),
    }
    return to_json(content, inf_nan_mode="strings") + b"\n"


def write(comparison: Comparison, file: Path, fail_on: Collection[str] = ()) -> bytes:
    """Write verdict.json in one step and return what it holds.

    Raises ``RequestError`` where that cannot be written; nothing is left behind then.
    """
    content = encode(comparison, fail_on)
    beside = file.with_name(f".{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        beside.replace(file)
    except OSError as error:
        raise RequestError(
            f"cannot be written: {error.strerror}. Name another place with --out.", where=str(file)
        ) from None
    return content


class _Cases:
    """Keys and fields of cases, worked out once for each: a case has up to ten rows."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, dict[str, Any]]] = {}

    def key(self, case: Case) -> str:
        return self._of(case)[0]

    def fields(self, case: Case) -> dict[str, Any]:
        return self._of(case)[1]

    def _of(self, case: Case) -> tuple[str, dict[str, Any]]:
        found = self._known.get(id(case))
        if found is None:
            found = case.key, {name: getattr(case, name) for name in AXES}
            self._known[id(case)] = found
        return found


def _row(row: Row, cases: _Cases) -> dict[str, Any]:
    ratio, gain = row.ratio, row.gain
    return {
        "case": cases.key(row.case),
        "base_case": cases.key(row.base_case),
        "axes": cases.fields(row.case),
        "kind": row.kind,
        "what": row.what,
        "verdict": row.verdict,
        "base": row.base,
        "head": row.head,
        "ratio": ratio and _bounds(ratio.value, ratio.low, ratio.high) | {"processes": ratio.processes},
        "gain": gain and _bounds(gain.value, gain.low, gain.high) | {"seeds": gain.seeds},
        "bound": row.bound,
        "detectable": row.detectable,
        "text": row.text,
    }


def _bounds(value: float, low: float | None, high: float | None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high}


def _change(change: Change, cases: _Cases) -> dict[str, Any]:
    return {
        "case": cases.key(change.case),
        "axes": cases.fields(change.case),
        "what": change.what,
        "base": change.base,
        "head": change.head,
        "reason": change.reason,
    }
