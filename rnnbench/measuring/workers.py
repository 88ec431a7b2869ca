"""The parent's side of a worker: start it, ask it, and kill it when its time is over.

Nothing here knows what is measured. A request ends in one of three ways: a reply, ``Refused``
(the worker said why and lives on) or ``WorkerDied`` (it is gone, and so are its networks).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from types import TracebackType
from typing import Any

from rnnbench.contracts import Settings, TaskDeclaration
from rnnbench.errors import RnnbenchError
from rnnbench.measuring.protocol import ADDRESS_VARIABLE, KEY_VARIABLE, Message, decode, encode
from rnnbench.records import Status

OPEN_LIMIT_S = 180.0
"""A framework that has not opened by then never will; TensorFlow's first import may take 30 s."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class Refused(RnnbenchError):
    """The worker answered that it cannot; ``status`` is what the case ends as."""

    def __init__(self, status: Status, reason: str, trace: str = "") -> None:
        self.status = status
        self.reason = reason
        self.trace = trace
        super().__init__(reason)


class WorkerDied(Refused):
    """The worker crashed or was killed at its time limit."""


@dataclass(frozen=True, slots=True)
class WorkerKey:
    """Cases with equal keys share a worker."""

    backend: str
    settings: Settings


class Worker:
    """One child process with one opened backend; ``opened`` is what it said of its environment."""

    def __init__(
        self,
        key: WorkerKey,
        *,
        plugin_files: Sequence[str] = (),
        tasks: Sequence[TaskDeclaration] = (),
        pinned: bool = True,
    ) -> None:
        """Start the process and open the backend. Raises Refused or WorkerDied.

        ``pinned`` False: for work that is not timed, so that several workers may share all cores.
        """
        self.key = key
        self._log = tempfile.NamedTemporaryFile("w+b", prefix="rnnbench-worker-", suffix=".log")  # noqa: SIM115
        authkey = secrets.token_bytes(16)
        with Listener(authkey=authkey) as listener:
            self._process = self._spawn(listener.address, authkey)
            self._connection = self._accept(listener)
        cores = choose_cores(key.settings.threads) if pinned else []
        self.idle_cpu_share: float = 0.0
        self._idle_since: tuple[float, float] | None = None
        self._stopped = False
        self.opened = self.ask(
            "open",
            OPEN_LIMIT_S,
            backend=key.backend,
            settings=asdict(key.settings),
            cores=cores,
            plugin_files=[str(Path(file).resolve()) for file in plugin_files],
            tasks=[asdict(task) for task in tasks],
        )

    def ask(self, do: str, limit_s: float, **request: Any) -> Message:
        """Send one request and wait for its reply; at ``limit_s`` the process is killed.

        Raises Refused with what the worker said, WorkerDied where it is gone.
        """
        self._resume()
        try:
            self._connection.send_bytes(encode({"do": do, **request}))
            if not self._connection.poll(limit_s):
                self.kill()
                raise WorkerDied("timeout", f"{do} took longer than {limit_s:.0f} s and was killed")
            reply = decode(self._connection.recv_bytes())
        except (EOFError, OSError):
            raise self._death(do) from None
        if "error" in reply:
            raise Refused(reply["error"], reply["reason"], reply["trace"])
        return dict(reply["ok"])

    def note_block(self, cpu_before_s: float, cpu_after_s: float) -> None:
        """Keep the books on CPU time used between two blocks, when this worker should have been idle."""
        now = time.monotonic()
        if self._idle_since is not None:
            idle_cpu_s, since = self._idle_since
            waited_s = now - since
            if waited_s > 0.05:
                self.idle_cpu_share = max(self.idle_cpu_share, (cpu_before_s - idle_cpu_s) / waited_s)
        self._idle_since = (cpu_after_s, now)

    def pause(self) -> None:
        """Stop an idle process by signal, where the system can; the next request wakes it."""
        if hasattr(signal, "SIGSTOP") and not self._stopped:
            self._process.send_signal(signal.SIGSTOP)
            self._stopped = True

    def stop(self) -> None:
        """Ask it to end, then make sure."""
        with contextlib.suppress(OSError, EOFError, subprocess.TimeoutExpired):
            self._resume()
            self._connection.send_bytes(encode({"do": "stop"}))
            self._process.wait(2.0)
        self.kill()

    def kill(self) -> None:
        """End the process and everything it started, at once."""
        if self._process.poll() is None:
            if hasattr(os, "killpg"):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
        self._process.wait()
        if hasattr(self, "_connection"):
            self._connection.close()

    def log_tail(self) -> str:
        """The last lines that the process printed."""
        self._log.flush()
        lines = Path(self._log.name).read_text(errors="replace").strip().splitlines()
        return " | ".join(line.strip() for line in lines[-3:])[-400:]

    def _resume(self) -> None:
        if self._stopped:
            self._process.send_signal(signal.SIGCONT)
            self._stopped = False

    def _spawn(self, address: Any, authkey: bytes) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            **{name: str(self.key.settings.threads) for name in _THREAD_VARIABLES},
            # a pool that spins while it waits would compute in other workers' turns
            "OMP_WAIT_POLICY": "PASSIVE",
            ADDRESS_VARIABLE: str(address),
            KEY_VARIABLE: authkey.hex(),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "rnnbench.measuring.worker"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            # Ctrl-C is for the parent, which then ends its workers in order
            start_new_session=True,
        )

    def _accept(self, listener: Listener) -> Connection:
        accepted: list[Connection] = []

        def wait() -> None:
            with contextlib.suppress(OSError, EOFError):
                accepted.append(listener.accept())

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        begin = time.monotonic()
        while thread.is_alive():
            thread.join(0.02)
            if self._process.poll() is not None:
                raise WorkerDied("crashed", f"the worker ended before it began: {self.log_tail()}")
            if time.monotonic() - begin > OPEN_LIMIT_S:
                self.kill()
                raise WorkerDied("timeout", f"the worker did not start within {OPEN_LIMIT_S:.0f} s")
        if not accepted:
            self.kill()
            raise WorkerDied("crashed", f"the worker did not connect: {self.log_tail()}")
        return accepted[0]

    def _death(self, do: str) -> WorkerDied:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        self.kill()
        code = self._process.returncode
        said = self.log_tail()
        if code < 0:
            name = signal.Signals(-code).name
            # nobody else kills with this signal: the kernel does when memory has run out
            status: Status = "out_of_memory" if name == "SIGKILL" else "crashed"
            return WorkerDied(status, f"the worker was killed by {name} during {do}. {said}".strip())
        return WorkerDied("crashed", f"the worker ended with status {code} during {do}. {said}".strip())


