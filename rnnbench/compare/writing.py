"""verdict.json: a comparison for programs. docs/regression-tracking.md describes its keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from rnnbench.compare.outcome import VERDICTS, Change, Comparison, Row
from rnnbench.compare.pairing import AXES
from rnnbench.errors import RequestError

FORMAT = 1
NAME = "verdict.json"
CHANGES = ("vanished", "new", "newly_failing", "newly_ok", "still_failing")
_OF_CASE = attrgetter(*AXES)


def encode(comparison: Comparison, fail_on: Collection[str] = ()) -> bytes:
    """One JSON object in UTF-8. Infinite bounds are the strings "Infinity" and "-Infinity"."""
    changes = [each for name in CHANGES for each in getattr(comparison, name)]
    cases = {each.case.key: each.case for each in (*comparison.rows, *changes)}
    cases |= {row.base_case.key: row.base_case for row in comparison.rows}
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
        "cases": {key: dict(zip(AXES, _OF_CASE(case), strict=True)) for key, case in cases.items()},
        "rows": [_row(row) for row in comparison.rows],
        **{name: [_change(each) for each in getattr(comparison, name)] for name in CHANGES},
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
        with suppress(OSError):
            beside.unlink()
        raise RequestError(
            f"cannot be written: {error.strerror}. Name another place with --out.", where=str(file)
        ) from None
    return content


def _row(row: Row) -> dict[str, Any]:
    ratio, gain = row.ratio, row.gain
    return {
        "case": row.case.key,
        "base_case": row.base_case.key,
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


def _change(change: Change) -> dict[str, Any]:
    return {
        "case": change.case.key,
        "what": change.what,
        "base": change.base,
        "head": change.head,
        "reason": change.reason,
    }
