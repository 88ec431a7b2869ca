"""What a worker left behind ends, also what is forked while the others are being killed."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from rnnbench.measuring.descendants import end_descendants
from rnnbench.measuring.launch import ADDRESS_VARIABLE


class Process:
    """Forks ``child`` after it was listed and before it is killed."""

    def __init__(
        self, pid: int, table: dict[int, Process], address: str, child: Process | None = None
    ) -> None:
        self.pid, self.table, self.address, self.child = pid, table, address, child

    def environ(self) -> dict[str, str]:
        return {ADDRESS_VARIABLE: self.address}

    def kill(self) -> None:
        if self.child is not None:
            self.table[self.child.pid] = self.child
        del self.table[self.pid]


def test_a_child_that_was_forked_meanwhile_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    table: dict[int, Process] = {}
    last = Process(-3, table, "mine")
    table[-1] = Process(-1, table, "mine", Process(-2, table, "mine", last))
    table[-9] = Process(-9, table, "another's")

    def listed() -> Iterator[Process]:
        yield from list(table.values())

    monkeypatch.setattr(psutil, "process_iter", listed)
    end_descendants("mine")
    assert set(table) == {-9}
