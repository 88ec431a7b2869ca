"""Records, blocks and runs as single lines of JSON, and strictly back.

JSON has no NaN and no infinities, and a diverged score is one: they are written as the strings "NaN",
"Infinity" and "-Infinity", so that every line is valid JSON for every other program, and come back
as numbers. Nothing here touches a file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from rnnbench.errors import RequestError
from rnnbench.records import Block, Record, Run

Line = TypeVar("Line", Record, Block, Run)

ONE: dict[type, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in (Record, Block, Run)}
MANY: dict[type, TypeAdapter[Any]] = {Record: TypeAdapter(list[Record]), Block: TypeAdapter(list[Block])}


def encode(value: Record | Block | Run) -> bytes:
    """One line of UTF-8 JSON, without its newline. Raises ``ValueError`` for what JSON cannot hold."""
    try:
        return to_json(value, inf_nan_mode="strings", fallback=_plain)
    except PydanticSerializationError as error:
        if "UnicodeEncodeError" not in str(error):
            raise
        # a stray byte in what a crashed worker said must not cost the record
        return to_json(_without_surrogates(asdict(value)), inf_nan_mode="strings", fallback=_plain)


def decode(kind: type[Line], line: bytes) -> Line:
    """The value of one line.

    Unknown keys, missing keys and wrong types are refused; so are blocks that no clock can have given
    and records that no plan can hold. Raises ``RequestError`` that names the key, what was given and
    what is expected; the caller knows where the line stands.
    """
    try:
        value: Line = ONE[kind].validate_json(line, strict=_finite(line), extra="forbid")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        given = repr(first["input"])[:60]
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise RequestError(f"{first['msg']}, given {given}{more}", where=key) from None
    if not _possible(value):
        raise RequestError("so many loops in so many seconds is no time", where="loops, seconds")
    return value


def decode_all(kind: type[Line], lines: Sequence[bytes]) -> list[Line] | None:
    """All lines in one go, several times faster than one by one; None where any of them is refused."""
    try:
        content = b"[" + b",".join(lines) + b"]"
        values: list[Line] = MANY[kind].validate_json(content, strict=_finite(content), extra="forbid")
    except ValidationError:
        return None
    return values if len(values) == len(lines) and all(map(_possible, values)) else None


def _finite(content: bytes) -> bool:
    # strict mode would refuse the string "NaN" as a number; only what holds one is read leniently
    return b'"NaN"' not in content and b'Infinity"' not in content


def _possible(value: Record | Block | Run) -> bool:
    if not isinstance(value, Block):
        return True
    times = (value.seconds, value.p50_s, value.p99_s)
    return value.loops > 0 and all(0 < time < math.inf for time in times if time is not None)


def _plain(value: Any) -> Any:
    """What plugins return where a plain number or mapping was asked for."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise ValueError(f"{type(value).__name__} has no place in a record: {value!r:.60}")


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value
