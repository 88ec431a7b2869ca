"""Reading columns of text out of csv, tsv and JSON-lines files, with an error that names the line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rnnbench.errors import RequestError, nearest

Layout = Literal["csv", "tsv", "jsonl"]


@dataclass(frozen=True)
class Table:
    """The wanted columns of a file. ``lines[i]`` is the line of the file on which row i ends."""

    path: Path
    columns: Mapping[str, list[str]]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.lines)

    def at(self, row: int) -> str:
        """Where a row stands, for an error: ``file:line``."""
        return f"{self.path}:{self.lines[row]}"


def read(path: Path, layout: Layout, wanted: Sequence[str]) -> Table:
    """The columns ``wanted`` of a UTF-8 file, which may be compressed (``.gz``).

    ``csv`` and ``tsv`` have a header; ``csv`` may quote with ", ``tsv`` does not quote at all. ``jsonl`` has
    an object on every line, and null reads as an empty text. Blank lines are skipped.
    Raises ``RequestError`` for what cannot be read, an absent column, a broken row and a file without rows.
    """
    text = _text(path)
    if not text.strip():
        raise RequestError("the file is empty", where=str(path))
    columns: dict[str, list[str]] = {name: [] for name in wanted}
    lines = []
    for line, values in (
        _objects(path, text, wanted) if layout == "jsonl" else _rows(path, text, layout, wanted)
    ):
        lines.append(line)
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    if not lines:
        raise RequestError("the file has a header and no rows", where=str(path))
    return Table(path, columns, lines)


def _text(path: Path) -> str:
    where = str(path)
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except FileNotFoundError:
        beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = nearest(path.name, beside)
        raise RequestError(
            f"no such file. {hint if hint.startswith('Did') else ''}".strip(), where=where
        ) from None
    except IsADirectoryError:
        raise RequestError("this is a directory; give a file", where=where) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RequestError(f"not a whole gzip file ({error})", where=where) from None
    except (OSError, ValueError) as error:
        raise RequestError(f"cannot be read: {error}", where=where) from None
    if b"\0" in data:
        raise RequestError("this is binary data (or UTF-16); give UTF-8 text", where=where)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RequestError(
            f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8", where=f"{path}:{line}"
        ) from None


def _rows(path: Path, text: str, layout: Layout, wanted: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    separator = "," if layout == "csv" else "\t"
    source = io.StringIO(text, newline="")
    reader = (
        csv.reader(source, strict=True)
        if layout == "csv"
        else csv.reader(source, delimiter=separator, quoting=csv.QUOTE_NONE)
    )
    try:
        header = [name.strip() for name in next(row for row in reader if row)]
        places = [_place(path, header, name, separator) for name in wanted]
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise RequestError(
                    f"this row has {len(row)} fields, the header has {len(header)}",
                    where=f"{path}:{reader.line_num}",
                )
            yield reader.line_num, [row[place] for place in places]
    except csv.Error as error:
        raise RequestError(
            f"not a well-formed {layout} row: {error}", where=f"{path}:{reader.line_num}"
        ) from None


def _place(path: Path, header: list[str], name: str, separator: str) -> int:
    if header.count(name) > 1:
        raise RequestError(
            f'{header.count(name)} columns are named "{name}"; rename all but one', where=str(path)
        )
    if name in header:
        return header.index(name)
    hint = nearest(name, header)
    other = next((sign for sign in ",;\t" if sign != separator and sign in header[0]), None)
    if len(header) == 1 and other is not None:
        hint = f"The header has no {separator!r} but {other!r}: separate columns by {separator!r}."
    raise RequestError(f'no column "{name}". {hint}', where=str(path))


def _objects(path: Path, text: str, wanted: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    # not splitlines(): JSON texts may hold U+2028 and its like unescaped
    for line, source in enumerate(text.split("\n"), start=1):
        if not source.strip():
            continue
        where = f"{path}:{line}"
        try:
            value = json.loads(source)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"not JSON: {error}", where=where) from None
        if not isinstance(value, dict):
            raise RequestError("not a JSON object; each line is one, like {...}", where=where)
        yield line, [_plain(value, name, where) for name in wanted]


def _plain(value: Mapping[str, object], name: str, where: str) -> str:
    if name not in value:
        raise RequestError(f'no key "{name}". {nearest(name, value)}', where=where)
    given = value[name]
    if given is None:
        return ""
    if isinstance(given, str):
        return given
    if isinstance(given, (dict, list)):
        raise RequestError(f'"{name}" holds {type(given).__name__}; give a text or a number', where=where)
    return json.dumps(given)
