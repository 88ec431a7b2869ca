"""``run``, ``bench`` and ``plan``: from a request to an exit status."""

from __future__ import annotations

import json as jsonlib
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnbench.errors import RequestError
from rnnbench.planning.estimating import estimate
from rnnbench.planning.plan import Plan, check, needs_devices, plan
from rnnbench.plugins import Plugins, discover
from rnnbench.suite.loading import Suite, load_suite, parse_suite
from rnnbench.suite.overrides import Overrides

if TYPE_CHECKING:
    from rnnbench.results import RunResults

FAILED = ("mismatch", "diverged", "failed", "crashed", "timeout", "out_of_memory")
"""Statuses that make ``run`` exit with 6: the case could have been measured and was not."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line adds to a suite."""

    overrides: Overrides
    plugin_files: tuple[str, ...]


def show_plan(name: str, request: Request, *, json: bool) -> None:
    """Print the cases and the estimate."""
    planned, _ = _plan(load_suite(name), request)
    seconds = estimate(planned)
    if json:
        cases = [asdict(case) | {"key": case.key} for case in planned.cases]
        refused = [{"key": r.case.key, "status": r.status, "reason": r.reason} for r in planned.refused]
        print(jsonlib.dumps({"cases": cases, "refused": refused, "estimate_s": seconds}))
        return
    console = Console()
    table = Table(pad_edge=False)
    for heading in (
        "task",
        "length",
        "cell",
        "hidden",
        "layers",
        "batch",
        "backend",
        "implementation",
        "device",
    ):
        table.add_column(
            heading, justify="right" if heading in ("length", "hidden", "layers", "batch") else "left"
        )
    for case in planned.cases:
        fields = (
            case.task, case.length, case.cell, case.hidden, case.layers, case.batch,
            case.backend, case.implementation, case.device,
        )  # fmt: skip
        table.add_row(*(Text(str(field)) for field in fields))
    console.print(table)
    for reason, count in Counter(f"{r.status}: {r.reason}" for r in planned.refused).items():
        console.print(Text(f"{count} × {reason}"))
    _say_assumed(console, planned)
    budget = planned.suite.budget_s
    limit = f"; the budget is {_minutes(budget)}" if budget else ""
    console.print(
        f"{len(planned.cases)} cases; roughly {_minutes(seconds)} on one ordinary core{limit}",
        highlight=False,
    )


def run(
    name: str,
    request: Request,
    *,
    out: Path | None,
    resume: Path | None,
    json: bool,
    command: Sequence[str],
) -> int:
    """Measure a suite and return the exit status."""
    if out is not None and resume is not None:
        raise RequestError("goes on in the folder of the run; leave out --out", where="--resume")
    return _measure(load_suite(name), request, out=out, resume=resume, json=json, command=command)


def bench_suite(
    cells: Sequence[str],
    batch: int,
    length: int,
    hidden: int,
    features: int,
    *,
    threads: int,
    processes: int,
) -> str:
    """The suite that ``rnnbench bench`` is."""
    names = ", ".join(jsonlib.dumps(cell) for cell in cells)
    return f"""about: How fast is each backend here? Written by rnnbench bench.
tasks:
  noise: {{kind: noise, features: {features}}}
axes:
  task: [noise]
  cell: [{names}]
  length: [{length}]
  hidden: [{hidden}]
  batch: [{batch}]
  threads: [{threads}]
defaults:
  measure: [forward, gradients, train_step, memory]
  processes: {processes}
"""


def bench(
    text: str,
    request: Request,
    *,
    save_suite: Path | None,
    out: Path | None,
    json: bool,
    command: Sequence[str],
) -> int:
    """Measure the suite of ``bench_suite`` and return the exit status."""
    suite = parse_suite(text, name="bench")
    if save_suite is not None:
        _plan(suite, request)
        write_new(save_suite, text)
    return _measure(suite, request, out=out, resume=None, json=json, command=command)


def _measure(
    suite: Suite,
    request: Request,
    *,
    out: Path | None,
    resume: Path | None,
    json: bool,
    command: Sequence[str],
) -> int:
    # these load NumPy, pandas and SciPy; a wrong suite should be told at once
    planned, plugins = _plan(suite, request)
    from rnnbench.cli.progress import Shown
    from rnnbench.report.terminal import table
    from rnnbench.running import default_folder, run_plan

    console = Console(stderr=json)
    folder = resume or out or default_folder(planned.suite.name)
    total = len(planned.cases) + len(planned.refused)
    _say_assumed(console, planned)
    console.print(
        f"{len(planned.cases)} cases, roughly {_minutes(estimate(planned))}; results go to {folder}",
        highlight=False,
        markup=False,
    )
    try:
        with Shown(console, total) as progress:
            results = run_plan(
                planned,
                plugins,
                progress,
                folder=folder,
                command=["rnnbench", *command],
                plugin_files=request.plugin_files,
                resume=resume is not None,
            )
    except KeyboardInterrupt:
        if (folder / "run.json").exists():
            console.print(
                f"\nInterrupted. What was measured is kept. Go on with: rnnbench {_resumed(command, folder)}",
                highlight=False,
                markup=False,
            )
        return 130
    page = _write_report(results, folder, planned, plugins)
    if json:
        from rnnbench.exporting import as_json

        print(as_json(results))
    else:
        console.print(table(results, _unranked(planned)))
        for finding in results.run.findings:
            console.print(Text(f"{finding.word}: {finding.text}"))
    console.print(f"report: {page}", highlight=False, markup=False)
    return 6 if any(record.status in FAILED for record in results.records) else 0


def _plan(suite: Suite, request: Request) -> tuple[Plan, Plugins]:
    plugins = discover(request.plugin_files)
    for broken in plugins.broken:
        print(
            f"rnnbench: plugin {broken.name} of {broken.distribution} is broken: {broken.reason}",
            file=sys.stderr,
        )
    devices = None
    if needs_devices(suite, request.overrides):
        from rnnbench.running import ask_devices

        devices, _ = ask_devices(plugins, request.plugin_files)
    planned = plan(suite, plugins, overrides=request.overrides, devices=devices)
    check(planned)
    return planned, plugins


def _write_report(results: RunResults, folder: Path, planned: Plan, plugins: Plugins) -> Path:
    from rnnbench.report.page import write

    return write(results, folder, _unranked(planned))


def _unranked(planned: Plan) -> list[str]:
    return [name for name, task in planned.tasks.items() if not task.ranked]


def _resumed(command: Sequence[str], folder: Path) -> str:
    """The command line that goes on: the same request, its --out or --resume replaced."""
    kept, skip = [], False
    for word in command:
        if skip:
            skip = False
        elif word in ("--out", "--resume"):
            skip = True
        elif not word.startswith(("--out=", "--resume=")):
            kept.append(word)
    return " ".join([*kept, "--resume", str(folder)])


def _say_assumed(console: Console, planned: Plan) -> None:
    if planned.assumed:
        console.print(f"device {', '.join(planned.assumed)} means cpu here: no backend reports another")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def write_new(file: Path, text: str) -> None:
    """Write a file that must not exist yet. Raises ``RequestError``."""
    try:
        with file.open("x") as handle:
            handle.write(text)
    except FileExistsError:
        raise RequestError(
            "exists already and is not overwritten; name another file", where=str(file)
        ) from None
    except OSError as error:
        raise RequestError(f"cannot be written: {error.strerror}", where=str(file)) from None
