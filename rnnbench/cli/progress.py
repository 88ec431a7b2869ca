"""What is shown while a run goes on: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from contextlib import suppress
from types import TracebackType

from rich.console import Console
from rich.status import Status
from rich.text import Text

from rnnbench.cli.console import say
from rnnbench.escaping import safe
from rnnbench.records import Record

_PLAIN_EVERY_S = 10.0


class Shown:
    """A ``Progress`` on a console. ``total`` is the number of planned cases.

    ``opening`` is said before anything else, once the run has its folder and begins.
    """

    def __init__(self, console: Console, total: int, opening: str) -> None:
        self._console = console
        self._total = total
        self._opening = opening
        self._ended: set[str] = set()
        self._status: Status | None = None
        self._last_line = 0.0

    def __enter__(self) -> Shown:
        if self._console.is_terminal:
            # rarely: drawing takes a core that may be a worker's
            self._status = self._console.status("starting", refresh_per_second=2)
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def note(self, text: str) -> None:
        """What is being done now."""
        self._open()
        line = f"[{len(self._ended)}/{self._total}] {text}"
        if self._status is not None:
            self._status.update(Text(safe(line)))
        elif time.monotonic() - self._last_line > _PLAIN_EVERY_S:
            self._last_line = time.monotonic()
            self._say(line)

    def record(self, record: Record) -> None:
        """A case has ended, or has more to say; only the first time and failures are told."""
        self._open()
        key = record.case.key
        new = key not in self._ended
        self._ended.add(key)
        if record.status == "ok":
            if new:
                self.note(f"{key}: ok")
            return
        self._say(f"{record.status}: {key}: {record.reason}")

    def _open(self) -> None:
        if self._opening:
            self._say(self._opening)
            self._opening = ""

    def _say(self, text: str) -> None:
        with suppress(OSError):  # whoever reads this may go away; what is measured is in files
            say(self._console, text)
