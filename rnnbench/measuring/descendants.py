"""What a worker started and left behind, however it left its group: known by the variable it inherited."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import psutil

from rnnbench.measuring.launch import ADDRESS_VARIABLE

_PASSES = 50
_BETWEEN_S = 0.01


def end_descendants(address: str) -> None:
    """Kill every process, other than this one, that has the worker's address among its variables.

    Until there is none: one that was listed may have forked another before it was killed.
    """
    for _ in range(_PASSES):
        if not _kill_all(address):
            return
        time.sleep(_BETWEEN_S)


def _kill_all(address: str) -> bool:
    """Whether there was any."""
    found = False
    for process in psutil.process_iter():
        # not ours to look at, or gone
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(ADDRESS_VARIABLE) == address:
                process.kill()
                found = True
    return found
