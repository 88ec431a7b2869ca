"""What the page says under "Can I trust it?": what failed, what is doubted, what ran and on what."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from rnnbench.escaping import safe
from rnnbench.records import STATUSES, Measure, Record, Run
from rnnbench.report.words import MISSING, PHASES, digits, labels, listed, size
from rnnbench.results.reading import RunResults
from rnnbench.stacked import Stack
from rnnbench.stats import Samples, noises, summarize

FACTS = ("device", "dtype", "threads", "pinned", "python")
PASSING = ("load", "steal")
"""Facts of a machine that change by the hour."""
MOST_LINES = 300
"""Of a suite, on the page; its file may be longer."""


def evidence(results: RunResults) -> dict[str, Any]:
    """What ``trust.html.j2`` is given."""
    names = labels([record.case for record in results.records])
    return {
        "command": safe(shlex.join(results.run.command), 10_000),
        "suite_text": _lines(results.run.suite_text),
        "troubled": _troubled(results.records, names),
        "findings": _findings(results, names),
        "parity": _parity(results.records, names),
        "machine": [_fact(name, value) for name, value in results.run.machine.items()],
        "environments": [_environment(name, facts) for name, facts in results.run.environments.items()],
        "paths": _paths(results.records, names),
        "fingerprint": fingerprint(results.run),
        "floor": _floor(results),
        "compared_settings": _side_by_side(results.run),
        "citation": citation(results.run),
        "problems": [safe(problem, 2_000) for problem in results.problems],
    }


def citation(run: Run) -> str:
    """How a paper names this run."""
    year = run.started[:4] if run.started[:4].isdigit() else "n.d."
    return (
        f"Cite as: rnnbench contributors ({year}). rnnbench {safe(run.rnnbench, 40)}, protocol "
        f"{run.protocol}: run {safe(run.name, 120)} of suite {safe(run.suite, 120)}, "
        f"started {safe(run.started, 40)}."
    )


def fingerprint(run: Run) -> str:
    """Equal for runs on equal terms: of the machine, all versions and settings, the tasks and the protocol.

    What changes by the hour, such as load, does not count.
    """
    machine = {name: value for name, value in run.machine.items() if not name.startswith(PASSING)}
    environments = {
        name: [facts.get(part) for part in ("devices", "versions", "settings", "python")]
        for name, facts in run.environments.items()
    }
    terms = json.dumps([machine, environments, run.tasks_digest, run.protocol], sort_keys=True, default=str)
    return hashlib.sha256(terms.encode()).hexdigest()[:12]


def _floor(results: RunResults) -> list[dict[str, str]]:
    """By phase: how far rounds spread within a process, and how well times are known over processes."""
    found: dict[Measure, list[Samples]] = {}
    for (_, phase), samples in results.timings.items():
        if any(samples.values()):
            found.setdefault(phase, []).append(samples)
    return [
        {
            "phase": PHASES[phase],
            "times": str(len(found[phase])),
            "noise": f"{median(noises(Stack(found[phase]))):.1%}",
            "known": _known(found[phase]),
        }
        for phase in PHASES
        if phase in found
    ]


def _known(many: Sequence[Samples]) -> str:
    intervals = [summary.interval() for summary in summarize(Stack(many))]
    halves = [
        math.log(each.high / each.low) / 2
        for each in intervals
        if each.low and each.high is not None and math.isfinite(each.high)
    ]
    return f"± {math.expm1(median(halves)):.1%}" if halves else "no interval: screening"


def _side_by_side(run: Run) -> dict[str, Any]:
    """Every setting and version of every environment: a row for each name, a column for each environment."""
    columns = list(run.environments)
    said: dict[str, dict[str, str]] = {}
    for column, facts in run.environments.items():
        own = {name: facts[name] for name in FACTS if name in facts}
        for name, value in (own | dict(facts.get("settings", {}))).items():
            said.setdefault(safe(name, 80), {})[column] = safe(value, 200) or "empty"
    return {
        "columns": [safe(column, 60) for column in columns],
        "rows": [(name, [of.get(column, MISSING) for column in columns]) for name, of in said.items()],
    }


def _troubled(records: Sequence[Record], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Cases that are not ok, those with one status and reason together."""
    found: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.status != "ok":
            found.setdefault((record.status, record.reason), []).append(_named(record, names))
    order = sorted(found.items(), key=lambda item: (STATUSES.index(item[0][0]), item[0][1]))
    return [
        {"status": status.replace("_", " "), "reason": safe(reason, 2_000), "cases": cases}
        for (status, reason), cases in order
    ]


def _findings(results: RunResults, names: Mapping[str, str]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], list[str]] = {}
    for finding in results.run.findings:
        found.setdefault((finding.word, finding.text), []).append("the whole run")
    for record in results.records:
        for finding in record.findings:
            found.setdefault((finding.word, finding.text), []).append(_named(record, names))
    return [
        {"word": safe(word, 40), "text": safe(text, 2_000), "cases": cases}
        for (word, text), cases in found.items()
    ]


def _parity(records: Sequence[Record], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """The worst quantity of each implementation of a cell."""
    worst: dict[tuple[str, str, str], tuple[float, str]] = {}
    for record in records:
        if record.parity is None:
            continue
        place = (names[record.case.key], safe(record.case.cell, 60), safe(record.parity.dtype, 20))
        for quantity, error in record.parity.worst.items():
            # NaN is the worst of all, and compares with nothing
            now = (math.inf if math.isnan(error) else error, safe(quantity, 120))
            worst[place] = max(worst.get(place, now), now)
    return [
        {"place": place, "error": digits(error), "quantity": quantity, "passed": error <= 1.0}
        for place, (error, quantity) in sorted(worst.items())
    ]


def _environment(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": safe(name, 60),
        "devices": listed([safe(device, 60) for device in facts.get("devices", ())]),
        "versions": _pairs(facts.get("versions", {})),
    }


def _paths(records: Sequence[Record], names: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(implementation, cell, kernel path really taken)."""
    found = {(names[r.case.key], safe(r.case.cell, 60), safe(r.path, 200)) for r in records if r.path}
    return sorted(found)


def _lines(text: str) -> list[str]:
    """The first lines of a text, each fit to be shown."""
    lines = [safe(line, 500) for line in text.splitlines()]
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = [f"# and {len(lines) - MOST_LINES} more lines, in run.json"]
    return lines


def _pairs(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(safe(name, 80), safe(value, 200)) for name, value in facts.items()]


def _fact(name: str, value: Any) -> tuple[str, str]:
    if name.endswith("_bytes") and isinstance(value, int | float):
        return safe(name.removesuffix("_bytes"), 80), size(value)
    return safe(name, 80), safe(f"{value:g}" if isinstance(value, float) else value, 400)


def _named(record: Record, names: Mapping[str, str]) -> str:
    case = record.case
    return f"{safe(case.task, 60)} · T {case.length} · {safe(case.cell, 60)} · {names[case.key]}"
