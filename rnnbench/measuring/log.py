"""What a worker prints: kept in a file for the day that it dies, and shown to nobody before."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

_TAIL_BYTES = 8192
_LONGEST_BYTES = 16 << 20


class Log:
    """A file that loses its name at once where the system allows that: a kill leaves nothing behind."""

    def __init__(self) -> None:
        descriptor, name = tempfile.mkstemp(prefix="rnnbench-worker-", suffix=".log")
        os.close(descriptor)
        # appending: after ``trim`` it begins anew
        self.writer = Path(name).open("ab")  # noqa: SIM115 - closed in close()
        # a reader of its own: one position shared with the worker would move where it writes
        self._reader = Path(name).open("rb")  # noqa: SIM115 - closed in close()
        self._name = Path(name)
        self._remove()

    def trim(self) -> None:
        """Forget it where it has grown long: what prints for ever must not fill a disk."""
        if os.fstat(self.writer.fileno()).st_size > _LONGEST_BYTES:
            self.writer.truncate(0)

    def tail(self) -> str:
        """The last three lines, on one."""
        size = self._reader.seek(0, os.SEEK_END)
        self._reader.seek(max(0, size - _TAIL_BYTES))
        lines = self._reader.read().decode(errors="replace").splitlines()
        said = [line.strip() for line in lines if line.strip()]
        return " | ".join(said[-3:])[-400:]

    def close(self) -> None:
        """Close both ends and remove the file."""
        self.writer.close()
        self._reader.close()
        self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):  # gone already, or (Windows) still open
            self._name.unlink()
