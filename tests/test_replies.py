"""Replies that are late, cut, endless or impossible, without any worker."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
import threading
import time
from multiprocessing import Pipe
from typing import Any

import numpy as np
import pytest

from rnnbench.measuring import replies
from rnnbench.measuring.peak import measure_peak
from rnnbench.measuring.process import Worker
from rnnbench.measuring.refusals import Refused, WorkerDied
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
        {"outputs": np.zeros(3), "unknown": Ellipsis},
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


class Answering:
    """A worker whose other end is a thread that sends ``answer`` to whatever is asked."""

    def __init__(self, answer: bytes) -> None:
        self.here, there = Pipe()
        self.worker = Worker.__new__(Worker)
        self.worker._connection = self.here
        self.worker._stopped, self.worker.idle_cpu_share = False, 0.0
        self.killed = 0
        self.worker._lives = lambda: True  # type: ignore[method-assign]
        self.worker.kill = self.kill  # type: ignore[method-assign]
        there.send_bytes(answer)
        self.there = there

    def kill(self) -> None:
        self.killed += 1


def as_message(header: str) -> bytes:
    return struct.pack("<Q", len(header)) + header.encode()


IDLE = '"idle": {"cpu_s": 0.5, "waited_s": 1.0}'


@pytest.mark.parametrize(
    "header",
    [
        "{}",
        "[1]",
        "7",
        "null",
        '{"ok": {}}',
        '{"a": {"__array__": 5}}',
        '{"a": {"__array__": ["float32", [1e99]]}}',
        '{"a": {"__array__": ["float32", [99999999999999999999999]]}}',
        '{"ok": {}, "idle": 3}',
        '{"ok": {}, "idle": {"cpu_s": "x", "waited_s": 1}}',
        f"{{{IDLE}}}",
        f'{{"ok": 3, {IDLE}}}',
        f'{{"ok": [1], {IDLE}}}',
        f'{{"error": "failed", {IDLE}}}',
        f'{{"error": "tired", "reason": "", "trace": "", {IDLE}}}',
        f'{{"error": [], "reason": "", "trace": "", {IDLE}}}',
        f'{{"error": "failed", "reason": 3, "trace": "", {IDLE}}}',
        "[" * 100_000,
    ],
    ids=lambda header: header[:60],
)
def test_json_that_is_no_reply_is_a_crash(header: str) -> None:
    asked = Answering(as_message(header))
    with pytest.raises(WorkerDied, match=r"reply to drop could not be read: .") as died:
        asked.worker.ask("drop", 5.0, id="a")
    assert died.value.status == "crashed"
    assert asked.killed == 1


def test_a_refusal_leaves_the_worker_alive() -> None:
    asked = Answering(as_message(f'{{"error": "skipped", "reason": "why", "trace": "", {IDLE}}}'))
    with pytest.raises(Refused, match=r"^why$") as refused:
        asked.worker.ask("drop", 5.0, id="a")
    assert (refused.value.status, asked.killed) == ("skipped", 0)
    assert not isinstance(refused.value, WorkerDied)
    assert asked.worker.idle_cpu_share == 0.5
    fine = Answering(as_message(f'{{"ok": {{"devices": ["cpu"]}}, {IDLE}}}'))
    assert fine.worker.ask("drop", 5.0, id="a") == {"devices": ["cpu"]}


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="POSIX")
def test_pausing_a_process_that_has_ended_does_not_give_its_number_away() -> None:
    """``end`` kills the group of that number later, which must not be another's by then."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    worker = Worker.__new__(Worker)
    worker._process, worker._stopped = process, False
    worker.pause()
    worker._resume()
    assert process.returncode is None
    process.wait()
    worker.pause()  # and one that was reaped is left alone
    worker._resume()


@pytest.mark.parametrize(("reached", "best"), [(0, None), (1, 256), (3, 1024)])
def test_a_product_that_raises_ends_the_peak_with_what_was_reached(
    reached: int, best: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("rnnbench.measuring.peak.time.perf_counter", lambda: now[0])

    def product(size: int) -> Any:
        if size >= 256 << reached:
            raise TypeError("no float64 on this device")

        def call() -> None:
            now[0] += 1e-3

        return call

    found = measure_peak(product)
    assert found == (None if best is None else pytest.approx(2 * best**3 / 1e-3))
