"""``doctor``: what disturbs measuring here, and what size of change can be seen."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from rich.console import Console

from rnnbench.cli.console import open_console, say, tabulate
from rnnbench.cli.measuring import discover_plugins
from rnnbench.errors import RequestError, nearest

if TYPE_CHECKING:
    from rnnbench.compare import Row
    from rnnbench.doctor.advice import Advice
    from rnnbench.doctor.kernels import Opened
    from rnnbench.doctor.selftest import SelfTest


def doctor(
    *,
    self_test: bool,
    quick: bool,
    backends: Sequence[str],
    plugin_files: Sequence[Path],
    out: Path | None,
    json: bool,
) -> int:
    """Examine the machine and return the exit status: 6 where the self-test could not measure a case."""
    from rnnbench.doctor import checks, kernels, readings
    from rnnbench.measuring.machine import describe_machine

    for option, given in (("--quick", quick), ("--out", out is not None)):
        if given and not self_test:
            raise RequestError("belongs to --self-test; give that too, or leave it out", where=option)
    plugins = discover_plugins([str(file) for file in plugin_files])
    for name in backends:
        if name not in plugins.backends:
            raise RequestError(f'no backend "{name}". {nearest(name, plugins.backends)}', where="--backend")
    console = open_console(stderr=json)
    seen = readings.read()
    files = [str(file) for file in plugin_files]
    opened = kernels.open_backends(
        plugins, backends or list(plugins.backends), files, lambda text: say(console, text, style="dim")
    )
    findings = (
        *checks.examine(seen),
        *kernels.examine_backends(opened, seen.machine, seen.gpus),
    )
    unseen = checks.unseen(seen)
    if not json:
        _show(console, findings, unseen, opened)
    tested = _test(console, quick, out) if self_test else None
    if json:
        found: dict[str, Any] = {
            "findings": [asdict(finding) for finding in findings],
            "unseen": unseen,
            "machine": describe_machine(),
            "backends": [asdict(backend) for backend in opened],
        }
        if tested is not None:
            found["self_test"] = _as_json(tested)
        print(to_json(found, inf_nan_mode="strings").decode())
    elif tested is not None:
        _show_test(console, tested)
    return 6 if tested is not None and tested.lost else 0


def _show(
    console: Console, findings: Sequence[Advice], unseen: Sequence[str], opened: Sequence[Opened]
) -> None:
    for backend in opened:
        if not backend.reason:
            versions = ", ".join(f"{name} {version}" for name, version in backend.versions.items())
            say(console, f"{backend.backend}: opened in {backend.import_s:.1f} s; {versions}")
    for finding in findings:
        say(console, f"{finding.word}: {finding.text}.")
        say(console, f"  to do: {finding.remedy}")
    if not findings:
        say(console, "Nothing was found here that disturbs measuring.")
    if unseen:
        say(console, f"Cannot be seen here, and may disturb: {', '.join(unseen)}.")


def _test(console: Console, quick: bool, out: Path | None) -> SelfTest:
    # these load pandas and SciPy; a wrong option should be told at once
    from rnnbench.cli.progress import Shown
    from rnnbench.doctor.selftest import QUICK, WHOLE, self_test

    size = QUICK if quick else WHOLE
    count = size.networks
    opening = f"self-test: {count} networks against themselves and with 5 % more time steps, in turns"
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rnnbench-selftest-")))
        progress = stack.enter_context(Shown(console, 3 * count, opening))
        return self_test(folder, progress, size)


def _show_test(console: Console, tested: SelfTest) -> None:
    from rnnbench.doctor.selftest import describe

    headings = ("network", "same code ÷ itself", "verdict", "+5 % time steps ÷ base", "verdict of +5 %")
    slower = {describe(row.case): row for row in tested.slower}
    rows = [
        (name, _ratio(row), row.verdict, *((_ratio(other), other.verdict) if other else ("", "")))
        for row in tested.identical
        for name in [describe(row.case)]
        for other in [slower.get(name)]
    ]
    console.print(tabulate(headings, rows))
    for record in tested.lost:
        say(console, f"{record.status}: {describe(record.case)}: {record.reason}")
    for text in tested.cut:
        say(console, f"cut short: {text}")
    for line in summarise(tested):
        say(console, line)


def summarise(tested: SelfTest) -> tuple[str, ...]:
    """What a self-test says, in sentences."""
    alarms = f"{tested.false_alarms} of {len(tested.identical)} identical pairs were flagged"
    if tested.alarms_unconfirmed:
        alarms += f" ({tested.alarms_unconfirmed} more once, and not again by fresh processes)"
    cost = "" if tested.slowdown is None else f" (they cost {tested.slowdown:+.1%} here)"
    least = (
        "some pairs are too noisy to say what size of change can be seen here"
        if tested.detectable is None
        else f"smallest change that can be seen here: {tested.detectable:.1%}, the median over the networks"
    )
    overhead = tested.overhead
    spread = f"{overhead.low:.3f} to {overhead.high:.3f}"
    return (
        f"self-test {'passed' if tested.passed else 'not passed'}, in {tested.spent_s / 60:.0f} min",
        alarms,
        f"5 % more time steps were found in {tested.found} of {len(tested.slower)} networks{cost}",
        least,
        f"block ÷ bare loop of the same call: {overhead.median:.3f} ({spread})",
    )


def _ratio(row: Row) -> str:
    if row.ratio is None:
        return ""
    bounds = "" if row.ratio.low is None else f" ({row.ratio.low:.3f} to {row.ratio.high:.3f})"
    return f"{row.ratio.value:.3f}{bounds}"


def _as_json(tested: SelfTest) -> dict[str, Any]:
    def rows(given: Sequence[Row]) -> list[dict[str, Any]]:
        return [
            {
                "case": row.case.key,
                "base": row.base_case.key,
                "verdict": row.verdict,
                "ratio": row.ratio and asdict(row.ratio),
                "detectable": row.detectable,
                "text": row.text,
            }
            for row in given
        ]

    return {
        "passed": tested.passed,
        "identical": rows(tested.identical),
        "slower": rows(tested.slower),
        "false_alarms": tested.false_alarms,
        "alarms_unconfirmed": tested.alarms_unconfirmed,
        "found": tested.found,
        "slowdown": tested.slowdown,
        "detectable": tested.detectable,
        "lost": [{"case": r.case.key, "status": r.status, "reason": r.reason} for r in tested.lost],
        "cut": tested.cut,
        "overhead": asdict(tested.overhead),
        "spent_s": tested.spent_s,
    }
