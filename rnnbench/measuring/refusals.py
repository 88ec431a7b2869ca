"""What a worker's no, and a worker's death, mean for the case that asked."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from rnnbench.errors import RnnbenchError, Unavailable
from rnnbench.records import Status


class Refused(RnnbenchError):
    """The worker answered that it cannot; ``status`` is what the case ends as."""

    def __init__(self, status: Status, reason: str, trace: str = "") -> None:
        self.status = status
        self.reason = reason
        self.trace = trace
        super().__init__(reason)


class WorkerDied(Refused):
    """The worker crashed or was killed at its time limit."""


def describe_death(code: int, do: str, said: str, kills_before: int | None, kills: int | None) -> WorkerDied:
    """From a return code: why the worker died during ``do``.

    ``said`` is the end of its log; ``kills`` are the kernel's kills for want of memory when the worker was
    started and now. Only a count that rose makes SIGKILL an ``out_of_memory``: a user, a container or a
    batch system sends the same signal.
    """
    status: Status = "crashed"
    if code >= 0:
        reason = f"the worker ended with status {code} during {do}"
    elif -code != getattr(signal, "SIGKILL", None):
        reason = f"the worker was killed by {_signal_name(-code)} during {do}"
    elif kills is None or kills_before is None:
        reason = (
            f"the worker was killed by SIGKILL during {do}; "
            "this system does not tell whether that was for want of memory"
        )
    elif kills > kills_before:
        status = "out_of_memory"
        reason = f"memory ran out during {do}, and the system killed the worker"
    else:
        reason = f"the worker was killed from outside by SIGKILL during {do}; memory had not run out"
    return WorkerDied(status, f"{reason}. {said}" if said else reason)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextmanager
def refusing() -> Iterator[None]:
    """Code of a plugin (a task, a cell) that runs in the parent: what it raises ends a case, not the run."""
    try:
        yield
    except Refused:
        raise
    except Unavailable as error:
        raise Refused("skipped", str(error)) from error
    except (Exception, SystemExit, GeneratorExit) as error:
        raise Refused("failed", f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]) from error
