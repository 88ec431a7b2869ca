"""How often rnnbench is wrong about identical code, and finds what is slower; other tools beside it.

Measures 40 networks live, each against itself, with 5 % and with 2 % more time steps, in turns, in processes
of their own, as many rounds and processes as ``rnnbench ci`` would take, and what is flagged once more in
fresh processes. The blocks of identical code are then resampled, and judged by rnnbench and by the rules of
pytest-benchmark, pyperf and asv (``pip install pytest-benchmark pyperf asv``; the rule of what is not
installed is left out). Repeat with

    python benchmarks/false_alarms.py --out DIR

on a quiet machine of two cores or more; it prints the table of docs/performance.md and takes an hour.
``--networks 4`` is a trial, ``--slower-only`` leaves identical code and 2 % out, ``--read DIR`` judges what
an earlier call has measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from rnnbench.ci.gating import PROCESSES_LEAST, PROCESSES_MOST
from rnnbench.compare import Comparison, compare_axis, confirm
from rnnbench.doctor.selftest import BASE, ENVIRONMENTS, PLUGIN, SAME, SLOWER, WARM_S, only
from rnnbench.judging import judge
from rnnbench.measuring.launch import Environment
from rnnbench.measuring.replication import Replication
from rnnbench.measuring.stations import COMPARING
from rnnbench.offers import offers_of
from rnnbench.planning.plan import Plan, check, plan
from rnnbench.plugins import discover
from rnnbench.records import Record
from rnnbench.results import RunResults, open_run
from rnnbench.running import run_plan
from rnnbench.stats import Samples, ratio
from rnnbench.suite.loading import parse_suite
from rnnbench.thresholds import Bounds

TWO = "slower_by_2_percent"
SUITE = """about: Identical code and small slow-downs. Written by benchmarks/false_alarms.py.
tasks:
  noise4: {kind: noise, features: 4}
axes:
  task: [noise4]
  cell: [elman, elman_relu, gru, gru_reset_before, lstm]
  length: [100, 200]
  batch: [4, 8, 16, 32]
  hidden: [32]
  backend: [selftest]
defaults: {measure: [forward]}
"""
LESS = """from rnnbench.doctor.selftest_plugin import SelfTest
from rnnbench.hookspecs import hookimpl


@hookimpl
def rnnbench_backends():
    return [SelfTest(every=50)]
"""
FLAGGED = ("regression", "improvement")
BOUNDS = Bounds()

Pair = tuple[Samples, Samples]
"""Base and head: process -> round -> seconds per call."""
Rule = Callable[[Pair], bool]


def main() -> None:
    """Measure or read, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder to measure into")
    parser.add_argument("--read", type=Path, help="folder of an earlier call")
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--processes", type=int, default=PROCESSES_MOST, help="at most, for each side")
    parser.add_argument("--slower-only", action="store_true", help="5 % more time steps alone")
    parser.add_argument("--resamples", type=int, default=10_000)
    given = parser.parse_args()
    if (given.out is None) == (given.read is None):
        parser.error("give --out DIR or --read DIR")
    folder = given.read or given.out
    if given.out:
        measure(folder, given.networks, given.processes, slower_only=given.slower_only)
    first = open_run(folder / "first")
    again = open_run(folder / "again") if (folder / "again").exists() else first
    for line in report(first, again, given.resamples):
        print(line)


