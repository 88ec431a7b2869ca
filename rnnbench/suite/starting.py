"""The first suite of a new user, commented, on their own data where a file is given.

Reads the head of the file to name its columns; whether the data is any good is the task's question.
"""

from __future__ import annotations

import csv as csv_format
import gzip
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from rnnbench.errors import RequestError, nearest
from rnnbench.suite.messages import shown

_HEAD_BYTES = 1 << 20
_HEAD_ROWS = 500
_MAX_FEATURES = 8
_TIME_NAMES = ("time", "date", "datetime", "timestamp", "day", "hour", "week", "month", "year")

_HEADER = """\
# rnnbench plan {file} shows what this will do; rnnbench run {file} does it.
about: {about}
"""

_AXES = """\
axes:                            # every value with every other: axes multiply
  task: [{task}]
  {lengths:<29}  # {length_means}
  cell: [elman, gru, lstm]       # rnnbench list cells
  # backend: [numpy, torch]      # all that are installed, if not named
  # hidden: [32, 128]            # sizes such as hidden and batch may stand here instead, with several values

defaults:                        # one value each, for every case
  hidden: 64
  batch: 32
  train: {{optimizer: adam, lr: 0.003, clip: 1.0, steps: 500, seeds: 3, evaluate_every: 100}}
  measure: [forward, train_step, memory, score]
  processes: 3                   # fresh processes; with 1 there is no interval
  rounds: 10                     # timed blocks for each case and process

# exclude:                       # cases that you do not want
#   - {{cell: elman, length: {longest}}}
# include:                       # and some more; a row inherits the axes that it does not name
#   - {{cell: gru, hidden: 128}}

budget: 15 min                   # a run stops in good order when this is spent
"""


def starter(
    csv: str | Path | None = None, target: str | None = None, *, file: str | Path = "suite.yaml"
) -> str:
    """A commented suite to be written to ``file``; with ``csv`` one on that data, a column ``target`` of it.

    A csv file's target of numbers makes it forecasting, all else text_classification. Without ``target`` the
    last column of numbers is taken. Raises ``RequestError`` for a file or a column that is not there.
    """
    if csv is None:
        if target is not None:
            raise RequestError("names a column, and --csv no file", where=f"--target {target}")
        about = "How do three cells learn and cost as a dependency grows longer?"
        axes = _AXES.format(task="copy", lengths="length: [10, 30]", length_means="time steps", longest=30)
        return f"{_HEADER.format(file=file, about=about)}\n{axes}"
    table = _read_head(Path(csv))
    chosen = table.target(target)
    path = json.dumps(Path(os.path.relpath(csv, Path(file).parent)).as_posix(), ensure_ascii=False)
    layout = next((suffix for suffix in ("tsv", "jsonl") if f".{suffix}" in table.file.suffixes), "csv")
    if chosen in table.numeric and layout == "csv":
        task, kind, lengths = "mine", "forecasting", (14, 56)
        options = _forecasting(table, chosen)
        about, means = (
            f"Which cell forecasts {chosen} best, and at what cost?",
            "rows of the past that are seen",
        )
    else:
        if table.is_time(chosen):
            numbers = ", ".join(name for name in table.numeric if not table.is_time(name)) or "none here"
            message = f"a column of times is nothing to learn. Columns of numbers: {numbers}"
            raise RequestError(message, where=f"--target {chosen}")
        task, kind, lengths = "mine", "text_classification", (32, 64)
        options = _text_classification(table, chosen)
        about, means = f"Which cell tells {chosen} best, and at what cost?", "words of a text, at most"
    declared = "\n".join(
        _aligned(f"    {key}: {value}") for key, value in {"kind": kind, layout: path, **options}.items()
    )
    head = _HEADER.format(file=file, about=json.dumps(about, ensure_ascii=False))
    tasks = f"tasks:                           # paths are relative to this file\n  {task}:\n{declared}\n"
    axes = _AXES.format(
        task=task, lengths=f"length: [{lengths[0]}, {lengths[1]}]", length_means=means, longest=lengths[-1]
    )
    return f"{head}\n{tasks}\n{axes}"


