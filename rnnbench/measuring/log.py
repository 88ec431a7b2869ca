"""What a worker prints: kept in a file for the day that it dies, and shown to nobody before."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

_TAIL_BYTES = 8192


class Log:
    """A file that loses its name at once where the system allows that: a kill leaves nothing behind."""

    def __init__(self) -> None:
        descriptor, name = tempfile.mkstemp(prefix="rnnbench-worker-", suffix=".log")
        self.writer = os.fdopen(descriptor, "wb")
        # a reader of its own: one position shared with the worker would move where it writes
        self._reader = Path(name).open("rb")  # noqa: SIM115 - closed in close()
        self._name = Path(name)
        self._remove()

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
