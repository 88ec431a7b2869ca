"""Backends that go wrong, each in one way, for the tests of conductor and workers. Load with --plugin."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnbench.contracts import Backend, Cell, Network, Session, Settings
from rnnbench.errors import Unsupported
from rnnbench.hookspecs import hookimpl

sys.path.insert(0, str(Path(__file__).parent / "example-plugin"))
import rnnbench_example as toy


def crash(network: Any) -> None:
    os.abort()


def be_killed(network: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(network: Any) -> None:
    time.sleep(3600)


def exhaust(network: Any) -> None:
    raise MemoryError("cannot allocate 1 PiB")


def leave(network: Any) -> None:
    os._exit(7)


def fail(network: Any) -> None:
    raise ValueError("the <b>toy</b> broke")


def chatter(network: Any) -> None:
    sys.stdout.write("\x00garbage on stdout\n")
    sys.stdout.flush()
    os.write(1, b"\xff\xfe more of it\n")


def refuse(network: Any) -> None:
    raise Unsupported("not on a Sunday")


def lie(network: Any) -> None:
    network._values["head.b"] = network._values["head.b"] + 0.01


def explode(network: Any) -> None:
    if network._step == 3:
        network._values["head.b"] = network._values["head.b"] * float("nan")


# what a plugin in C can do


def read_nothing(network: Any) -> None:
    ctypes.string_at(0)


def hang_in_c(network: Any) -> None:
    if "RNNBENCH_TEST_HANGS" in os.environ:
        Path(os.environ["RNNBENCH_TEST_HANGS"]).touch()
    ctypes.PyDLL(None).sleep(3600)  # holding the GIL: no thread of Python's runs any more


def freeze(network: Any) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def bloat(network: Any) -> None:
    """Allocate until refused, with some room so that the machine is not hurt."""
    import resource

    used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used_bytes + (64 << 20),) * 2)
    kept = []
    while True:
        kept.append(bytearray(1 << 16))


# processes that stay


def brood(network: Any) -> None:
    """A child of this group and a grandchild that leaves it; both hold all that is open here."""
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        time.sleep(3600)
    if os.fork() == 0:
        time.sleep(3600)


def brood_and_crash(network: Any) -> None:
    brood(network)
    os.kill(os.getpid(), signal.SIGSEGV)


# words where none belong


def flood(network: Any) -> None:
    for descriptor in (1, 2):
        os.write(descriptor, b"\xff\xfe\x00 no newline " * (1 << 16))
    sys.stderr.write("\udcff half a li")


def scribble(network: Any) -> None:
    _write_everywhere(b"\x1b[2J not for you \x00\xff")


def scribble_a_length(network: Any) -> None:
    """Where the length of a message stands: it never comes."""
    _write_everywhere(b"\x00\x00\x01\x00abc")
    time.sleep(3600)


def _write_everywhere(data: bytes) -> None:
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, data)
        except OSError:
            continue


# exceptions that are no Exception


class Weird(BaseException):
    pass


def raise_weird(network: Any) -> None:
    raise Weird("not an \ud800 Exception")


def interrupt_oneself(network: Any) -> None:
    raise KeyboardInterrupt


def leave_in_peace(network: Any) -> None:
    os._exit(0)


# clocks and words that are wrong

CLOCK = time.perf_counter


def _clock(read: Callable[[], Any]) -> Callable[[Any], None]:
    def patch(network: Any) -> None:
        time.perf_counter = read

    return patch


def step_back() -> float:
    return -CLOCK()


def _tell(**facts: Any) -> Callable[[Any], None]:
    def tell(network: Any) -> None:
        for name, value in facts.items():
            setattr(network, name, value if name == "path" else lambda value=value: value)

    return tell


AT_BUILD = {"refusing": refuse, "leaving": leave, "lying": lie}
AT_FORWARD = {"crashing": crash, "killed": be_killed, "hanging": hang, "greedy": exhaust, "failing": fail}
AT_FORWARD |= {"chatty": chatter}
AT_FORWARD |= {"segfaulting": read_nothing, "hanging_in_c": hang_in_c, "freezing": freeze, "bloating": bloat}
AT_FORWARD |= {"brooding": brood, "deserting": brood_and_crash, "flooding": flood}
AT_FORWARD |= {"scribbling": scribble, "stalling": scribble_a_length}
AT_FORWARD |= {"weird": raise_weird, "interrupting": interrupt_oneself, "leaving_in_peace": leave_in_peace}
AT_FORWARD |= {
    "timeless": _clock(lambda: math.nan),
    "backward": _clock(step_back),
    "hasty": _clock(lambda: CLOCK() * 1e6),
    "wordy": _clock(lambda: "noon"),
}
AT_BUILD |= {
    "pathless": _tell(path=None),
    "uncounted": _tell(compilations="many"),
    "immense": _tell(memory=1e300),
}
AT_TRAIN = {"exploding": explode}


@dataclass(frozen=True)
class FaultySession:
    inner: Any
    fault: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def build(self, *arguments: Any) -> Network:
        network = self.inner.build(*arguments)
        if self.fault in AT_BUILD:
            AT_BUILD[self.fault](network)
        if self.fault in AT_FORWARD:
            network.forward = _before(AT_FORWARD[self.fault], network, network.forward)
        if self.fault in AT_TRAIN:
            network.train_step = _before(AT_TRAIN[self.fault], network, network.train_step)
        return network


def _before(fault: Callable[[Any], None], network: Any, method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        fault(network)
        return method(*arguments)

    return call


@dataclass(frozen=True)
class Faulty(toy.Toy):
    def open(self, settings: Settings, cells: Mapping[str, Cell]) -> Session:
        return FaultySession(super().open(settings, cells), self.name)


@hookimpl
def rnnbench_backends() -> Sequence[Backend]:
    return [Faulty(name) for name in (*AT_BUILD, *AT_FORWARD, *AT_TRAIN)]
