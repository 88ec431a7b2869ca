"""The child process: opens one backend, does what it is told, reports, and never decides.

Run as ``python -m rnnbench.measuring.worker``. Cores are pinned and thread variables set before
the framework is imported. stdout and stderr go to a log that the parent reads when things go wrong.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Client, Connection
from typing import Any

from rnnbench.errors import Unavailable, Unsupported
from rnnbench.measuring.protocol import ADDRESS_VARIABLE, KEY_VARIABLE, Message, decode, encode


def main() -> None:
    """Serve requests until the parent says stop or goes away."""
    _die_with_parent()
    address = os.environ.pop(ADDRESS_VARIABLE)
    key = bytes.fromhex(os.environ.pop(KEY_VARIABLE))
    with Client(address, authkey=key) as connection:
        serve(connection)


def serve(connection: Connection) -> None:
    """Answer every request with ``{"ok": ...}`` or ``{"error": kind, "reason": ..., "trace": ...}``."""
    handlers: dict[str, Callable[..., Message]] = {"open": lambda **request: _open(handlers, **request)}
    while True:
        try:
            request = decode(connection.recv_bytes())
        except (EOFError, OSError):
            return
        name = request.pop("do")
        if name == "stop":
            return
        try:
            reply: Message = {"ok": handlers[name](**request)}
        except Exception as error:
            reply = describe_error(error)
        connection.send_bytes(encode(reply))


def describe_error(error: Exception) -> Message:
    """An exception as data: which status it means, and why."""
    kinds: list[tuple[type[Exception], str]] = [
        (Unsupported, "unsupported"),
        (Unavailable, "skipped"),
        (MemoryError, "out_of_memory"),
    ]
    kind = next((kind for type_, kind in kinds if isinstance(error, type_)), "failed")
    text = " ".join(str(error).split())
    # each framework has an exception type of its own for this; the words are what they share
    if kind == "failed" and any(
        words in text.lower() for words in ("out of memory", "resource_exhausted", "unable to allocate")
    ):
        kind = "out_of_memory"
    named = text if kind in ("unsupported", "skipped") else f"{type(error).__name__}: {text}"
    return {"error": kind, "reason": named[:500], "trace": "".join(traceback.format_exception(error))[-8000:]}


def _open(
    handlers: dict[str, Callable[..., Message]],
    backend: str,
    settings: dict[str, Any],
    cores: list[int],
    plugin_files: list[str],
    tasks: list[dict[str, Any]],
) -> Message:
    pinned = pin(cores)
    # imported here, for these load NumPy: the pinning has to come first
    from rnnbench.measuring.bench import Bench, open_bench

    bench: Bench
    bench, opened = open_bench(backend, settings, plugin_files, tasks)
    handlers.update(bench.handlers())
    return {**opened, "pinned": pinned}


def pin(cores: list[int]) -> list[int]:
    """Restrict this process to ``cores``; returns those in force, [] where the system cannot pin."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        return []
    os.sched_setaffinity(0, cores)
    return sorted(os.sched_getaffinity(0))


def _die_with_parent() -> None:
    # a parent that is killed cannot stop its workers; one that hangs in C would live for ever
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    main()