@dataclass(frozen=True, slots=True)
class _Table:
    """The head of a file: its columns in order, and those in which every value given is a number."""

    file: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def numeric(self) -> tuple[str, ...]:
        return tuple(column for column in self.columns if self._is_numeric(column))

    def values(self, column: str) -> tuple[str, ...]:
        index = self.columns.index(column)
        return tuple(row[index].strip() for row in self.rows if index < len(row) and row[index].strip())

    def is_time(self, column: str) -> bool:
        """Whether the column is called one or holds dates only."""
        return column.lower() in _TIME_NAMES or all(map(_is_date, self.values(column)))

    def target(self, asked: str | None) -> str:
        if asked is None:
            return (self.numeric or self.columns)[-1]
        if asked not in self.columns:
            message = f"{self.file} has no such column. {nearest(asked, self.columns)}"
            raise RequestError(message, where=f"--target {asked}")
        return asked

    def _is_numeric(self, column: str) -> bool:
        values = self.values(column)
        try:
            return bool([float(value) for value in values])
        except ValueError:
            return False


def _forecasting(table: _Table, target: str) -> dict[str, str]:
    others = [column for column in table.columns if column != target]
    named = [column for column in others if column.lower() in _TIME_NAMES]
    times = named or [column for column in others if column not in table.numeric]
    features = [column for column in table.numeric if column not in (target, *times[:1])][:_MAX_FEATURES]
    listed = ", ".join(_quoted(column) for column in features)
    return {
        **({"time": f"{_quoted(times[0])}  # rows are in the order of time"} if times else {}),
        "target": _quoted(target),
        **({"features": f"[{listed}]  # known up to now, besides the target's own past"} if features else {}),
        "horizon": "1  # how many rows ahead",
    }


def _text_classification(table: _Table, target: str) -> dict[str, str]:
    others = [column for column in table.columns if column != target]
    if not others:
        raise RequestError("the only column; a text is needed beside it", where=f"--target {target}")
    texts = [column for column in others if column not in table.numeric and not table.is_time(column)]
    if not texts:
        message = "is told from a text, and no other column holds texts. A forecast needs a column of numbers"
        raise RequestError(message, where=f"--target {target}")
    longest = max(texts, key=lambda column: sum(map(len, table.values(column))))
    return {"text": _quoted(longest), "label": _quoted(target)}


def _aligned(line: str) -> str:
    text, mark, comment = line.rpartition("  # ")
    return f"{text:<31}{mark}{comment}" if mark else line


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _read_head(file: Path) -> _Table:
    where = f"--csv {file}"
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            data = stream.read(_HEAD_BYTES)
    except FileNotFoundError:
        raise RequestError("no such file", where=where) from None
    except (OSError, EOFError) as error:
        raise RequestError(f"cannot be read: {error}", where=where) from None
    if len(data) == _HEAD_BYTES:
        data = data[: data.rfind(b"\n") + 1]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RequestError("is not UTF-8", where=where) from None
    if "\0" in text:
        raise RequestError("is binary, not a table", where=where)
    try:
        rows = list(islice(_rows(file, text), _HEAD_ROWS))
    except (csv_format.Error, ValueError) as error:
        raise RequestError(f"is not a table: {error}", where=where) from None
    if len(rows) < 2:
        raise RequestError("has no rows below its header", where=where)
    columns = [column.strip() for column in rows[0]]
    if not all(columns) or len(set(columns)) < len(columns):
        message = f"needs a header of distinct names; its first line starts with {shown(text[:40])}"
        raise RequestError(message, where=where)
    return _Table(file, tuple(columns), tuple(tuple(row) for row in rows[1:]))


def _rows(file: Path, text: str) -> Iterator[list[str]]:
    """The header, then the rows."""
    if ".jsonl" not in file.suffixes:
        yield from csv_format.reader(io.StringIO(text), delimiter="\t" if ".tsv" in file.suffixes else ",")
        return
    header: list[str] = []
    for number, line in enumerate(filter(str.strip, text.splitlines()), start=1):
        entry = json.loads(line)
        if not isinstance(entry, dict):
            raise ValueError(f"line {number} is no JSON object")
        if not header:
            header = list(entry)
            yield header
        yield [str(entry.get(column, "")) for column in header]
