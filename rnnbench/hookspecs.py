"""The four hooks of entry-point group ``rnnbench``.

All are called once while plugins are discovered, in the parent and again in every worker.
They take no arguments, return values, and import nothing heavy.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from rnnbench.contracts import Backend, Cell, Implementation, Task

hookspec = pluggy.HookspecMarker("rnnbench")
hookimpl = pluggy.HookimplMarker("rnnbench")


@hookspec
def rnnbench_backends() -> Sequence[Backend]:
    """Frameworks that can be opened in a worker."""
    raise AssertionError("a specification is never called")


@hookspec
def rnnbench_cells() -> Sequence[Cell]:
    """Recurrent cells, written once over ``ops``."""
    raise AssertionError("a specification is never called")


@hookspec
def rnnbench_tasks() -> Sequence[Task]:
    """What networks learn."""
    raise AssertionError("a specification is never called")


@hookspec
def rnnbench_implementations() -> Sequence[Implementation]:
    """Kernels of one's own for a cell on somebody's backend."""
    raise AssertionError("a specification is never called")
