"""What follows from times, operations and first calls: throughput, share of the peak, break-even."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rnnbench.breakeven import break_even_calls
from rnnbench.records import TIMED, Case, Measure, Record, Run
from rnnbench.results.reading import RunResults

Derived = dict[str, float]
Medians = Mapping[tuple[str, Measure], float]
"""(case key, phase) -> seconds of a call."""

COLUMNS = ("sequences_per_s", "steps_per_s", "flops", "flops_per_s", "peak_share", "break_even_calls")
DERIVED = tuple(
    f"{phase}_{name}" for phase in TIMED for name in COLUMNS if (phase, name) != ("stream", "sequences_per_s")
)
"""Of each timed phase, prefixed with its name; ``stream`` has no sequences."""


def derive(results: RunResults, medians: Medians) -> Mapping[str, Derived]:
    """Case key -> those of the columns ``DERIVED`` that it has.

    ``steps_per_s`` are time steps of all sequences, padding included, and those that the task adds to its
    length. ``peak_share``: FLOP/s ÷ the best matrix product of the same worker. ``break_even_calls``: of
    ``compiled``, against the fastest other implementation of the same backend in its group; infinity where
    it never pays.
    """
    peaks = _peaks(results.run)
    derived = {
        record.case.key: {f"{phase}_{name}": value for phase, name, value in _rates(record, medians, peaks)}
        for record in results.records
    }
    compiled = [record for record in results.records if record.case.implementation == "compiled"]
    beside: dict[_Where, list[Record]] = {}
    for record in results.records if compiled else ():
        beside.setdefault(_place(record.case), []).append(record)
    for record in compiled:
        others = [each for each in beside[_place(record.case)] if each is not record]
        for phase, calls in _break_even(record, others, medians):
            derived[record.case.key][f"{phase}_break_even_calls"] = calls
    return derived


_Where = tuple[Any, ...]


def _place(case: Case) -> _Where:
    """Shared by the implementations of one function on one backend and device."""
    return (case.group, case.backend, case.device, case.env)


def _rates(
    record: Record, medians: Medians, peaks: Mapping[_Where, float]
) -> Iterator[tuple[Measure, str, float]]:
    case = record.case
    # a run from before steps were kept has only the length
    length = case.length if record.steps is None else record.steps
    for phase in TIMED:
        call_s = medians.get((case.key, phase))
        if call_s is None:
            continue
        sequences, steps = (1, 1) if phase == "stream" else (case.batch, case.batch * length)
        if phase != "stream":
            yield phase, "sequences_per_s", sequences / call_s
        yield phase, "steps_per_s", steps / call_s
        if phase in record.flops:
            yield phase, "flops", record.flops[phase]
            flops_per_s = record.flops[phase] / call_s
            yield phase, "flops_per_s", flops_per_s
            peak = peaks.get((case.backend, case.env, case.device, case.dtype, case.threads))
            if peak is not None:
                yield phase, "peak_share", flops_per_s / peak


def _peaks(run: Run) -> dict[_Where, float]:
    return {
        tuple(said.get(name) for name in ("backend", "env", "device", "dtype", "threads")): peak
        for said in run.environments.values()
        if (peak := said.get("peak_flops_per_s")) is not None
    }


def _break_even(
    record: Record, others: Sequence[Record], medians: Medians
) -> Iterator[tuple[Measure, float]]:
    for phase in TIMED:
        first, timed = f"first_{phase}_s", []
        for other in others:
            other_call_s = medians.get((other.case.key, phase))
            if other_call_s is not None and first in other.phases:
                timed.append((other_call_s, other.phases[first]))
        call_s = medians.get((record.case.key, phase))
        if timed and call_s is not None and first in record.phases:
            other_call_s, other_first_s = min(timed)
            yield phase, break_even_calls(record.phases[first], call_s, other_first_s, other_call_s)
