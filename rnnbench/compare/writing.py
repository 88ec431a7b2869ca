"""verdict.json: a comparison for programs. docs/regression-tracking.md describes its keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from rnnbench.compare.outcome import VERDICTS, Change, Comparison, Row
from rnnbench.compare.pairing import AXES
from rnnbench.errors import RequestError

FORMAT = 1
NAME = "verdict.json"
CHANGES = ("vanished", "new", "newly_failing", "newly_ok", "still_failing")


def encode(comparison: Comparison, fail_on: Collection[str] = ()) -> bytes:
    """One JSON object in UTF-8. Infinite bounds are the strings "Infinity" and "-Infinity"."""
    changes = [each for name in CHANGES for each in getattr(comparison, name)]
    # many rows share a case; to hash one is what most of the time would go to
    cases = {id(row.case): row.case for row in (*comparison.rows, *changes)}
    cases |= {id(row.base_case): row.base_case for row in comparison.rows}
    keys = {name: case.key for name, case in cases.items()}
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
        "cases": {keys[each]: {name: getattr(case, name) for name in AXES} for each, case in cases.items()},
        "rows": [_row(row, keys) for row in comparison.rows],
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


def _row(row: Row, keys: Mapping[int, str]) -> dict[str, Any]:
    ratio, gain = row.ratio, row.gain
    return {
        "case": keys[id(row.case)],
        "base_case": keys[id(row.base_case)],
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
