"""The fixed overhead and the cost per time step, against lines that are known exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import synthetic
from msgspec import structs
from scipy.stats import t as student

from rnnbench.records import Block, Case
from rnnbench.report.figures import Figure
from rnnbench.report.overhead import Overhead, overheads
from rnnbench.report.page import render
from rnnbench.report.ranking import rank_groups
from rnnbench.results.reading import RunResults
from rnnbench.stats import fit_lines

FIXED_S, STEP_S = (1.0e-4, 1.3e-4, 1.1e-4), (2.0e-6, 2.2e-6, 2.1e-6)
"""Of three processes."""
LENGTHS = (20, 50, 200)


def line(process: int, length: int) -> float:
    return FIXED_S[process] + STEP_S[process] * length


def measured(
    cases: Sequence[Case], seconds: Callable[[int, int], float] = line, processes: int = 3
) -> RunResults:
    """Every case timed without noise; two of three rounds as ``seconds`` says, and one interrupted."""
    blocks = [
        Block(case.key, "train_step", process, number, 0, 10, 10 * seconds(process, case.length) * factor)
        for case in cases
        for process in range(processes)
        for number, factor in enumerate((1.0, 7.0, 1.0))
    ]
    records = tuple(synthetic.record(case) for case in cases)
    return RunResults(synthetic.run(processes=processes), records, tuple(blocks))


def found(results: RunResults) -> tuple[Overhead, ...]:
    return overheads(results, rank_groups(results))


def cases(lengths: Sequence[int] = LENGTHS, **changes: object) -> list[Case]:
    return [synthetic.case(length=length, measure=("train_step",), **changes) for length in lengths]


@pytest.mark.parametrize("lengths", [(20, 50), LENGTHS])
def test_an_exact_line_is_found_with_its_spread_over_processes(lengths: tuple[int, ...]) -> None:
    (each,) = found(measured(cases(lengths)))
    for interval, values in ((each.fixed, FIXED_S), (each.step, STEP_S)):
        half = student.ppf(0.995, 2) * np.std(values, ddof=1) / np.sqrt(3)
        assert interval.value == pytest.approx(np.mean(values), rel=1e-9)
        assert interval.low == pytest.approx(np.mean(values) - half, rel=1e-9)
        assert interval.high == pytest.approx(np.mean(values) + half, rel=1e-9)
        assert interval.processes == 3
    assert each.lengths == lengths
    # of two points a line says nothing of how straight they lie
    assert each.off is None if len(lengths) == 2 else each.off < 0.01


def stepped(results: RunResults, steps: Callable[[int], int | None]) -> RunResults:
    """The same with ``steps`` of the length in every record."""
    records = tuple(replace(record, steps=steps(record.case.length)) for record in results.records)
    return replace(results, records=records)


def test_steps_that_the_task_adds_are_no_overhead() -> None:
    """``copy`` has 20 time steps beside its length."""
    results = measured(cases(), lambda process, length: line(process, length + 20))
    (each,) = found(stepped(results, lambda length: length + 20))
    assert each.fixed.value == pytest.approx(np.mean(FIXED_S), rel=1e-9)
    assert each.step.value == pytest.approx(np.mean(STEP_S), rel=1e-9)
    assert each.lengths == LENGTHS
    # a record without steps is of a run from before they were kept; it is never mixed with others
    (length,) = found(stepped(results, lambda length: None if length == 50 else length + 20))
    assert length.fixed.value == pytest.approx(np.mean(FIXED_S) + 20 * np.mean(STEP_S), rel=1e-9)


def test_lengths_of_equally_many_steps_give_no_line() -> None:
    assert found(stepped(measured(cases((20, 50))), lambda length: 20)) == ()


def test_what_is_no_line_is_seen_to_be_none() -> None:
    (each,) = found(measured(cases(), lambda process, length: 1e-8 * length**2))
    assert each.off is not None
    assert each.off > 0.2


def test_without_overhead_the_fixed_part_is_nothing() -> None:
    (each,) = found(measured(cases(), lambda process, length: STEP_S[process] * length))
    assert each.fixed.value == pytest.approx(0.0, abs=1e-15)
    assert each.step.value == pytest.approx(np.mean(STEP_S), rel=1e-9)


def test_one_process_has_no_interval() -> None:
    (each,) = found(measured(cases(), processes=1))
    assert (each.fixed.value, each.fixed.low) == (pytest.approx(FIXED_S[0], rel=1e-9), None)


def test_only_cases_that_differ_in_nothing_but_length_share_a_line() -> None:
    assert found(measured(cases((20,)))) == ()
    assert found(measured([*cases((20,)), *cases((50,), hidden=128)])) == ()
    both = found(measured([*cases((20, 50)), *cases((20, 50), hidden=128)]))
    assert [each.title for each in both] == ["copy · lstm · H 128", "copy · lstm · H 64"]


def test_a_case_that_is_not_ranked_gives_no_point() -> None:
    results = measured(cases())
    broken = synthetic.record(results.records[2].case, "mismatch")
    (each,) = found(replace(results, records=(*results.records[:2], broken)))
    assert each.lengths == (20, 50)


def test_a_process_that_lacks_a_length_gives_no_line() -> None:
    results = measured(cases())
    key = results.records[0].case.key
    partly = tuple(block for block in results.blocks if (block.case, block.process) != (key, 1))
    (each,) = found(replace(results, blocks=partly))
    assert each.step.processes == 2
    assert each.step.value == pytest.approx((STEP_S[0] + STEP_S[2]) / 2, rel=1e-9)
    none = tuple(block for block in results.blocks if block.case != key or block.process == 7)
    other = structs.replace(results.blocks[0], process=7)
    assert found(replace(results, blocks=(*none, other))) == ()
    with pytest.raises(ValueError, match="no process"):
        fit_lines({20: {0: {0: 1.0}}, 50: {1: {0: 1.0}}})


def test_the_page_states_both() -> None:
    undrawn = (Figure("time", "Time against length", "", ()),)
    html = render(measured(cases((20, 50))), undrawn)
    assert "113 µs" in html
    assert "2.10 µs" in html
    assert "T 20 and 50" in html
    assert "per time step" not in render(measured(cases((20,))), undrawn)
