"""Peak memory of the host while something runs: of the phase, not of the process's life."""

from __future__ import annotations

import ctypes
import sys
import threading
from pathlib import Path
from types import TracebackType

import psutil

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class HostPeak:
    """``with HostPeak(above) as host: ...`` and then ``host.peak_bytes``: resident memory above ``above``.

    ``above`` is what ``resident_bytes`` said before the network was built. So buffers that a network
    keeps from call to call count, and the framework, which was there before, does not. None where the peak
    is not above it: the framework gave back more meanwhile than the network took, and how much is unknown.

    Linux keeps the high-water mark of resident memory and lets a process reset it
    (/proc/self/clear_refs, value 5). Elsewhere, or where that is forbidden, a thread samples
    the resident size every 2 ms, which can miss a short peak.
    """

    def __init__(self, above: int) -> None:
        self._above = above

    def __enter__(self) -> HostPeak:
        self._process = psutil.Process()
        self._sampled = resident_bytes()
        self._exact = _reset_high_water()
        if not self._exact:
            self._done = threading.Event()
            self._thread = threading.Thread(target=self._sample, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._exact:
            self._sampled = _high_water_bytes()
        else:
            self._done.set()
            self._thread.join()
        more = self._sampled - self._above
        self.peak_bytes = more if more > 0 else None

    def _sample(self) -> None:
        while not self._done.wait(0.002):
            self._sampled = max(self._sampled, self._process.memory_info().rss)


def resident_bytes() -> int:
    """Resident memory of this process, once it has given back what it has freed."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not
        if trim is not None:
            trim(0)
    return int(psutil.Process().memory_info().rss)


def _reset_high_water() -> bool:
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _high_water_bytes() -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmHWM in /proc/self/status")
