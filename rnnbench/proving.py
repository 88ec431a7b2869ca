"""The gate of a plan's cases, one by one and nothing else: nothing is timed, trained for a score or written.

``verify`` proves structures at a small size; here each case is proven as a run would prove it, at its own
shape, dtype and device.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rnnbench.measuring.gate import Gate
from rnnbench.measuring.refusals import Refused
from rnnbench.measuring.stations import Floor, Protocol
from rnnbench.measuring.workers import Workers
from rnnbench.planning.plan import Plan
from rnnbench.plugins import Plugins
from rnnbench.records import Case, Record


class Prover:
    """Keeps its workers from case to case. Use as a context manager; an error that leaves it kills them."""

    def __init__(
        self, plan: Plan, plugins: Plugins, plugin_files: Sequence[str] = (), case_limit_s: float = 120.0
    ) -> None:
        self._workers = Workers(plugin_files, tuple(plan.suite.tasks.values()), pinned=False)
        protocol = Protocol(case_limit_s=case_limit_s)
        self._floor = Floor(self._workers, Gate(plugins.cells), plugins.cells, plan.tasks, protocol)

    def __enter__(self) -> Prover:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.__exit__(kind, error, trace)

    def prove(self, case: Case) -> Record:
        """``ok`` with its parity, or the status and the reason that a run would give the case."""
        station = None
        try:
            station = self._floor.station(case)
            self._floor.build(station, case.key)
            self._floor.prove(station)
        except Refused as refused:
            made = station.record(refused.status, refused.reason) if station else None
            return made or Record(case, refused.status, refused.reason)
        finally:
            self._floor.drop(case, case.key)
        return station.record("ok")
