"""What the harness costs: its medians against a bare loop of the same call, start-up, planning, loading."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnbench.doctor.bare_loop import compare_with_bare_loop
from rnnbench.doctor.overhead import ROUNDS
from rnnbench.planning.plan import plan
from rnnbench.plugins import discover
from rnnbench.suite.loading import parse_suite


@pytest.mark.parametrize("phase", ["forward", "train_step"])
def test_block_against_bare_loop(benchmark: Any, phase: str) -> None:
    """``Bench.block`` ÷ a bare loop of the same call, in alternation: 1.00 ± 0.02 is the goal."""
    ratios = benchmark.pedantic(compare_with_bare_loop, args=(phase, ROUNDS), rounds=1)
    _tell(benchmark, f"block ÷ bare loop, {phase}", ratios)


def test_help(benchmark: Any) -> None:
    """``rnnbench --help``, as a whole process: at most 0.3 s is the goal."""
    program = str(Path(sys.executable).with_name("rnnbench"))
    benchmark.pedantic(
        lambda: subprocess.run([program, "--help"], check=True, capture_output=True), rounds=10
    )


def test_planning_10_000_cases(benchmark: Any) -> None:
    """A plan of about 10,000 cases: at most 1 s is the goal."""
    hidden = ", ".join(str(size) for size in range(1, 316))
    suite = parse_suite(
        f"axes: {{task: [copy], length: [1, 2, 3, 4, 5, 6, 7, 8], cell: [lstm], hidden: [{hidden}]}}"
    )
    plugins = discover()
    planned = benchmark.pedantic(lambda: plan(suite, plugins), rounds=3)
    assert len(planned.cases) == 315 * 8 * len(plugins.backends)


def _tell(benchmark: Any, what: str, ratios: list[float]) -> None:
    low, middle, high = np.percentile(ratios, [10, 50, 90])
    benchmark.extra_info["ratio"] = {"p10": low, "median": middle, "p90": high}
    print(f"\n{what}: {middle:.3f} (10th to 90th percentile {low:.3f} to {high:.3f}, {len(ratios)} pairs)")
