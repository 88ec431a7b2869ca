"""A worker's reply, before anything is made of it: whole, in time, and of the types that records have.

What a plugin does to its process (a patched clock, bytes written over the connection, a child that keeps
the connection open) ends here, and never in a number.
"""

from __future__ import annotations

import math
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any

from rnnbench.measuring.protocol import Message
from rnnbench.measuring.refusals import Refused
from rnnbench.records import STATUSES

_LOOK_EVERY_S = 0.5
_READ_LIMIT_S = 10.0
"""For a reply that has begun to arrive, which is sent whole. Windows has no such limit."""

_LONGEST_BYTES = 1 << 31
_IDLE_LEAST_S = 0.05
"""A shorter wait says nothing about what a process does while it waits."""

_CLOCKED = ("seconds", "median_s", "p50_s", "p99_s")
"""Read on the worker's clock while this side waited, so never more than this side's clock saw."""

_CLOCK_SLACK = 1.05
_CLOCK_SLACK_S = 0.05
"""Some systems' monotonic clocks tick as seldom as every 16 ms."""


def receive(
    connection: Connection, limit_s: float, *, lives: Callable[[], bool], kill: Callable[[], None]
) -> bytes:
    """The next message. ``lives``: whether the worker does; ``kill``: ends it.

    Raises TimeoutError after ``limit_s`` without the beginning of a message, EOFError where the worker has
    ended (a child that it forked may hold the connection open), ValueError for a message that
    stops halfway or has no possible length; the worker is killed then.
    """
    deadline = time.monotonic() + limit_s
    while not connection.poll(max(0.0, min(_LOOK_EVERY_S, deadline - time.monotonic()))):
        if not lives() and not connection.poll():
            raise EOFError
        if time.monotonic() >= deadline:
            raise TimeoutError
    _limit_reading(connection)
    try:
        return connection.recv_bytes(_LONGEST_BYTES)
    except (EOFError, OSError, MemoryError) as error:
        # after an impossible length nothing can be read any more
        if isinstance(error, BlockingIOError | MemoryError) or not connection.readable:
            kill()
            raise ValueError("it is not whole") from None
        raise EOFError from None


def _limit_reading(connection: Connection) -> None:
    """Its length may have been written over, and reading knows no limit of time of its own.

    The limit is that of each read. A thread that watches the clock costs a tenth of a millisecond to start.
    """
    if os.name == "posix":
        with socket.socket(fileno=os.dup(connection.fileno())) as end:
            limit = struct.pack("ll", int(_READ_LIMIT_S), int(_READ_LIMIT_S % 1 * 1e6))
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)


def split_reply(reply: Message) -> tuple[float, Refused | None, Message]:
    """The CPU share while it waited, what it refuses, and what it answers.

    Raises ValueError, TypeError, KeyError or ArithmeticError for what is no reply.
    """
    idle = reply["idle"]
    waited_s, cpu_s = float(idle["waited_s"]), float(idle["cpu_s"])
    share = cpu_s / waited_s if waited_s > _IDLE_LEAST_S else 0.0
    if "error" not in reply:
        return share, None, dict(reply["ok"])
    status, reason, trace = reply["error"], reply["reason"], reply["trace"]
    if status not in STATUSES or not isinstance(reason, str) or not isinstance(trace, str):
        raise ValueError(f"it refuses with {status!r:.60}, {reason!r:.60}")
    return share, Refused(status, reason, trace), {}


def check_reply(reply: Mapping[str, Any], elapsed_s: float) -> None:
    """A plugin's word becomes a record only in the types and ranges that a record has.

    Keys are known by their names: times end in ``_s``, sizes in ``_bytes``; what has another name is the
    reader's to judge. ``elapsed_s``: between request and reply, on this side's clock. Raises ValueError that
    names the key, what was given and what is expected.
    """
    for key, value in reply.items():
        wrong = _wrong(key, value, elapsed_s)
        if wrong:
            raise ValueError(f"{key} is {value!r:.60}, not {wrong}")


def _wrong(key: str, value: Any, elapsed_s: float) -> str:
    """What is expected where ``value`` is not that; empty where it is."""
    if key in _CLOCKED:
        at_most_s = elapsed_s * _CLOCK_SLACK + _CLOCK_SLACK_S
        fits = _is_amount(value) and 0 < value <= at_most_s
        return "" if fits else f"a time within the {elapsed_s:.3g} s that the request took"
    if key.endswith("_s"):
        return "" if all(map(_is_amount, _leaves(value))) else "a number of seconds"
    if key.endswith("_bytes"):
        return "" if all(map(_is_count, _leaves(value))) else "a number of bytes"
    fits, expected = _NAMED.get(key, (_anything, ""))
    return "" if fits(value) else expected


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_amount(value: Any) -> bool:
    return _is_number(value) and 0 <= value < math.inf


def _is_count(value: Any) -> bool:
    return _is_number(value) and isinstance(value, int) and 0 <= value < 2**63


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_facts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(map(_is_number, value))


def _anything(value: Any) -> bool:
    return True


_NAMED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "path": (_is_text, "the name of a kernel path"),
    "compilations": (_is_count, "a count"),
    "compiled": (_is_count, "a count"),
    "own": (_is_count, "a count"),
    "files": (_is_texts, "a list of files"),
    "devices": (_is_texts, "a list of names"),
    "versions": (_is_facts, "a mapping of names to texts"),
    "settings": (_is_facts, "a mapping of names to texts"),
    "losses": (_is_numbers, "a list of numbers"),
    "score": (_is_number, "a number"),
}
