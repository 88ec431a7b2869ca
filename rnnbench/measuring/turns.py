"""Turns: in every round each case of a group runs one block of each phase, in balanced random order.

Only one worker computes at a time; the others wait on their pipes, and are stopped by signal
where one is seen to compute while it waits. So the machine's noise hits all sides alike and
ratios between cases of a group are paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from rnnbench.measuring.refusals import Refused, WorkerDied
from rnnbench.measuring.stations import Floor, Station, timed_phases, worker_key
from rnnbench.records import Block, Measure

SPIN_SHARE = 0.01
"""An idle worker that uses more of a core than this is stopped between its turns."""

Failed = Callable[[Station, Refused], None]
Keep = Callable[[Block], None]


def balanced_orders(size: int, rounds: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """A random order for every round; each second one is its predecessor reversed (ABBA, BAAB).

    So over each pair of rounds every case stands equally early on average.
    """
    order: list[int] = []
    for number in range(rounds):
        order = order[::-1] if number % 2 else [int(i) for i in rng.permutation(size)]
        yield order


def calibrate_loops(median_s: float, block_s: float) -> int:
    """Calls per block, so that a block lasts at least ``block_s``."""
    return max(1, math.ceil(block_s / max(median_s, 1e-9)))


def take_turns(
    floor: Floor,
    stations: Sequence[Station],
    process: int,
    rounds: int,
    seed: int,
    keep: Keep,
    failed: Failed,
) -> list[Station]:
    """Measure all stations, started before, in turns; returns those that went through.

    A block in which something was compiled is not kept. A case whose worker dies is reported by
    ``failed``; the other cases of that worker are started again and go on.
    """
    living = list(stations)
    rng = np.random.default_rng([seed, process])
    for number, order in enumerate(balanced_orders(len(living), rounds, rng)):
        present = [living[i] for i in order if i < len(living)]
        for phase in _phases(present):
            for position, station in enumerate(present):
                if station not in living or phase not in station.median_s:
                    continue
                try:
                    block = _run_block(floor, station, phase, process, number, position)
                except Refused as refused:
                    living.remove(station)
                    failed(station, refused)
                    if isinstance(refused, WorkerDied):
                        living = restart_beside(floor, living, station, failed)
                    continue
                if block is not None:
                    keep(block)
        if not living:
            break
    return living


def _phases(stations: Sequence[Station]) -> list[Measure]:
    return timed_phases(stations[0].case) if stations else []


def _run_block(
    floor: Floor, station: Station, phase: Measure, process: int, number: int, position: int
) -> Block | None:
    loops = calibrate_loops(station.median_s[phase], floor.protocol.block_s)
    worker = floor.worker(station.case)
    reply = floor.ask(station, "block", id=station.case.key, phase=phase, loops=loops)
    if worker.idle_cpu_share > SPIN_SHARE:
        worker.pause()
    if reply["compiled"]:
        station.compiled_in_blocks += reply["compiled"]
        return None
    return Block(station.case.key, phase, process, number, position, loops, reply["seconds"])


def restart_beside(floor: Floor, living: list[Station], dead: Station, failed: Failed) -> list[Station]:
    """A worker died with ``dead``: start again the other cases whose networks went with it.

    One that kills the fresh worker too is reported by ``failed``, and those before it are started once more.
    """
    lost = [station for station in living if worker_key(station.case) == worker_key(dead.case)]
    gone: list[Station] = []
    waiting = list(lost)
    while waiting:
        station = waiting.pop(0)
        station.used_s = 0.0  # it is not to blame
        try:
            floor.start(station, prove=False)
        except Refused as refused:
            gone.append(station)
            failed(station, refused)
            if isinstance(refused, WorkerDied):
                waiting = [each for each in lost if each not in gone]
    return [station for station in living if station not in gone]
