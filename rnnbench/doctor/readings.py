"""The door: everything that the checks judge, read once, over one window of time. Nothing here judges."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from rnnbench.doctor.gpus import Gpu, read_gpus
from rnnbench.measuring.limits import Limits, read_limits, read_text
from rnnbench.measuring.machine import Machine, read_load, read_machine, read_memory, read_ticks, steal_share

WINDOW_S = 1.0
_CLOCK_READS = 2000


@dataclass(frozen=True, slots=True)
class Busy:
    """A process of somebody else: ``share`` of one core over the window."""

    pid: int
    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Readings:
    """What was seen. None: cannot be seen here.

    ``pressure`` is the share of the last 10 s in which some task waited for a core; ``steal`` that of the
    window, ``steal_ever`` since the machine started. ``swapped_pages`` went to or came from swap in the
    window. ``clock_tick_s`` is the smallest step of the clock, ``clock_read_s`` what one reading costs.
    """

    machine: Machine
    limits: Limits
    load_1min: float
    pressure: float | None
    steal: float | None
    steal_ever: float | None
    busy: tuple[Busy, ...]
    memory_free_bytes: int
    swapped_pages: int | None
    clock_tick_s: float
    clock_read_s: float
    variables: Mapping[str, str]
    gpus: tuple[Gpu, ...]


def read(root: Path = Path("/"), window_s: float = WINDOW_S) -> Readings:
    """Look for ``window_s`` seconds; ``root`` is where /proc and /sys stand."""
    machine = read_machine(root)
    load = read_load(root)  # before anything here adds to it
    ticks, pages = read_ticks(root), _swapped_pages(root)
    busy = _watch_processes(window_s)
    after, pages_after = read_ticks(root), _swapped_pages(root)
    tick_s, read_s = _time_the_clock()
    return Readings(
        machine=machine,
        limits=read_limits(root),
        load_1min=load,
        pressure=_pressure(root),
        steal=steal_share(ticks, after),
        steal_ever=after.steal / after.total if after and after.total else None,
        busy=busy,
        memory_free_bytes=read_memory(root).get("MemAvailable") or psutil.virtual_memory().available,
        swapped_pages=None if pages is None or pages_after is None else pages_after - pages,
        clock_tick_s=tick_s,
        clock_read_s=read_s,
        variables=dict(os.environ),
        gpus=read_gpus(root),
    )


def _watch_processes(window_s: float) -> tuple[Busy, ...]:
    """The processes of others that compute, the busiest first."""
    begun: list[tuple[psutil.Process, str, float]] = []
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid():
                begun.append((process, process.info["name"] or "?", sum(process.cpu_times()[:2])))
    start = time.monotonic()
    time.sleep(window_s)
    passed_s = time.monotonic() - start
    found = []
    for process, name, before_s in begun:
        with contextlib.suppress(psutil.Error):
            share = (sum(process.cpu_times()[:2]) - before_s) / passed_s
            found.append(Busy(process.pid, name, share))
    return tuple(sorted((each for each in found if each.share > 0), key=lambda each: -each.share))


def _time_the_clock() -> tuple[float, float]:
    """The smallest step between two readings, and the mean cost of one, in seconds."""
    times = [time.perf_counter() for _ in range(_CLOCK_READS)]
    steps = [b - a for a, b in pairwise(times) if b > a]
    tick_s = min(steps, default=time.get_clock_info("perf_counter").resolution)
    return tick_s, (times[-1] - times[0]) / (len(times) - 1)


def _pressure(root: Path) -> float | None:
    found = re.search(r"^some avg10=([\d.]+)", read_text(root / "proc/pressure/cpu") or "", re.MULTILINE)
    return float(found[1]) / 100 if found else None


def _swapped_pages(root: Path) -> int | None:
    counts = re.findall(r"^pswp(?:in|out) (\d+)$", read_text(root / "proc/vmstat") or "", re.MULTILINE)
    return sum(map(int, counts)) if counts else None
