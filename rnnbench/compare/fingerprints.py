"""Whether two records were measured on like terms: protocol, machine, versions, settings, threads, dtype."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rnnbench.records import Case, Run

MACHINE = (
    "cpu", "cpu_flags", "architecture", "cores", "cores_allowed", "memory_bytes", "container_cores",
    "container_memory_bytes", "os", "python", "governor", "turbo", "gpu", "driver",
)  # fmt: skip
"""What makes a machine another one. Load, steal time and the state of git are moods, not identity."""

MEMORY_TOLERANCE = 0.02
"""A kernel keeps some memory to itself, and not always the same: the total varies by less than this."""

FACTS = ("device", "dtype", "threads", "env")


def unlike_runs(base: Run, head: Run) -> tuple[str, ...]:
    """In what two runs were measured on other terms; what only one of them knows is not held against them."""
    terms = ({"protocol": run.protocol, "block_s": run.block_s} for run in (base, head))
    found = _differences("", *terms)
    then, now = ({key: run.machine[key] for key in MACHINE if key in run.machine} for run in (base, head))
    return tuple(found + _differences("", then, now))


def unlike_workers(base: Run, base_case: Case, head: Run, head_case: Case) -> tuple[str, ...]:
    """In what the workers of two cases differ: versions of the framework, and how it is set."""
    then, now = environment_of(base, base_case), environment_of(head, head_case)
    found: list[str] = []
    for section, strict in (("versions", True), ("settings", False)):
        a, b = then.get(section, {}), now.get(section, {})
        if a and b:
            found += _differences(f"{base_case.backend}: ", a, b, absent=strict)
    return tuple(found)


def environment_of(run: Run, case: Case) -> Mapping[str, Any]:
    """What the worker that measured ``case`` said of itself; empty where the run does not tell."""
    for name, entry in run.environments.items():
        if name.split(", ")[0] != case.backend:
            continue
        if all(entry[fact] == getattr(case, fact) for fact in FACTS if fact in entry):
            return entry
    return {}


def _differences(
    prefix: str, then: Mapping[str, Any], now: Mapping[str, Any], *, absent: bool = False
) -> list[str]:
    keys = then.keys() | now.keys() if absent else then.keys() & now.keys()
    return [
        f"{prefix}{key} {_said(then.get(key))} then, {_said(now.get(key))} now"
        for key in sorted(keys)
        if not _alike(key, then.get(key), now.get(key))
    ]


def _alike(key: str, then: Any, now: Any) -> bool:
    if key.endswith("memory_bytes") and isinstance(then, int | float) and isinstance(now, int | float):
        return abs(then - now) <= MEMORY_TOLERANCE * max(then, now)
    return bool(then == now)


def _said(value: Any) -> str:
    if value is None:
        return "absent"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
