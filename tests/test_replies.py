"""Replies that are late, cut, endless or impossible, without any worker."""

from __future__ import annotations

import math
import os
import struct
import threading
import time
from multiprocessing import Pipe
from typing import Any

import numpy as np
import pytest

from rnnbench.measuring import replies
from rnnbench.measuring.replies import check_reply, receive


class Process:
    """Stands for the worker's: alive until it is killed."""

    def __init__(self, *, lives: bool = True) -> None:
        self.alive = lives

    def lives(self) -> bool:
        return self.alive

    def kill(self) -> None:
        self.alive = False


def received(sent: bytes, process: Process, *, closed: bool = False, limit_s: float = 5.0) -> bytes:
    """What comes of raw bytes on the worker's end, which stays open unless ``closed``."""
    here, there = Pipe()
    with here, there:
        os.write(there.fileno(), sent)
        if closed:
            there.close()
        return receive(here, limit_s, lives=process.lives, kill=process.kill)


posix = pytest.mark.skipif(os.name != "posix", reason="writes below the connection")


@posix
def test_a_whole_message_arrives() -> None:
    process = Process()
    assert received(struct.pack("!i", 5) + b"hello", process) == b"hello"
    # also the last one of a worker that has ended since
    assert received(struct.pack("!i", 5) + b"hello", Process(lives=False), closed=True) == b"hello"
    assert process.alive


@posix
def test_silence_ends_at_its_limit_and_kills_nobody() -> None:
    process, begin = Process(), time.monotonic()
    with pytest.raises(TimeoutError):
        received(b"", process, limit_s=0.1)
    assert 0.1 <= time.monotonic() - begin < 3
    assert process.alive


@posix
def test_a_dead_worker_whose_child_keeps_the_connection_open_is_noticed_at_once() -> None:
    begin = time.monotonic()
    with pytest.raises(EOFError):
        received(b"", Process(lives=False), limit_s=60)
    assert time.monotonic() - begin < 5


@posix
@pytest.mark.parametrize("sent", [b"", struct.pack("!i", 5) + b"hel"], ids=["between", "within"])
def test_a_worker_that_ends_between_or_within_messages_has_hung_up(sent: bytes) -> None:
    with pytest.raises(EOFError):
        received(sent, Process(), closed=True)


@posix
@pytest.mark.parametrize(
    "sent",
    [
        struct.pack("!i", 1000) + b"the rest never comes",
        b"garbage instead of a length",
        struct.pack("!i", -1) + struct.pack("!Q", 1 << 62),
    ],
    ids=["half", "garbage", "immense"],
)
def test_a_message_that_is_not_whole_kills_its_worker_in_bounded_time(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "_READ_LIMIT_S", 0.2)
    process, begin, threads = Process(), time.monotonic(), threading.active_count()
    with pytest.raises(ValueError, match="it is not whole"):
        received(sent, process, limit_s=60)
    assert time.monotonic() - begin < 5
    assert not process.alive
    time.sleep(0.05)
    assert threading.active_count() <= threads


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"seconds": 0.5, "compiled": 0},
        {"seconds": 1, "p50_s": 1e-6, "p99_s": 1e-5, "compiled": 3},
        {"import_s": 0.0, "devices": ["cpu"], "versions": {"numpy": "2"}, "settings": {}},
        {"build_s": 1e-4, "path": "loop", "parameters": 7},
        {"host_peak_bytes": 0, "device_peak_bytes": None},
        {"losses": [1.0, math.nan], "score": math.inf, "finite": False},
        {"outputs": np.zeros(3), "unknown": object()},
    ],
    ids=repr,
)
def test_what_a_record_can_hold_is_accepted(reply: dict[str, Any]) -> None:
    check_reply(reply, 1.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("seconds", value) for value in (0.0, -1.0, math.nan, math.inf, 2.0, "1", True, None, [1.0])),
        *(("median_s", value) for value in (0, -0.1, 1e9)),
        *(("build_s", value) for value in (-1e-9, math.nan, "soon", {"a": -1.0}, [0.1, math.inf])),
        *(("host_peak_bytes", value) for value in (-1, 0.5, 1e300, 2**63, "many")),
        *(("path", value) for value in (None, 3, ["loop"])),
        *(("compilations", value) for value in (None, -1, math.nan, True)),
        *(("versions", value) for value in (None, ["2.0"], {"numpy": 2})),
        *(("devices", value) for value in ("cpu", [0])),
        *(("losses", value) for value in ([], [None], "low", 1.0)),
        ("score", "good"),
    ],
    ids=repr,
)
def test_what_it_cannot_hold_is_named(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{key} is .*, not "):
        check_reply({"fine": 1, key: value}, 1.0)
