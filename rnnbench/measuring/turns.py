"""Turns: in every round each case of a group runs one block of each phase, in balanced random order.

Only one worker computes at a time; the others wait on their pipes, and are stopped by signal
where one is seen to compute while it waits. So the machine's noise hits all sides alike and
ratios between cases of a group are paired.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from statistics import median

import numpy as np

from rnnbench.measuring.refusals import Refused, WorkerDied
from rnnbench.measuring.stations import Floor, Station, timed_phases, worker_key
from rnnbench.records import PRESENT, Block, Case, Measure
from rnnbench.stats import MAD_TO_SIGMA

SPIN_SHARE = 0.01
"""An idle worker that uses more of a core than this is stopped between its turns."""

LEAST_STEPS = 200
"""Time steps in a block of ``stream``: a 99th percentile with two steps above it.

Fewer where the rounds would take more than ``ROUNDS_SHARE`` of a case's time limit.
"""

ROUNDS_SHARE = 0.5
"""Of a case's time limit; the rest is for building, the first calls, the gate and warm-up."""

SPARE_ROUNDS = 4
"""Further rounds end while a case has time for so many: a slow one must not be killed over them."""

LEAST_TICKS = 100
"""A block lasts at least so many ticks of the clock that times it: rounding to a tick is then below 1 %."""

PRECISION = 0.01
"""Standard error of the median of one process at which further rounds add nothing.

Processes differ among themselves by more: six that spread by 1.5 % give an interval of ±2.5 %.
"""

_MEDIAN_ERROR = 1.2533
"""√(π/2): standard error of a median ÷ that of a mean, for normal values."""

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


def least_block_s(block_s: float) -> float:
    """The shortest block that counts: ``block_s``, and never less than 100 ticks of the clock."""
    return max(block_s, LEAST_TICKS * time.get_clock_info("perf_counter").resolution)


class Loops:
    """Calls per block, calibrated once: the sides of a comparison have the same, and so has every process.

    Sides are cases that differ in their environment alone.
    """

    def __init__(
        self, cases: Iterable[Case] = (), blocks: Mapping[str, Iterable[Block]] | None = None
    ) -> None:
        """``blocks`` by case key: what an earlier sitting has measured of ``cases``."""
        self._known: dict[tuple[Case, Measure], int] = {}
        for case in cases:
            for block in (blocks or {}).get(case.key, ()):
                self._known[_side(case), block.phase] = block.loops

    def of(self, case: Case, phase: Measure) -> int:
        """Calls in a block."""
        return self._known[_side(case), phase]

    def forget(self, cases: Iterable[Case]) -> None:
        """They are measured anew."""
        gone = {_side(case) for case in cases}
        self._known = {key: loops for key, loops in self._known.items() if key[0] not in gone}

    def guess(self, stations: Iterable[Station], block_s: float, most_block_s: float = math.inf) -> bool:
        """From what warm-up has shown of the fastest side; whether there was anything to guess.

        ``LEAST_STEPS`` gives way where on the slowest side they would last longer than ``most_block_s``.
        """
        sides: dict[tuple[Case, Measure], list[float]] = {}
        for station in stations:
            for phase, median_s in station.median_s.items():
                key = _side(station.case), phase
                if key not in self._known:
                    sides.setdefault(key, []).append(median_s)
        for key, medians_s in sides.items():
            loops = calibrate_loops(min(medians_s), block_s)
            if key[1] == "stream":
                loops = max(loops, int(min(LEAST_STEPS, most_block_s / max(*medians_s, 1e-9))))
            self._known[key] = loops
        return bool(sides)

    def lengthen(self, case: Case, phase: Measure, seconds: float, block_s: float) -> None:
        """A trial block of so many ``seconds`` was too short: warm-up was measured in bad company."""
        if 0 < seconds < block_s:
            key = _side(case), phase
            self._known[key] = math.ceil(self._known[key] * block_s / seconds)


def _side(case: Case) -> Case:
    return replace(case, env=PRESENT)


def take_turns(
    floor: Floor,
    stations: Sequence[Station],
    process: int,
    rounds: int,
    seed: int,
    loops: Loops,
    keep: Keep,
    failed: Failed,
    *,
    most: int | None = None,
    until: float = math.inf,
) -> list[Station]:
    """Measure all stations, started before, in turns; returns those that went through.

    ``rounds`` are run; with ``most`` further ones until the times of this process are precise, a case
    comes near its time limit, or ``time.monotonic()`` passes ``until``. Where loops have to be calibrated, a
    round goes before that is not kept. A block in which something was compiled is not kept. A case whose
    worker dies is reported by ``failed``; the other cases of that worker are started again and go on.
    """
    living = list(stations)
    rng = np.random.default_rng([seed, process])
    for station in living:
        _rest(floor, station)
    block_s = least_block_s(floor.protocol.block_s)
    if loops.guess(living, block_s, ROUNDS_SHARE * floor.protocol.case_limit_s / max(1, rounds)):
        trial = list(range(len(living)))
        for station, block in _round(floor, living, trial, process, 0, loops, failed):
            loops.lengthen(station.case, block.phase, block.seconds, block_s)
    times: dict[tuple[str, Measure], dict[int, float]] = {}
    size, pace = len(living), _Pace(living, floor.protocol.case_limit_s)
    for number, order in enumerate(balanced_orders(size, most or rounds, rng)):
        if not living or (number >= rounds and pace.ends(living)):
            break
        whole = number >= rounds and number % 2 == 0  # pairs: an order and its reverse
        if whole and (time.monotonic() > until or is_precise(_of_living(times, living))):
            break
        for station, block in _round(floor, living, order, process, number, loops, failed):
            keep(block)
            times.setdefault((station.case.key, block.phase), {})[number] = block.per_call_s
        pace.note(living)
    return living


