"""Where the wall time of a run of 50 small cases goes, and what the parent computes while a worker is timed.

On a quiet machine: ``python benchmarks/fifty_cases.py [--processes N] [--rounds N]``. Measuring is what a
worker does under a clock or to be ready for it: first calls, warm-up, blocks, memory, training, evaluation.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from rnnbench.measuring.protocol import Message
from rnnbench.measuring.stations import Floor, Station
from rnnbench.planning.plan import check, plan
from rnnbench.plugins import discover
from rnnbench.records import Record
from rnnbench.running import run_plan
from rnnbench.suite.loading import parse_suite
from rnnbench.suite.overrides import Overrides

SUITE = """axes:
  task: [copy]
  length: [10, 20, 30, 40, 50]
  cell: [elman, gru, gru_reset_before, lstm, elman_relu]
  hidden: [16, 32]
  backend: [numpy]
defaults: {batch: 16, measure: [forward, train_step, memory]}
"""
MEASURING = ("first", "warm", "block", "memory", "train", "evaluate")


class Parent:
    """The parent's own CPU time while it waits for a request of each kind."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}
        self.wall_s: dict[str, float] = {}

    def watch(self) -> None:
        """From now on, every request of every floor."""
        ask = Floor.ask

        def asked(floor: Floor, station: Station, do: str, **request: Any) -> Message:
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            try:
                return ask(floor, station, do, **request)
            finally:
                self.cpu_s[do] = self.cpu_s.get(do, 0.0) + time.process_time() - cpu_s
                self.wall_s[do] = self.wall_s.get(do, 0.0) + time.perf_counter() - wall_s

        Floor.ask = asked  # type: ignore[method-assign]


class Silent:
    """A ``Progress`` that says nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def record(self, record: Record) -> None:
        """Nothing."""


def main() -> None:
    """Run the suite and print two shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    processes = given.processes
    plugins, parent = discover(), Parent()
    asked = Overrides(settings=(f"processes={processes}", f"rounds={given.rounds}"))
    planned = check(plan(parse_suite(SUITE, name="fifty"), plugins, overrides=asked))
    parent.watch()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        results = run_plan(planned, plugins, Silent(), folder=Path(folder) / "run", command=["benchmark"])
        wall_s = time.perf_counter() - begin
    spent_s = results.run.spent_s
    print(f"{len(planned.cases)} cases, {processes} processes, {wall_s:.0f} s")
    for kind, seconds in sorted(spent_s.items(), key=lambda item: -item[1]):
        print(f"  {kind:10} {seconds:8.1f} s {seconds / wall_s:6.1%}")
    measured_s = sum(spent_s.get(kind, 0.0) for kind in MEASURING)
    print(f"measuring: {measured_s / wall_s:.1%} of the wall time (goal: at least 80 %)")
    share = parent.cpu_s["block"] / parent.wall_s["block"]
    print(f"parent: {share:.2%} of a core while a worker is timed (goal: under 2 %)")


if __name__ == "__main__":
    main()
