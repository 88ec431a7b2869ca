"""What a container may use: the limits of this process's control groups, version 1 and version 2.

A limit of an ancestor holds as well, so the smallest counts. See the kernel's documentation,
admin-guide/cgroup-v1 and admin-guide/cgroup-v2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_GROUPS = "sys/fs/cgroup"
_NO_LIMIT_BYTES = 1 << 60
"""Version 1 writes the largest number of pages where there is no limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no limit, or none that can be seen.

    ``cores`` is the quota of CPU time in cores; ``throttled`` is the share of its periods in which
    the group was stopped because its quota was spent; ``memory_free_bytes`` is what is left of the limit.
    """

    cores: float | None = None
    throttled: float | None = None
    memory_bytes: int | None = None
    memory_free_bytes: int | None = None


def read_limits(root: Path = Path("/")) -> Limits:
    """The limits in force; ``root`` is where /proc and /sys stand."""
    quotas = [quota for group in _groups(root, "cpu") if (quota := _quota(group)) is not None]
    throttled = [share for group in _groups(root, "cpu") if (share := _throttled(group)) is not None]
    memory = [pair for group in _groups(root, "memory") if (pair := _memory(group)) is not None]
    return Limits(
        cores=min(quotas, default=None),
        throttled=max(throttled, default=None),
        memory_bytes=min((limit for limit, _ in memory), default=None),
        memory_free_bytes=min((limit - used for limit, used in memory), default=None),
    )


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's group and of its ancestors, in each hierarchy that may have the files."""
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            mounts = [root / _GROUPS, root / _GROUPS / "unified"]
        elif controller in controllers.split(","):
            mounts = [root / _GROUPS / controllers, root / _GROUPS / controller]
        else:
            continue
        for mount in mounts:
            folder = mount / group.lstrip("/")
            yield from (each for each in (folder, *folder.parents) if each.is_relative_to(mount))


def _quota(group: Path) -> float | None:
    limit = (read_text(group / "cpu.max") or "").split()
    if len(limit) == 2 and limit[0].isdigit() and limit[1].isdigit():  # or max: no limit
        return int(limit[0]) / int(limit[1])
    quota, period = (_number(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return quota / period if quota is not None and quota > 0 and period else None


def _throttled(group: Path) -> float | None:
    counts = _table(group / "cpu.stat")
    periods = counts.get("nr_periods", 0)
    return counts.get("nr_throttled", 0) / periods if periods else None


def _memory(group: Path) -> tuple[int, int] | None:
    """(limit, what is used and could not be dropped), in bytes."""
    for limit_name, used_name, cache_name in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, used = _number(group / limit_name), _number(group / used_name)
        if limit is not None and limit < _NO_LIMIT_BYTES:
            return limit, (used or 0) - _table(group / "memory.stat").get(cache_name, 0)
    return None


def _table(path: Path) -> dict[str, int]:
    rows = (line.split() for line in (read_text(path) or "").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def _number(path: Path) -> int | None:
    text = read_text(path)
    return int(text) if text is not None and text.lstrip("-").isdigit() else None


def read_text(path: Path) -> str | None:
    """A small file of the system without its last newline; None where it is missing or refused."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
