"""What a worker must know before it loads anything: by environment variables, read once.

Nothing here loads NumPy: a thread pool keeps the cores that it was born on, so pinning comes first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

from rnnbench.records import PRESENT

ADDRESS_VARIABLE = "RNNBENCH_WORKER_ADDRESS"
KEY_VARIABLE = "RNNBENCH_WORKER_KEY"
CORES_VARIABLE = "RNNBENCH_WORKER_CORES"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True, slots=True)
class Environment:
    """Where cases are computed: an interpreter with its packages, and what is laid over them.

    ``paths`` come first where it imports from; ``plugin_files`` are loaded as of ``--plugin``. ``revision``:
    the commit of the project that is measured, as ``revisions.describe`` says it. ``not_from``: a folder that
    nothing is to be imported from but what is in ``paths`` and ``plugin_files``.
    """

    name: str = PRESENT
    python: str = sys.executable
    paths: tuple[str, ...] = ()
    plugin_files: tuple[str, ...] = ()
    revision: Mapping[str, Any] = field(default_factory=dict, hash=False)
    not_from: str = ""


def launch_variables(
    address: str, authkey: bytes, threads: int, cores: Sequence[int], paths: Sequence[str] = ()
) -> Mapping[str, str]:
    """Environment variables of a worker that is to call ``address``; it imports from ``paths`` first."""
    inherited = os.environ.get("PYTHONPATH")
    path = [*paths, *([inherited] if inherited else [])]
    return {
        **os.environ,
        **({"PYTHONPATH": os.pathsep.join(path)} if path else {}),
        **{name: str(threads) for name in _THREAD_VARIABLES},
        # a pool that spins while it waits would compute in other workers' turns
        "OMP_WAIT_POLICY": "PASSIVE",
        ADDRESS_VARIABLE: address,
        KEY_VARIABLE: authkey.hex(),
        CORES_VARIABLE: ",".join(map(str, cores)),
    }


def allowed_cores() -> list[int]:
    """The cores that this process may use, in order; [] where the system cannot pin."""
    if not hasattr(psutil.Process, "cpu_affinity"):
        return []
    return sorted(psutil.Process().cpu_affinity())


def choose_cores(threads: int) -> list[int]:
    """The cores to pin ``threads`` threads to: the highest allowed ones, for the lowest serve interrupts.

    [] where the system cannot pin.
    """
    return allowed_cores()[-threads:]


def pin(cores: Sequence[int]) -> list[int]:
    """Restrict this process to ``cores``; returns those in force, [] where it was not pinned."""
    if not cores or not hasattr(psutil.Process, "cpu_affinity"):
        return []
    try:
        psutil.Process().cpu_affinity(list(cores))
    except (OSError, ValueError, psutil.Error):
        return []  # taken away since they were chosen; the record says that nothing was pinned
    return allowed_cores()
