"""What a worker started and left behind, however it left its group: known by the variable it inherited."""

from __future__ import annotations

import os
from contextlib import suppress

import psutil

from rnnbench.measuring.launch import ADDRESS_VARIABLE


def end_descendants(address: str) -> None:
    """Kill every process, other than this one, that has the worker's address among its variables."""
    for process in psutil.process_iter():
        # not ours to look at, or gone
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(ADDRESS_VARIABLE) == address:
                process.kill()
