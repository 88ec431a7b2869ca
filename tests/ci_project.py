"""A project of somebody's in a git repository: kernels that work for as long as a constant says."""

from __future__ import annotations

import subprocess
from pathlib import Path

TOY = Path(__file__).parent / "example-plugin" / "rnnbench_example.py"

PLUGIN = f'''"""Kernels of my project, for rnnbench."""
import sys
import time
from dataclasses import dataclass

sys.path.append({str(TOY.parent)!r})
import rnnbench_example as toy
from rnnbench.hookspecs import hookimpl
from myproject.cost import COST_S

if "rnnbench.measuring.serving" in sys.modules:
    # in a worker alone: what others do on this core is no time of ours
    time.perf_counter = time.thread_time


def slowed(network, seconds):
    """Busy for so long, by the clock that counts this thread's own work."""
    forward = network.forward

    def call(batch):
        until = time.thread_time() + seconds
        result = forward(batch)
        while time.thread_time() < until:
            pass
        return result

    network.forward = call
    return network


@dataclass(frozen=True)
class Session(toy.ToySession):
    def build(self, spec, *arguments):
        return slowed(super().build(spec, *arguments), COST_S[spec.cell])


@dataclass(frozen=True)
class Mine(toy.Toy):
    name: str = "mine"

    def open(self, settings, cells):
        return Session(settings, cells)


@hookimpl
def rnnbench_backends():
    return [Mine()]
'''

COST = """COST_S = {"elman": 0.002, "gru": 0.002}\n"""

SUITE = """axes:
  task: [copy]
  length: [2]
  cell: [elman, gru]
  backend: [mine]
defaults: {hidden: 2, batch: 2, rounds: 6, measure: [forward]}
"""


class Project:
    """A repository with one commit on ``main``, and a branch ``work`` that is checked out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugin = folder / "bench" / "plugin.py"
        self.cost = folder / "src" / "myproject" / "cost.py"
        folder.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        self.write("src/myproject/__init__.py", "")
        self.write("src/myproject/cost.py", COST)
        self.write("bench/plugin.py", PLUGIN)
        self.write("bench/suite.yaml", SUITE)
        self.commit("first")
        self.git("switch", "-q", "-c", "work")

    def git(self, *words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", *who, *words], cwd=self.folder, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def worktrees(self) -> int:
        return len(self.git("worktree", "list").splitlines())
