"""Runs as one file that other tools read: the table of ``load`` as CSV, JSON lines or Parquet."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from typing import Any

from rnnbench.errors import RequestError, nearest
from rnnbench.results.reading import RunResults
from rnnbench.results.tidy import tabulate

FORMATS = ("csv", "jsonl", "parquet")


def export(results: Sequence[RunResults], format: str) -> bytes:
    """The content of a file. What is missing is an empty field in CSV and null in JSON lines.

    NaN and infinities, which a diverged score is, are "NaN", "Infinity" and "-Infinity" in JSON lines.
    Raises ``RequestError`` for a format that is not one of csv, jsonl and parquet.
    """
    if format not in FORMATS:
        raise RequestError(f'no format "{format}". {nearest(format, FORMATS)}', where="--format")
    table = tabulate(results)
    if format == "csv":
        return table.to_csv(index=False, lineterminator="\n").encode()
    if format == "parquet":
        content = io.BytesIO()
        table.to_parquet(content, index=False)
        return content.getvalue()
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    lines = [json.dumps(_jsonable(row), ensure_ascii=False, allow_nan=False) for row in rows]
    return "".join(f"{line}\n" for line in lines).encode()


def _jsonable(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(name): _finite(value) for name, value in row.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
