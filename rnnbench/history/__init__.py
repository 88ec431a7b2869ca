"""A case over runs and commits: its values in order of time, and where they changed.

Reads results and nothing else. What it says of times is weak evidence: no two runs were measured in turns.
"""

from rnnbench.history.changepoints import ChangePoint, change_points
from rnnbench.history.series import Line, Point, history, measured

__all__ = ["ChangePoint", "Line", "Point", "change_points", "history", "measured"]
