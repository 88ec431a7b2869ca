"""What a further pass will cost, from what the first has left: also where that was another sitting's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rnnbench.measuring.stations import WARM_CALLS, Protocol, worker_key
from rnnbench.records import Block, Record
from rnnbench.results.reading import timings


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of a pass: ``fixed_s`` before the rounds, ``round_s`` each, ``pass_s`` in all."""

    fixed_s: float
    round_s: float
    pass_s: float


def cost_of_pass(records: Sequence[Record], blocks: Sequence[Block], protocol: Protocol) -> Cost:
    """From the records of the cases to be measured, and their blocks of process 0.

    Before the rounds: opening each worker, building, first calls, warm-up. A round: every block with its
    primer call.
    """
    opening = {worker_key(record.case): record.phases.get("import_s", 0.0) for record in records}
    # trace_*_s and compile_*_s are parts of first_*_s
    first_s = sum(
        seconds
        for record in records
        for name, seconds in record.phases.items()
        if name.startswith(("build_", "first_"))
    )
    warm_s = 0.0
    timed = timings(blocks)
    phases = Counter(case for case, _ in timed)
    for (case, _), processes in timed.items():
        times = [time for rounds in processes.values() for time in rounds.values()]
        warm_s += max(protocol.warm_s / phases[case], WARM_CALLS * sum(times) / len(times))
    # a process that was begun again has its blocks twice in the file
    last = {(block.case, block.phase, block.round): block for block in blocks}
    rounds = len({number for _, _, number in last})
    rounds_s = sum(block.seconds * (block.loops + 1) / block.loops for block in last.values())
    round_s = rounds_s / max(1, rounds)
    fixed_s = sum(opening.values()) + first_s + warm_s
    return Cost(fixed_s, round_s, fixed_s + protocol.rounds * round_s)
