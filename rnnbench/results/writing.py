"""results/<run>/: run.json, records.jsonl and blocks.jsonl, appended as they come.

Each line is written whole in one call and flushed, so a killed run loses at most the line in hand. A
folder has one writer: it holds an advisory lock on ``.lock`` that the system frees when the process ends,
however it ends, so two runs never mix and a kill leaves nothing to clean up.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType

from rnnbench.errors import RequestError
from rnnbench.records import Block, Record, Run
from rnnbench.results.encoding import Line, decode, encode
from rnnbench.results.reading import BLOCKS, RECORDS, RUN, RunResults, read, read_run

LOCK = ".lock"
_NEW = ".new"


class Writer:
    """The one writer of a run's folder. Use as a context manager, or ``close`` it."""

    def __init__(self, folder: Path, lock: FileIO) -> None:
        self.folder = folder
        self._lock = lock
        # unbuffered: one write per line, so that a reader and a kill see whole lines
        self._records = FileIO(folder / RECORDS, "a")
        self._blocks = FileIO(folder / BLOCKS, "a")

    def record(self, record: Record) -> None:
        """Append what came of a case. Raises ``ValueError`` for one that would not read back as itself."""
        line = encode(record)
        try:
            key = decode(Record, line).case.key
        except RequestError as error:
            raise ValueError(f"a record that could not be read again: {error}") from None
        if key != record.case.key:
            raise ValueError(f"the case reads back as {key}, not {record.case.key}: a field has another type")
        self._append(self._records, line)

    def block(self, block: Block) -> None:
        """Append one raw time."""
        self._append(self._blocks, encode(block))

    def finish(self, run: Run) -> None:
        """Replace run.json, now that more is known (the end, findings, environments), in one step."""
        _replace(self.folder / RUN, encode(run))

    def close(self) -> None:
        """Free the folder for another writer."""
        for file in (self._records, self._blocks, self._lock):
            file.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def _append(file: FileIO, line: bytes) -> None:
        # else it would be written to a file that nobody can open any more
        if os.fstat(file.fileno()).st_nlink == 0 and not Path(file.name).exists():
            raise FileNotFoundError(errno.ENOENT, "removed while it was written")
        rest = line + b"\n"
        while rest:
            rest = rest[file.write(rest) :]


def create(out: Path, run: Run) -> Writer:
    """A new run in folder ``out``, which is made where it is missing and must be empty where it is not.

    Raises ``RequestError``, with nothing written, where ``out`` holds a run (finished or not, ours or of a
    newer format), anything else, or cannot be written to.
    """
    # all that a kill leaves of a run that has not begun
    begun = (LOCK, RUN + _NEW)
    try:
        if (out / RUN).exists():
            name = read_run(out).name
            if (out / LOCK).exists():
                _locked(out).close()
            raise RequestError(
                f'holds run "{name}" already, and results are never overwritten. '
                "Go on with it by --resume, or name another folder with --out.",
                where=str(out),
            )
        if out.exists() and (not out.is_dir() or any(entry.name not in begun for entry in out.iterdir())):
            raise RequestError(
                "exists and is not a results folder; nothing in it was touched. Name another with --out.",
                where=str(out),
            )
        out.mkdir(parents=True, exist_ok=True)
        lock = _locked(out)
        if (out / RUN).exists():  # another run was first, between the look and the lock
            lock.close()
            raise RequestError("another run has just taken this folder. Name another.", where=str(out))
        _replace(out / RUN, encode(run))
        return Writer(out, lock)
    except OSError as error:
        raise RequestError(
            f"cannot be written to: {error.strerror}. Name another folder with --out.", where=str(out)
        ) from None


def open_for_resume(folder: Path) -> tuple[Writer, RunResults]:
    """The writer of an unfinished run, and what it holds so far.

    What a kill cut off is removed from the ends of the files. Raises ``RequestError`` where ``folder``
    holds no run, one of a newer format, one that is being written, or cannot be written to.
    """
    read_run(folder)
    try:
        lock = _locked(folder)
        _mend(folder / RECORDS, Record)
        _mend(folder / BLOCKS, Block)
        return Writer(folder, lock), read(folder)
    except OSError as error:
        raise RequestError(f"cannot be written to: {error.strerror}.", where=str(folder)) from None


def _mend(path: Path, kind: type[Line]) -> None:
    """End the file with a newline: cut off the torn last line, or finish one that is whole."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        start = content.rfind(b"\n") + 1
        if start == len(content):
            return
        try:
            decode(kind, content[start:])
        except RequestError:
            file.truncate(start)
        else:
            file.write(b"\n")


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + _NEW)
    try:
        with beside.open("wb") as file:
            file.write(content + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise


def _locked(folder: Path) -> FileIO:
    file = FileIO(folder / LOCK, "a")
    try:
        _lock(file.fileno())
    except OSError:
        file.close()
        raise RequestError(
            "another run is writing to this folder. Wait for it, or name another with --out.",
            where=str(folder),
        ) from None
    return file


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
