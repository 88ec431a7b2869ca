"""Tests side by side (pytest -n): each process keeps to a core of its own, and so do the workers it starts.

A worker takes the last core that it may use; two tests that measure would otherwise share one.
"""

from __future__ import annotations

import os

XLA_FLAGS = os.environ.get("XLA_FLAGS")


def pytest_configure() -> None:
    """Before anything is imported that counts cores."""
    # the width of a table must not depend on who runs the tests
    os.environ.pop("COLUMNS", None)
    number = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if number and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(number) % len(cores)]})


def pytest_runtest_teardown() -> None:
    """A session that is not timed compiles in haste; what later tests start must not."""
    if XLA_FLAGS is None:
        os.environ.pop("XLA_FLAGS", None)
    else:
        os.environ["XLA_FLAGS"] = XLA_FLAGS
