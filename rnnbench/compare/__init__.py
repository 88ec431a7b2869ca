"""Verdicts between two runs, or between two sides of one: what became slower, larger or wrong.

Reads results and nothing else: no plugin, no framework, no suite. Only ``rnnbench.cli`` prints.
"""

from rnnbench.compare.comparing import compare_axis, compare_runs
from rnnbench.compare.outcome import Change, Comparison, Row, Side, confirm

__all__ = ["Change", "Comparison", "Row", "Side", "compare_axis", "compare_runs", "confirm"]