def measure(folder: Path, networks: int, most: int, *, slower_only: bool) -> None:
    """Everything once, and what is flagged once more."""
    folder.mkdir(parents=True)
    less = folder / "slower_by_2_percent.py"
    less.write_text(LESS)
    sides = (*ENVIRONMENTS, Environment(TWO, plugin_files=(str(less.resolve()),)))
    if slower_only:
        sides = tuple(side for side in sides if side.name in (BASE, SLOWER))
    plugins = discover([PLUGIN])
    offers = offers_of(plugins)
    suite = parse_suite(SUITE, name="false_alarms")
    planned = check(plan(suite, plugins, offers={side.name: offers for side in sides}))
    groups = list(dict.fromkeys(case.group for case in planned.cases))
    # fewer are spread over all cells and sizes
    kept = set(groups[:: max(1, len(groups) // networks)][:networks])
    planned = replace(planned, cases=tuple(case for case in planned.cases if case.group in kept))

    def run(chosen: Plan, name: str, *, again: bool) -> RunResults:
        return run_plan(
            chosen,
            plugins,
            Told(),
            folder=folder / name,
            command=sys.argv,
            environments=sides,
            protocol=replace(COMPARING, warm_s=WARM_S),
            replication=Replication(start=min(PROCESSES_LEAST, most), most=most),
            again=again,
        )

    flagged = compare_axis(run(planned, "first", again=False), "env", BASE).flagged
    if flagged:
        run(only(planned, flagged), "again", again=True)


class Told:
    """Progress on stderr."""

    def note(self, text: str) -> None:
        """One line."""
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def record(self, record: Record) -> None:
        """Failures only."""
        if record.status != "ok":
            self.note(f"{record.status}: {record.case.key}: {record.reason}")


def report(first: RunResults, again: RunResults, resamples: int) -> Iterator[str]:
    """The Markdown table."""
    once = compare_axis(first, "env", BASE)
    twice = confirm(once, compare_axis(again, "env", BASE)) if again is not first else once
    yield "| what | goal | measured |"
    yield "|---|---|---|"
    if any(row.case.env == SAME for row in once.rows):
        yield from identical(first, once, twice, resamples)
    for env, percent, goal in ((SLOWER, 5, "≥ 95 %"), (TWO, 2, "stated")):
        rows = [row for row in twice.rows if row.kind == "time" and row.case.env == env]
        if not rows:
            continue
        found = sum(row.verdict == "regression" for row in rows)
        cost = np.median([row.ratio.value for row in rows if row.ratio]) - 1
        yield (
            f"| {percent} % more time steps (they cost {cost:+.1%}): found after confirmation | {goal} | "
            f"{found} of {len(rows)} |"
        )
    timed = [row for row in once.rows if row.kind == "time"]
    processes = [len(first.timings[row.base_case.key, "forward"]) for row in timed]
    spent_s = sum(run.run.spent_s["total"] for run in {id(run): run for run in (first, again)}.values())
    yield (
        f"| wall time of a comparison, confirmation included | ≤ 90 s | {spent_s / len(timed):.0f} s; "
        f"{min(processes)} to {max(processes)} processes |"
    )
    machine = first.run.machine
    facts = ("cpu", "cores_allowed", "python", "load_1min", "load_1min_end", "steal_percent")
    yield ""
    yield ", ".join(f"{name} {machine[name]}" for name in facts if name in machine) + f"; {first.run.started}"


def identical(first: RunResults, once: Comparison, twice: Comparison, resamples: int) -> Iterator[str]:
    """The rows on identical code: as measured, resampled, and by the rules of others."""
    timings = first.timings
    pairs = [
        (timings[row.base_case.key, "forward"], timings[row.case.key, "forward"])
        for row in once.rows
        if row.kind == "time" and row.case.env == SAME
    ]
    count = len(pairs)
    before, after = flags(once, SAME), flags(twice, SAME)
    yield (
        f"| identical code, {count} live comparisons: flagged | 0 after confirmation | "
        f"{after} after confirmation, {before} before |"
    )
    rng = np.random.default_rng(1)
    drawn = [resample(pairs[rng.integers(count)], rng) for _ in range(resamples)]
    yield (
        f"| the same blocks resampled, {resamples:,} times: flagged, before confirmation | ≤ 1 % | "
        f"{share(ours, drawn)} |"
    )
    for name, rule in rules().items():
        turns, after = sum(map(rule, pairs)), sum(map(rule, map(one_after_the_other, pairs)))
        yield (
            f"| for contrast, {name} | – | {after} of {count} one after the other, {turns} of {count} in "
            f"turns, {share(rule, drawn)} of the resampled |"
        )


def flags(comparison: Comparison, env: str) -> int:
    """Pairs of an environment that are said to differ."""
    rows = (row for row in comparison.rows if row.kind == "time" and row.case.env == env)
    return sum(row.verdict in FLAGGED for row in rows)


def resample(pair: Pair, rng: np.random.Generator) -> Pair:
    """The null hypothesis, with this machine's noise.

    Who is base and who is head is drawn for each process, and its rounds are drawn with replacement, the same
    ones of both sides: what disturbed a round disturbed both.
    """
    base, head = pair
    drawn: tuple[dict[int, Mapping[int, float]], dict[int, Mapping[int, float]]] = ({}, {})
    for process in base.keys() & head.keys():
        sides = [base[process], head[process]]
        if rng.integers(2):
            sides.reverse()
        common = sorted(sides[0].keys() & sides[1].keys())
        rounds = rng.choice(common, len(common))
        for into, side in zip(drawn, sides, strict=True):
            into[process] = {number: side[int(round)] for number, round in enumerate(rounds)}
    return drawn


def one_after_the_other(pair: Pair) -> Pair:
    """Base from the first half of the processes, head from the second: what those have who take no turns."""
    base, head = pair
    processes = sorted(base.keys() & head.keys())
    half = len(processes) // 2
    early, late = processes[:half], processes[-half:]
    return {process: base[process] for process in early}, {process: head[process] for process in late}


def share(rule: Rule, pairs: list[Pair]) -> str:
    """How many of the pairs a rule flags, in per cent."""
    return f"{np.mean([rule(pair) for pair in pairs]):.2%}"


def ours(pair: Pair) -> bool:
    """The verdict of rnnbench, before confirmation."""
    base, head = pair
    found = ratio(head, base)
    assert found is not None
    return judge(found, BOUNDS.regression, BOUNDS.improvement, BOUNDS.unchanged) in FLAGGED


def rules() -> dict[str, Rule]:
    """Name -> the rule of another tool, its own code; both directions count, as with ours."""
    found: dict[str, Rule] = {}
    with suppress(ImportError):
        from pytest_benchmark.stats import Stats
        from pytest_benchmark.utils import PercentageRegressionCheck

        def regressed(field: str) -> Rule:
            def rule(pair: Pair) -> bool:
                # it has one process
                of_first = [list(side[min(side)].values()) for side in pair]
                stats = [Stats(), Stats()]
                for each, values in zip(stats, of_first, strict=True):
                    for value in values:
                        each.update(value)
                a, b = ({field: getattr(each, field)} for each in stats)
                fails = PercentageRegressionCheck(field, 5.0)
                return bool(fails.fails(a, b) or fails.fails(b, a))

            return rule

        for field in ("min", "median", "mean"):
            found[f"pytest-benchmark --benchmark-compare-fail={field}:5%"] = regressed(field)
    with suppress(ImportError):
        from pyperf._utils import is_significant

        found["pyperf compare_to (significant)"] = lambda pair: bool(is_significant(*map(pooled, pair))[0])
    with suppress(ImportError):
        from asv._stats import is_different

        def different(pair: Pair) -> bool:
            # its intervals, the last two, are for those who have too few samples for its test
            return bool(is_different(*map(pooled, pair), {}, {}))

        found["asv (significant)"] = different
        found["asv compare, factor 1.1"] = lambda pair: different(pair) and beyond(pair, 1.1)
    return found


def beyond(pair: Pair, factor: float) -> bool:
    """Whether the medians of all blocks are further apart than ``factor``."""
    a, b = (float(np.median(pooled(side))) for side in pair)
    return max(a, b) > factor * min(a, b)


def pooled(side: Samples) -> list[float]:
    """All blocks of all processes."""
    return [value for rounds in side.values() for value in rounds.values()]


if __name__ == "__main__":
    main()
