"""When a path that costs more to begin with has paid for it: a pure function of four times."""

from __future__ import annotations

import math


def break_even_calls(first_s: float, call_s: float, other_first_s: float, other_call_s: float) -> float:
    """The fewest calls after which a path has taken no more time in all than another; infinity: never.

    A path takes ``first_s`` for its first call, tracing and compilation included, and ``call_s`` for each
    one after it: n calls take first_s + (n - 1) call_s.
    """
    if first_s <= other_first_s:
        return 1.0
    gained_s = other_call_s - call_s
    return 1.0 + math.ceil((first_s - other_first_s) / gained_s) if gained_s > 0 else math.inf
