"""What size of change can be seen here: identical code against itself, and against 5 % more time steps.

Nothing is simulated: networks are planned, proven, timed in turns in processes of their own and compared
by the machinery that ``rnnbench ci`` uses, flagged cases once more by fresh processes.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from rnnbench.compare import Comparison, Row, compare_axis, confirm
from rnnbench.doctor.overhead import Overhead, measure_overhead
from rnnbench.doctor.selftest_plugin import NAME
from rnnbench.errors import RequestError
from rnnbench.measuring.launch import Environment
from rnnbench.measuring.ledger import Progress
from rnnbench.measuring.replication import Replication
from rnnbench.measuring.stations import COMPARING
from rnnbench.offers import offers_of
from rnnbench.planning.plan import Plan, check, plan
from rnnbench.plugins import Plugins, discover
from rnnbench.records import Case, Finding, Record
from rnnbench.results import RunResults
from rnnbench.running import run_plan
from rnnbench.suite.loading import parse_suite

BASE, SAME, SLOWER = "base", "same", "slower"
PLUGIN = str(Path(__file__).with_name("selftest_plugin.py"))
SLOWER_PLUGIN = str(Path(__file__).with_name("selftest_slower.py"))
ENVIRONMENTS = (
    Environment(BASE, plugin_files=(PLUGIN,)),
    Environment(SAME, plugin_files=(PLUGIN,)),
    Environment(SLOWER, plugin_files=(SLOWER_PLUGIN,)),
)
"""The sides of every comparison, each with processes of its own, as the two sides of ``rnnbench ci`` have."""

TASK = "selftest_noise"
SHARE_FOUND = 0.95
"""Of the slower cases at least so many are to be found, and of the identical ones none."""
WARM_S = 0.1
"""NumPy compiles nothing; what is left to warm are caches and the clock."""

HALF_WIDTH = 0.02
"""Narrower than that of ``ci``: 5 % are to be found twice, the second time by fresh processes.

At ±2.5 % one in thirty estimates of a true 5 % has its lower bound below 1 %; at ±2 % one in a thousand.
"""

AGAIN = 2 / 3
"""Of the three sides mostly two are flagged: the base and the slower one."""

LENGTHS = (60, 100)
_SUITE = """about: What size of change can be seen on this machine? Written by rnnbench doctor --self-test.
tasks:
  {task}: {{kind: noise, features: 4}}
axes:
  task: [{task}]
  cell: [{cells}]
  length: [{lengths}]
  batch: [{batches}]
  hidden: [32]
  backend: [{backend}]
defaults:
  measure: [forward]
  rounds: {rounds}
  processes: {processes}
budget: {budget_s:.0f} s
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much a self-test measures.

    ``processes`` for all, up to ``most`` where intervals are still wide then. ``budget_s`` is that of the
    first measurement; what was flagged is measured again within ``AGAIN`` of it.
    """

    cells: tuple[str, ...]
    batches: tuple[int, ...]
    processes: int
    most: int
    budget_s: float

    @property
    def networks(self) -> int:
        """Each is measured as base, as the same code and as the slower one."""
        return len(self.cells) * len(LENGTHS) * len(self.batches)


WHOLE = Size(("elman", "elman_relu", "gru", "gru_reset_before", "lstm"), (4, 16), 6, 20, 1200.0)
"""20 networks."""
QUICK = Size(("gru", "lstm"), (4,), 4, 8, 120.0)
"""4 networks, for a first impression."""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What came of it.

    ``identical`` and ``slower`` hold a row for each network: head ÷ base of the same code, and of the code
    with 5 % more time steps. ``alarms_unconfirmed`` counts identical pairs that the first processes flagged
    and fresh ones did not. ``lost`` are cases that could not be measured, ``cut`` says what the time did not
    suffice for. ``detectable`` is the median over the identical pairs of the smallest change that each could
    have shown (0.03 is 3 %).
    """

    identical: tuple[Row, ...]
    slower: tuple[Row, ...]
    alarms_unconfirmed: int
    lost: tuple[Record, ...]
    cut: tuple[str, ...]
    overhead: Overhead
    spent_s: float

    @property
    def false_alarms(self) -> int:
        """Identical pairs that were flagged twice."""
        return sum(row.verdict in ("regression", "improvement") for row in self.identical)

    @property
    def found(self) -> int:
        """Slower cases that were flagged as such twice."""
        return sum(row.verdict == "regression" for row in self.slower)

    @property
    def slowdown(self) -> float | None:
        """What 5 % more time steps cost here, the median over cases (0.05 is 5 %)."""
        ratios = [row.ratio.value for row in self.slower if row.ratio]
        return median(ratios) - 1 if ratios else None

    @property
    def detectable(self) -> float | None:
        """See above; None where a case was too noisy to say."""
        sizes = [row.detectable for row in self.identical if row.detectable is not None]
        return median(sizes) if sizes and len(sizes) == len(self.identical) else None

    @property
    def passed(self) -> bool:
        """Everything was measured, no identical pair was flagged, and 95 % of the slower ones were found."""
        enough = self.found >= SHARE_FOUND * len(self.slower)
        return bool(self.slower) and not self.lost and not self.false_alarms and enough


