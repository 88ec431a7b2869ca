"""What networks learn: the built-in tasks, and the kinds of task that a suite declares on its own data.

Importing this package imports neither scikit-learn nor pandas: workers discover tasks before every clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from rnnbench.contracts import Task
from rnnbench.hookspecs import hookimpl


@hookimpl
def rnnbench_tasks() -> Sequence[Task]:
    """All tasks that ship with rnnbench."""
    from rnnbench.tasks.shipped import TASKS

    return TASKS
