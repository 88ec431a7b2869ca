"""The worker's loop: does what it is told, reports, and never decides."""

from __future__ import annotations

import gc
import platform
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import Any

from rnnbench.errors import Unavailable, Unsupported
from rnnbench.measuring.bench import open_bench
from rnnbench.measuring.origins import count_imported, imported_below
from rnnbench.measuring.protocol import Message, decode, encode, fingerprint
from rnnbench.offers import offers_of
from rnnbench.plugins import discover
from rnnbench.records import PROTOCOL

_KINDS: tuple[tuple[type[Exception], str], ...] = (
    (Unsupported, "unsupported"),
    (Unavailable, "skipped"),
    (MemoryError, "out_of_memory"),
)
_OUT_OF_MEMORY = ("out of memory", "resource_exhausted", "unable to allocate")
"""Each framework has an exception type of its own for this; the words are what they share."""


def serve(connection: Connection, pinned: list[int]) -> None:
    """Answer every request, until "stop" or the end of the connection.

    A reply is {"ok": ...} or {"error": status, "reason": ..., "trace": ...}, and "idle": how long this
    process waited for the request, and the CPU time that all its threads used meanwhile.
    """
    handlers: dict[str, Callable[..., Message]] = {}

    def open_(**request: Any) -> Message:
        bench, opened = open_bench(**request)
        handlers.update(bench.handlers())
        # a collection before each network would else look through all of the framework's modules
        gc.collect()
        gc.freeze()
        return {**opened, "pinned": pinned}

    handlers |= {"hello": hello, "offers": list_offers, "open": open_, "origins": list_origins}
    while True:
        since, cpu_s = time.perf_counter(), time.process_time()
        try:
            request = decode(connection.recv_bytes())
        except (EOFError, OSError):
            return
        idle = {"cpu_s": time.process_time() - cpu_s, "waited_s": time.perf_counter() - since}
        name = request.pop("do")
        if name == "stop":
            return
        try:
            reply = encode({"ok": handlers[name](**request), "idle": idle})
        except Exception as error:
            # what its frames hold may be what memory has run out for
            traceback.clear_frames(error.__traceback__)
            reply = encode({**describe_error(error), "idle": idle})
        connection.send_bytes(reply)


def hello() -> Message:
    """Whether this interpreter's rnnbench and the conductor's understand each other."""
    versions = {"rnnbench": version("rnnbench"), "python": platform.python_version()}
    return {"measuring": fingerprint(), "protocol": PROTOCOL, **versions}


def list_offers(plugin_files: list[str]) -> Message:
    """What this interpreter has; its frameworks are not imported."""
    offers = offers_of(discover(plugin_files))
    backends = {name: asdict(offer) for name, offer in offers.backends.items()}
    return {"backends": backends, "broken": [asdict(plugin) for plugin in offers.broken]}


def list_origins(folder: str, but: list[str], own: list[str]) -> Message:
    """What this process has imported from a folder that it should not have anything from, and how much
    from where it should.
    """
    return {"files": imported_below(folder, but) if folder else [], "own": count_imported(own)}


def describe_error(error: Exception) -> Message:
    """An exception as data: which status it means, and why."""
    kind = next((kind for type_, kind in _KINDS if isinstance(error, type_)), "failed")
    text = " ".join(str(error).split())
    if kind == "failed" and any(words in text.lower() for words in _OUT_OF_MEMORY):
        kind = "out_of_memory"
    named = text if kind in ("unsupported", "skipped") else f"{type(error).__name__}: {text}".rstrip(": ")
    return {"error": kind, "reason": named[:500], "trace": "".join(traceback.format_exception(error))[-8000:]}
