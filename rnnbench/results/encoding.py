"""Records, blocks and runs as single lines of JSON, and strictly back.

JSON has no NaN and no infinities, and a diverged score is one: they are written as the strings "NaN",
"Infinity" and "-Infinity", so that every line is valid JSON for every other program, and come back
as numbers. Nothing here touches a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

import msgspec
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from rnnbench.errors import RequestError
from rnnbench.records import Block, Record, Run

Line = TypeVar("Line", Record, Block, Run)

ONE: dict[type, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in (Record, Run)}
MANY: TypeAdapter[Any] = TypeAdapter(list[Record])
BLOCKS: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Block)


def encode(value: Record | Block | Run) -> bytes:
    """One line of UTF-8 JSON, without its newline. Raises ``ValueError`` for what JSON cannot hold."""
    if isinstance(value, Block):
        return msgspec.json.encode(value, enc_hook=_plain)
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
        value: Line = (
            BLOCKS.decode(line)
            if kind is Block
            else ONE[kind].validate_json(_renamed(line), strict=_finite(line), extra="forbid")
        )
        return value
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        given = repr(first["input"])[:60]
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise RequestError(f"{first['msg']}, given {given}{more}", where=key) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        said, _, key = str(error).partition(" - at `$.")
        raise RequestError(f"{said}, given {line[:200]!r}", where=key.removesuffix("`")) from None


def decode_all(kind: type[Line], lines: bytes) -> list[Line] | None:
    """All lines, each with its newline, in one go: several times faster than one by one.

    None where any of them is refused.
    """
    count = lines.count(b"\n")
    try:
        values: list[Line] = BLOCKS.decode_lines(lines) if kind is Block else _decode_records(lines)
    except (ValidationError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return values if len(values) == count else None


def _decode_records(lines: bytes) -> Any:
    content = b"[" + _renamed(lines[:-1]).replace(b"\n", b",") + b"]"
    return MANY.validate_json(content, strict=_finite(content), extra="forbid")


def _renamed(content: bytes) -> bytes:
    # what ridge_alpha was called in the first files; inside a string its quotes would be escaped
    return content.replace(b'"penalty":', b'"ridge_alpha":')


def _finite(content: bytes) -> bool:
    # strict mode would refuse the string "NaN" as a number; only what holds one is read leniently
    return b'"NaN"' not in content and b'Infinity"' not in content


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