class _Pace:
    """What the rounds take of the cases' time limit.

    A case that is killed because more rounds were wanted than it has time for would be a failure of this
    program's making, and seen on one side of a comparison only.
    """

    def __init__(self, stations: Iterable[Station], limit_s: float) -> None:
        self._limit_s = limit_s
        self._rounds = 0
        # what is taken apart after the rounds is built and called for the first time once more
        self._start_s = {station.case.key: station.used_s for station in stations}
        self._seen_s = dict(self._start_s)
        self._rounds_s = dict.fromkeys(self._start_s, 0.0)

    def note(self, living: Iterable[Station]) -> None:
        """A round is over."""
        self._rounds += 1
        for station in living:
            key = station.case.key
            # one that was started again beside a dead one begins at nothing
            self._rounds_s[key] += max(0.0, station.used_s - self._seen_s[key])
            self._seen_s[key] = station.used_s

    def ends(self, living: Iterable[Station]) -> bool:
        """Whether a further round could bring a case to its limit."""
        return any(self._needs_s(station) > self._limit_s for station in living)

    def _needs_s(self, station: Station) -> float:
        key = station.case.key
        round_s = self._rounds_s[key] / max(1, self._rounds)
        return station.used_s + SPARE_ROUNDS * round_s + self._start_s[key]


def _of_living(
    times: Mapping[tuple[str, Measure], Mapping[int, float]], living: Iterable[Station]
) -> dict[tuple[str, Measure], Mapping[int, float]]:
    """Without those of cases that failed: no further round makes them more precise."""
    keys = {station.case.key for station in living}
    return {key: mine for key, mine in times.items() if key[0] in keys}


def is_precise(times: Mapping[tuple[str, Measure], Mapping[int, float]], error: float = PRECISION) -> bool:
    """Whether every median over the rounds of one process is known to within a standard error of ``error``.

    Of several cases it is the log ratio to the first one that counts, for what the machine does to all falls
    out of it. The standard error of a median is 1.2533 σ / √n (normal); σ is 1.4826 × the median absolute
    deviation.
    """
    first: dict[Measure, Mapping[int, float]] = {}
    alone = Counter(phase for _, phase in times)
    for (_, phase), mine in times.items():
        reference = first.setdefault(phase, mine)
        if reference is mine and alone[phase] > 1:
            continue
        if reference is mine:
            logs = [math.log(value) for value in mine.values()]
        else:
            logs = [math.log(mine[number] / reference[number]) for number in mine.keys() & reference.keys()]
        if not logs:
            continue
        centre = median(logs)
        sigma = MAD_TO_SIGMA * median(abs(value - centre) for value in logs)
        if _MEDIAN_ERROR * sigma / math.sqrt(len(logs)) > error:
            return False
    return True


def _round(
    floor: Floor,
    living: list[Station],
    order: Sequence[int],
    process: int,
    number: int,
    loops: Loops,
    failed: Failed,
) -> Iterator[tuple[Station, Block]]:
    """One block of each phase of each station; those that fail are taken out of ``living``."""
    present = [living[i] for i in order if i < len(living)]
    for phase in _phases(present):
        for position, station in enumerate(present):
            if station not in living or phase not in station.median_s:
                continue
            try:
                block = _run_block(floor, station, phase, process, number, position, loops)
            except Refused as refused:
                living.remove(station)
                failed(station, refused)
                if isinstance(refused, WorkerDied):
                    living[:] = restart_beside(floor, living, station, failed)
                continue
            if block is not None:
                yield station, block


def _phases(stations: Sequence[Station]) -> list[Measure]:
    return timed_phases(stations[0].case) if stations else []


def _run_block(
    floor: Floor, station: Station, phase: Measure, process: int, number: int, position: int, loops: Loops
) -> Block | None:
    calls = loops.of(station.case, phase)
    reply = floor.ask(station, "block", id=station.case.key, phase=phase, loops=calls)
    _rest(floor, station)
    if reply["compiled"]:
        station.compiled_in_blocks += reply["compiled"]
        return None
    latencies = {name: reply[name] for name in ("p50_s", "p99_s") if name in reply}
    return Block(station.case.key, phase, process, number, position, calls, reply["seconds"], **latencies)


def _rest(floor: Floor, station: Station) -> None:
    """Stop the station's worker until it is asked again, if it computes while it waits."""
    with suppress(Refused):
        worker = floor.worker(station.case)
        if worker.idle_cpu_share > SPIN_SHARE:
            worker.pause()


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
