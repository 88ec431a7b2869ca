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
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import rnnbench
from rnnbench.contracts import Settings, TaskDeclaration
from rnnbench.measuring.descendants import end_descendants
from rnnbench.measuring.launch import Environment, choose_cores, launch_variables
from rnnbench.measuring.log import Log
from rnnbench.measuring.oom import count_oom_kills
from rnnbench.measuring.protocol import Message, decode, encode, fingerprint
from rnnbench.measuring.refusals import Refused, WorkerDied, describe_death
from rnnbench.measuring.replies import check_reply, receive, split_reply
from rnnbench.records import PRESENT, PROTOCOL

OPEN_LIMIT_S = 180.0
"""A framework that has not opened by then never will; TensorFlow's first import may take 30 s."""

STOP_LIMIT_S = 2.0
_DEATH_LIMIT_S = 10.0

STRANGE = "imports the working tree's"
"""In the reason of every case that cannot be measured because another revision's code would be."""

_PRESENT = Environment()


@dataclass(frozen=True, slots=True)
class WorkerKey:
    """Cases with equal keys share a worker."""

    backend: str
    settings: Settings
    env: str = PRESENT


class Worker:
    """One child process. ``open`` it first; ``opened`` is then what it said of its environment.

    ``connect`` alone is for questions that need no backend.

    ``idle_cpu_share`` is the largest part of a core that it has used while it waited for a request.
    Only ``end`` may be called from another thread.
    """

    def __init__(
        self,
        key: WorkerKey,
        *,
        environment: Environment = _PRESENT,
        tasks: Sequence[TaskDeclaration] = (),
        pinned: bool = True,
    ) -> None:
        """Start the process. Raises Refused where the system gives none.

        ``pinned`` False: for work that is not timed, so that several workers may share all cores.
        """
        self.key = key
        self.opened: Message = {}
        self._environment = environment
        self.own_files: int | None = None
        self.idle_cpu_share = 0.0
        self._stopped = self._ended = False
        self._connection: Connection | None = None
        self._request = {
            "backend": key.backend,
            "settings": asdict(key.settings),
            "plugin_files": absolute(environment.plugin_files),
            "tasks": [asdict(task) for task in tasks],
        }
        self._oom_kills = count_oom_kills()
        authkey = secrets.token_bytes(16)
        with contextlib.ExitStack() as opened:
            try:
                self._log = opened.enter_context(contextlib.closing(Log()))
                self._listener = opened.enter_context(Listener(authkey=authkey))
                self._address = str(self._listener.address)
                threads = key.settings.threads
                self._process = subprocess.Popen(
                    # -P: a file of the user's that is called numpy.py must not stand in for NumPy
                    [environment.python, "-P", "-m", "rnnbench.measuring.worker"],
                    env=launch_variables(
                        str(self._listener.address),
                        authkey,
                        threads,
                        choose_cores(threads) if pinned else (),
                        environment.paths,
                    ),
                    stdin=subprocess.DEVNULL,
                    stdout=self._log.writer,
                    stderr=self._log.writer,
                    # Ctrl-C is for the parent, which then ends its workers in order
                    start_new_session=True,
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
            except OSError as error:
                raise Refused("failed", f"no worker could be started: {error}") from None
            opened.pop_all()

    def open(self) -> None:
        """Connect, and open the backend in the process. Raises Refused or WorkerDied; it is gone then."""
        facts = self.connect()
        try:
            self.opened = {**self.ask("open", OPEN_LIMIT_S, **self._request), **facts}
        except BaseException:
            self.kill()
            raise

    def connect(self) -> Message:
        """Wait for the process; the versions of its rnnbench and Python. Raises Refused or WorkerDied."""
        try:
            self._connection = self._accept()
            facts = self.ask("hello", OPEN_LIMIT_S)
            known = facts.pop("measuring", None), facts.pop("protocol", None)
            if known != (fingerprint(), PROTOCOL):
                raise Refused("skipped", self._stranger(f"rnnbench {facts.get('rnnbench', '?')}"))
            return facts
        except WorkerDied:
            self.kill()
            raise
        except Refused as refused:
            self.kill()
            if "hello" in refused.reason:  # an rnnbench that does not know the question
                raise Refused("skipped", self._stranger("another rnnbench")) from None
            raise
        except BaseException:
            self.kill()
            raise
        finally:
            self._listener.close()

    def _stranger(self, has: str) -> str:
        environment = self._environment
        return (
            f"environment {environment.name} has {has}, whose code for measuring is not that of "
            f"{rnnbench.__version__} here. Install the same there, with: {environment.python} -m pip install"
        )

    def ask(self, do: str, limit_s: float, **request: Any) -> Message:
        """Send one request and wait for its reply; at ``limit_s`` the process is killed.

        Raises Refused with what the worker said, WorkerDied where it is gone.
        """
        if self._connection is None:
            raise WorkerDied("crashed", f"the worker had ended before {do}")
        sent = encode({"do": do, **request})
        try:
            self._resume()
            asked = time.perf_counter()
            self._connection.send_bytes(sent)
            reply = decode(receive(self._connection, limit_s, lives=self._lives, kill=self.end))
            elapsed_s = time.perf_counter() - asked
            # a plugin may have written over the connection: whole JSON need not be a reply
            idle_cpu_share, refused, ok = split_reply(reply)
        except TimeoutError:
            self.kill()
            raise WorkerDied("timeout", f"{do} took longer than {limit_s:.0f} s and was killed") from None
        except (EOFError, OSError):
            raise self._death(do) from None
        except (ValueError, TypeError, KeyError, ArithmeticError) as error:
            self.kill()
            said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            raise WorkerDied("crashed", f"the worker's reply to {do} could not be read: {said}") from None
        self.idle_cpu_share = max(self.idle_cpu_share, idle_cpu_share)
        if refused is not None:
            raise refused
        try:
            check_reply(ok, elapsed_s)
        except ValueError as error:
            raise Refused("failed", f"the reply to {do} is impossible: {error}") from None
        return ok

    def check_origins(self, limit_s: float) -> None:
        """That the process has imported nothing from where its environment must not. Raises Refused.

        ``own_files`` is then how many files it has from the paths of its environment.
        """
        environment = self._environment
        if not environment.paths:
            return
        own, files = list(environment.paths), absolute(environment.plugin_files)
        reply = self.ask("origins", limit_s, folder=environment.not_from, but=[*own, *files], own=own)
        self.own_files, files = reply["own"], reply["files"]
        if files:
            raise Refused(
                "failed",
                f"{environment.name} {STRANGE} {files[0]}, so that it would not measure its own revision; "
                "install the project into each side with --install, or not editable",
            )

    def pause(self) -> None:
        """Stop an idle process by signal, where the system can; the next request wakes it."""
        if hasattr(signal, "SIGSTOP") and not self._stopped:
            self._signal(signal.SIGSTOP)
            self._stopped = True

    def ask_to_stop(self) -> None:
        """Say that nothing will be asked any more; ``stop`` or ``kill`` must follow."""
        with contextlib.suppress(OSError):
            self._resume()
            if self._connection is not None:
                self._connection.send_bytes(encode({"do": "stop"}))

    def stop(self, limit_s: float = STOP_LIMIT_S) -> None:
        """Ask it to end, then make sure."""
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, limit_s))
        self.kill()

    def _lives(self) -> bool:
        self._log.trim()
        return self._process.poll() is None

    def end(self) -> None:
        """Kill the process and everything it started, and do not wait for that."""
        if self._ended:
            return  # a number that was freed may be somebody else's by now
        self._ended = True
        if hasattr(os, "killpg"):
            # also after a crash: what a framework started in the group lives on
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    def kill(self) -> None:
        """End the process at once and give back all that it held."""
        self.end()
        # a process that hangs in a driver cannot even be killed; the run goes on without it
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_DEATH_LIMIT_S)
        end_descendants(self._address)
        self._listener.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._log.close()

    def _resume(self) -> None:
        if self._stopped:
            self._signal(signal.SIGCONT)
            self._stopped = False

    def _signal(self, number: int) -> None:
        """Not ``send_signal``: it reaps a process that has ended, whose number may be somebody else's when
        ``end`` kills its group.
        """
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def _accept(self) -> Connection:
        accepted: list[Connection] = []
        listener = self._listener

        def wait() -> None:
            with contextlib.suppress(OSError, EOFError, AuthenticationError):
                accepted.append(listener.accept())

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        begin = time.monotonic()
        try:
            while thread.is_alive():
                thread.join(0.02)
                code = self._process.poll()
                if code is not None and code < 0:
                    break
                if code is not None:
                    raise WorkerDied("crashed", f"the worker ended before it began: {self._log.tail()}")
                if time.monotonic() - begin > OPEN_LIMIT_S:
                    raise WorkerDied("timeout", f"the worker did not start within {OPEN_LIMIT_S:.0f} s")
        finally:
            if thread.is_alive():
                # nothing else ends an accept: call, and hang up
                with contextlib.suppress(OSError, EOFError):
                    Client(listener.address).close()
        if not accepted:
            raise self._death("its start")
        return accepted[0]

    def _death(self, do: str) -> WorkerDied:
        try:
            code = self._process.wait(_DEATH_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return WorkerDied("crashed", f"the worker hung up during {do} and was killed")
        said = self._log.tail()
        self.kill()
        return describe_death(code, do, said, self._oom_kills, count_oom_kills())


def absolute(files: Sequence[str]) -> list[str]:
    """Paths of files as a process in another folder needs them."""
    return [str(Path(file).resolve()) for file in files]
