"""The child process: pins itself, calls its parent, and serves.

Run as ``python -m rnnbench.measuring.worker``. stdout and stderr go to a log that the parent reads
when things go wrong.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
import time
from multiprocessing.connection import Client

from rnnbench.measuring.descendants import end_descendants
from rnnbench.measuring.launch import ADDRESS_VARIABLE, CORES_VARIABLE, KEY_VARIABLE, pin

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 1.0


def main() -> None:
    """Serve requests until the parent says stop or goes away."""
    die_with_parent()
    # stays among the variables: what this process starts is known by it
    address = os.environ[ADDRESS_VARIABLE]
    guard(address)
    key = bytes.fromhex(os.environ.pop(KEY_VARIABLE))
    cores = os.environ.pop(CORES_VARIABLE)
    pinned = pin([int(core) for core in cores.split(",") if core])
    # it loads NumPy, whose threads stay on the cores that they were born on
    from rnnbench.measuring.serving import serve

    with Client(address, authkey=key) as connection:
        serve(connection, pinned)


def die_with_parent() -> None:
    """End with the parent, whatever this process is doing then: one that hangs would live for ever."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()


def guard(address: str) -> None:
    """Leave a process that waits for this one's end, however that comes, and ends what it started.

    The kernel ends a worker with its parent, but not what the worker has forked. Only where a process can
    wait for another that is not its child (Linux).
    """
    if not hasattr(os, "pidfd_open"):
        return
    try:
        worker = os.pidfd_open(os.getpid())
    except OSError:
        return  # an older kernel
    between = os.fork()
    if between == 0:
        os.setsid()  # the parent kills the worker's group
        if os.fork():  # and no child of the worker, whom a framework might wait for
            os._exit(0)
        select.select([worker], [], [])
        end_descendants(address)
        os._exit(0)
    os.close(worker)
    os.waitpid(between, 0)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os._exit(1)


if __name__ == "__main__":
    main()
