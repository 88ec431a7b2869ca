"""The time that a run may take, and how it is shared when it is not enough."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

LEAST_ROUNDS = 6
"""A further process with fewer rounds than this adds more noise than knowledge."""


@dataclass(frozen=True, slots=True)
class Budget:
    """``total_s`` None: no limit."""

    total_s: float | None
    begun: float = field(default_factory=time.monotonic)

    def remaining_s(self) -> float:
        """Seconds left; infinite without a limit."""
        if self.total_s is None:
            return math.inf
        return max(0.0, self.total_s - (time.monotonic() - self.begun))

    def share_ends(self, parts: int) -> float:
        """When, by ``time.monotonic()``, one of so many equal parts of what remains is spent."""
        return time.monotonic() + self.remaining_s() / parts

    def over(self) -> bool:
        """Nothing is left."""
        return self.remaining_s() <= 0.0


def training_share_s(remaining_s: float, training_s: float, passes_s: float) -> float:
    """Of what remains, the part for training: in proportion, where training and passes do not both fit."""
    if math.isinf(remaining_s) or training_s + passes_s <= remaining_s:
        return remaining_s - passes_s
    return remaining_s * training_s / (training_s + passes_s)


def affordable_rounds(remaining_s: float, fixed_s: float, round_s: float, wanted: int) -> int:
    """Rounds of a pass that cost ``fixed_s`` + rounds * ``round_s``; 0 where not even the least fit."""
    if math.isinf(remaining_s):
        return wanted
    rounds = min(wanted, int((remaining_s - fixed_s) / max(round_s, 1e-9)))
    return rounds if rounds >= min(LEAST_ROUNDS, wanted) else 0
