"""Backends that go wrong, each in one way, for the tests of conductor and workers. Load with --plugin."""

from __future__ import annotations

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


AT_BUILD = {"refusing": refuse, "leaving": leave, "lying": lie}
AT_FORWARD = {"crashing": crash, "killed": be_killed, "hanging": hang, "greedy": exhaust, "failing": fail}
AT_FORWARD |= {"chatty": chatter}
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