class Workers:
    """The living workers of one pass; starts what is asked for, once."""

    def __init__(
        self, plugin_files: Sequence[str], tasks: Sequence[TaskDeclaration], *, pinned: bool = True
    ) -> None:
        self._plugin_files = plugin_files
        self._pinned = pinned
        self._tasks = tasks
        self._living: dict[WorkerKey, Worker] = {}
        self._failed: dict[WorkerKey, Refused] = {}
        self.environments: dict[WorkerKey, Mapping[str, Any]] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._living.values():
            if kind is None:
                worker.stop()
            else:  # interrupted: a worker in the middle of a block would not hear "stop" for a while
                worker.kill()
        self._living.clear()

    def of(self, key: WorkerKey) -> Worker:
        """The worker of a key. A backend that cannot be opened is not tried again: Refused each time."""
        if key in self._failed:
            raise self._failed[key]
        if key not in self._living:
            try:
                self._living[key] = Worker(
                    key, plugin_files=self._plugin_files, tasks=self._tasks, pinned=self._pinned
                )
            except Refused as refused:
                self._failed[key] = refused
                raise
            self.environments[key] = self._living[key].opened
        return self._living[key]

    def forget(self, key: WorkerKey) -> None:
        """After a WorkerDied: the next ``of`` starts a fresh one."""
        self._living.pop(key, None)


def choose_cores(threads: int) -> list[int]:
    """The cores to pin ``threads`` threads to: the highest allowed ones, for the lowest serve interrupts.

    [] where the system cannot pin.
    """
    if not hasattr(os, "sched_getaffinity"):
        return []
    return sorted(os.sched_getaffinity(0))[-threads:]