def self_test(folder: Path, progress: Progress, size: Size = WHOLE) -> SelfTest:
    """Measure into ``folder``/first and, what was flagged, into ``folder``/again.

    Raises ``RequestError`` where the NumPy backend is not installed or the folder holds a run,
    ``WriteFailed`` where the disk takes no more.
    """
    begun = time.monotonic()
    plugins = discover([PLUGIN])
    planned = plan_self_test(plugins, size)
    if not planned.cases:
        raise RequestError(planned.refused[0].reason, where="--self-test")
    results = _measure(planned, size, plugins, progress, folder / "first", again=False)
    first = compare_axis(results, "env", BASE)
    again, cut = first, results.run.findings
    if first.flagged:
        shorter = replace(planned.suite, budget_s=AGAIN * size.budget_s)
        chosen = replace(only(planned, first.flagged), suite=shorter)
        fresh = _measure(chosen, size, plugins, progress, folder / "again", again=True)
        again, cut = compare_axis(fresh, "env", BASE), (*cut, *fresh.run.findings)
    progress.note("the overhead of the harness")
    overhead = measure_overhead()
    return summarise(first, again, results.records, cut, overhead, time.monotonic() - begun)


def plan_self_test(plugins: Plugins, size: Size) -> Plan:
    """Three cases for each network: the base, the same code, and the slower one."""
    text = _SUITE.format(
        task=TASK,
        cells=", ".join(size.cells),
        lengths=", ".join(map(str, LENGTHS)),
        batches=", ".join(map(str, size.batches)),
        backend=NAME,
        rounds=COMPARING.rounds,
        processes=size.processes,
        budget_s=size.budget_s,
    )
    offers = offers_of(plugins)
    sides = {side.name: offers for side in ENVIRONMENTS}
    return check(plan(parse_suite(text, name=NAME), plugins, offers=sides))


def only(planned: Plan, rows: Iterable[Row]) -> Plan:
    """The plan of the cases of some rows alone."""
    wanted = {case for row in rows for case in (row.base_case, row.case)}
    return replace(planned, cases=tuple(case for case in planned.cases if case in wanted), refused=())


def summarise(
    first: Comparison,
    again: Comparison,
    records: Collection[Record],
    cut: Collection[Finding],
    overhead: Overhead,
    spent_s: float,
) -> SelfTest:
    """From the first comparison and that of what was flagged."""
    confirmed = confirm(first, again)
    flagged = sum(row.case.env == SAME for row in first.flagged)
    found = SelfTest(
        identical=_rows(confirmed, SAME),
        slower=_rows(confirmed, SLOWER),
        alarms_unconfirmed=0,
        lost=tuple(record for record in records if record.status != "ok"),
        cut=tuple(finding.text for finding in cut),
        overhead=overhead,
        spent_s=spent_s,
    )
    return replace(found, alarms_unconfirmed=flagged - found.false_alarms)


def _rows(comparison: Comparison, env: str) -> tuple[Row, ...]:
    return tuple(row for row in comparison.rows if row.kind == "time" and row.case.env == env)


def _measure(
    planned: Plan, size: Size, plugins: Plugins, progress: Progress, folder: Path, *, again: bool
) -> RunResults:
    return run_plan(
        planned,
        plugins,
        progress,
        folder=folder,
        command=["rnnbench", "doctor", "--self-test"],
        environments=ENVIRONMENTS,
        protocol=replace(COMPARING, warm_s=WARM_S),
        replication=Replication(size.processes, size.most, half_width=HALF_WIDTH),
        again=again,
    )


def describe(case: Case) -> str:
    """The network of a case in a few words."""
    return f"{case.cell}, T {case.length}, B {case.batch}"
