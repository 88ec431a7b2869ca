"""How often a comparison is repeated: in fresh processes, until its interval is narrow enough.

The process is the unit of replication. ``run`` has as many as its suite asks for; ``ci`` begins with six
and adds two at a time to those cases whose interval is still wide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from rnnbench.measuring.grouping import grouped
from rnnbench.records import PRESENT, Case, Measure
from rnnbench.stats import Samples, ratio


@dataclass(frozen=True, slots=True)
class Replication:
    """``start`` processes for all; then ``add`` at a time, up to ``most``, for cases that are not settled.

    Settled: of every phase the 99 % half-width of the log ratio is at most ``half_width`` (measurement
    protocol, steady state, rule 6). With ``most`` equal to ``start`` nothing adapts.
    """

    start: int
    most: int
    add: int = 2
    half_width: float = 0.025

    def foreseen(self, process: int) -> int:
        """How many processes time is kept for before ``process``: what is sure to come, and ``add`` more."""
        sure = self.start
        if process >= self.start:
            sure += (process - self.start) // self.add * self.add + self.add
        return min(self.most, sure + self.add)

    def is_due(self, process: int) -> bool:
        """Whether it is looked again, before ``process`` (counted from 0), who is settled."""
        return process >= self.start and (process - self.start) % self.add == 0


def siblings(cases: Sequence[Case]) -> list[list[Case]]:
    """Cases that differ in their environment alone: they are the sides of one comparison."""
    return grouped(cases, lambda case: replace(case, env=PRESENT))


def is_settled(
    cases: Sequence[Case], samples: Mapping[tuple[str, Measure], Samples], half_width: float
) -> bool:
    """Whether of all siblings among ``cases`` the ratio of each phase is known to within ``half_width``.

    ``samples``: (case key, phase) -> process -> round -> seconds per call. A case without a sibling has no
    ratio that could be wide.
    """
    for same in siblings(cases):
        for one, other in combinations(same, 2):
            for phase in one.measure:
                ours, theirs = samples.get((one.key, phase)), samples.get((other.key, phase))
                if ours and theirs and not _is_narrow(ours, theirs, half_width):
                    return False
    return True


def _is_narrow(ours: Samples, theirs: Samples, half_width: float) -> bool:
    between = ratio(ours, theirs)
    if between is None or between.low is None or between.high is None or between.low <= 0:
        return False
    return math.log(between.high / between.low) / 2 <= half_width
