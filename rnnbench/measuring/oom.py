"""How often the kernel has killed for want of memory: what tells such a kill from somebody's SIGKILL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def count_oom_kills(root: Path = Path("/")) -> int | None:
    """Kills so far in this process's control group, else on the whole machine; None where none is counted.

    The kernel counts before it kills. ``root`` is where /proc and /sys stand.
    """
    for path in _counters(root):
        try:
            found = _COUNT.search(path.read_text())
        except OSError:
            continue
        if found:
            return int(found[1])
    return None


def _counters(root: Path) -> Iterator[Path]:
    groups = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            yield groups / group.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            yield groups / "memory" / group.lstrip("/") / "memory.oom_control"
            yield groups / "memory" / "memory.oom_control"
    yield root / "proc/vmstat"
