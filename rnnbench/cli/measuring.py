"""``run``, ``bench`` and ``plan``: from a request to an exit status."""

from __future__ import annotations

import json as jsonlib
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from rnnbench.cli.console import open_console, say, say_error, tabulate
from rnnbench.errors import RequestError, RnnbenchError
from rnnbench.measuring.interpreters import read_environments
from rnnbench.measuring.launch import Environment
from rnnbench.offers import Offers, offers_of
from rnnbench.planning.estimating import estimate
from rnnbench.planning.plan import Plan, check, needs_devices, plan
from rnnbench.plugins import Plugins, discover
from rnnbench.records import PRESENT
from rnnbench.revisions import describe
from rnnbench.suite.document import KeyPath
from rnnbench.suite.loading import Suite, load_suite, parse_suite
from rnnbench.suite.overrides import Overrides

FAILED = ("mismatch", "diverged", "failed", "crashed", "timeout", "out_of_memory")
"""Statuses that make ``run`` exit with 6: the case could have been measured and was not."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line adds to a suite."""

    overrides: Overrides
    plugin_files: tuple[str, ...]
    envs: tuple[str, ...] = ()


def show_plan(name: str, request: Request, *, json: bool) -> None:
    """Print the cases and the estimate."""
    planned, _, _ = _plan(load_suite(name), request)
    seconds = estimate(planned)
    if json:
        cases = [asdict(case) | {"key": case.key} for case in planned.cases]
        refused = [{"key": r.case.key, "status": r.status, "reason": r.reason} for r in planned.refused]
        matched = {"parameters": planned.parameters} if planned.parameters else {}
        print(jsonlib.dumps({"cases": cases, "refused": refused, "estimate_s": seconds, **matched}))
        return
    console = open_console()
    fields = ["task", "length", "cell", "hidden", "layers", "batch", "backend", "implementation", "device"]
    rows = [[str(getattr(case, field)) for field in fields] for case in planned.cases]
    if planned.parameters:
        fields = [*fields, "parameters"]
        rows = [
            [*row, f"{planned.parameters[case.key]:,}"] for row, case in zip(rows, planned.cases, strict=True)
        ]
    console.print(tabulate(fields, rows, right=("length", "hidden", "layers", "batch", "parameters")))
    if planned.suite.match:
        say(console, planned.suite.match.sentence)
    for reason, count in Counter(f"{r.status}: {r.reason}" for r in planned.refused).items():
        say(console, f"{count} × {reason}")
    _say_assumed(console, planned)
    budget = planned.suite.budget_s
    limit = f"; the budget is {_minutes(budget)}" if budget else ""
    say(console, f"{_cases(planned)}; roughly {_minutes(seconds)} on one ordinary core{limit}")


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
    _refuse_two_folders(out, resume)
    planned, plugins, environments = _plan(load_suite(name), request)
    _refuse_nothing(planned)
    return _measure(
        planned, plugins, environments, request, out=out, resume=resume, json=json, command=command
    )


def bench_suite(
    cells: Sequence[str],
    batch: int,
    length: int,
    hidden: int,
    features: int,
    *,
    threads: int,
    processes: int,
) -> tuple[str, dict[KeyPath, str]]:
    """The suite that ``rnnbench bench`` is, and the option that gave each of its values."""
    names = ", ".join(jsonlib.dumps(cell) for cell in cells)
    text = f"""about: How fast is each backend here? Written by rnnbench bench.
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
    options: dict[KeyPath, str] = {("axes", "cell", n): f"CELL {cell}" for n, cell in enumerate(cells)}
    options |= {
        ("axes", "length", 0): f"-T {length}",
        ("axes", "hidden", 0): f"-H {hidden}",
        ("axes", "batch", 0): f"-B {batch}",
        ("axes", "threads", 0): f"--threads {threads}",
        ("defaults", "processes"): f"--processes {processes}",
        ("tasks", "noise", "features"): f"-I {features}",
    }
    return text, options


def bench(
    text: str,
    options: Mapping[KeyPath, str],
    request: Request,
    *,
    save_suite: Path | None,
    out: Path | None,
    resume: Path | None,
    json: bool,
    command: Sequence[str],
) -> int:
    """Measure the suite of ``bench_suite`` and return the exit status."""
    _refuse_two_folders(out, resume)
    suite = parse_suite(text, name="bench", options=options)
    planned, plugins, environments = _plan(suite, request)
    _refuse_nothing(planned)
    if save_suite is not None and resume is None:
        write_new(save_suite, text)
    return _measure(
        planned, plugins, environments, request, out=out, resume=resume, json=json, command=command
    )


def _refuse_two_folders(out: Path | None, resume: Path | None) -> None:
    if out is not None and resume is not None:
        raise RequestError("goes on in the folder of the run; leave out --out", where="--resume")


def _refuse_nothing(planned: Plan) -> None:
    if planned.cases:
        return
    reasons = Counter(f"{refused.status}: {refused.reason}" for refused in planned.refused)
    listed = "; ".join(f"{count} × {reason}" for reason, count in reasons.items())
    raise RequestError(f"no case can be measured here. {listed}", where=planned.suite.name)


def _measure(
    planned: Plan,
    plugins: Plugins,
    environments: Sequence[Environment],
    request: Request,
    *,
    out: Path | None,
    resume: Path | None,
    json: bool,
    command: Sequence[str],
) -> int:
    # these load NumPy, pandas and SciPy; a wrong suite should be told at once
    from rnnbench.cli.progress import Shown
    from rnnbench.measuring.ledger import WriteFailed
    from rnnbench.report.page import write
    from rnnbench.report.terminal import table
    from rnnbench.results.exporting import export
    from rnnbench.results.reading import RUN
    from rnnbench.running import default_folder, run_plan

    console = open_console(stderr=json)
    folder = resume or out or default_folder(planned.suite.name)
    total = len(planned.cases) + len(planned.refused)
    _say_assumed(console, planned)
    estimated = _minutes(estimate(planned))
    opening = f"{_cases(planned)}, roughly {estimated}; results go to {folder}"
    try:
        with Shown(console, total, opening) as progress:
            results = run_plan(
                planned,
                plugins,
                progress,
                folder=folder,
                command=["rnnbench", *command],
                plugin_files=request.plugin_files,
                environments=environments,
                resume=resume is not None,
            )
        try:
            page = write(results, folder)
        except RequestError as error:  # of the disk, not of the request
            kept = "What was measured is whole. Make room, then: rnnbench report"
            raise RnnbenchError(f"no page was written: {error} {kept} {folder}") from error
    except KeyboardInterrupt:
        if (folder / RUN).exists():
            kept = "Interrupted. What was measured is kept. Go on with"
            say(console, f"{kept}: rnnbench {_resumed(command, folder)}")
        return 130
    except WriteFailed as error:
        if not (folder / RUN).exists():
            raise
        raise WriteFailed(f"{error}. Make room, then: rnnbench {_resumed(command, folder)}") from error
    if json:
        print(export([results], "jsonl").decode(), end="")
    else:
        console.print(table(results))
        for finding in results.run.findings:
            say(console, f"{finding.word}: {finding.text}")
    say(console, f"report: {page}")
    return 6 if any(record.status in FAILED for record in results.records) else 0


def _plan(suite: Suite, request: Request) -> tuple[Plan, Plugins, Sequence[Environment]]:
    plugins = discover_plugins(request.plugin_files)
    devices = None
    asks = needs_devices(suite, request.overrides)
    if asks:
        from rnnbench.running import ask_devices

        devices, reasons = ask_devices(plugins, request.plugin_files)
        for name, reason in reasons.items():
            say_error(f"{name} was not asked for its devices: {reason}")
    environments: Sequence[Environment] = ()
    offers = None
    if request.envs:
        environments = read_environments(request.envs, request.plugin_files, describe(Path.cwd()))
        offers = {PRESENT: offers_of(plugins, devices)}
        offers |= {each.name: _ask(each, devices=asks) for each in environments}
    planned = plan(suite, plugins, overrides=request.overrides, devices=devices, offers=offers)
    return check(planned), plugins, environments


def _ask(environment: Environment, *, devices: bool) -> Offers:
    from rnnbench.measuring.refusals import Refused
    from rnnbench.running import ask_offers

    try:
        return ask_offers(environment, devices=devices)
    except Refused as refused:
        raise RequestError(refused.reason, where=f"--env {environment.name}={environment.python}") from None


def discover_plugins(files: Sequence[str | Path]) -> Plugins:
    """All plugins; each broken one is named on stderr."""
    plugins = discover(files)
    for broken in plugins.broken:
        say_error(f"plugin {broken.name} of {broken.distribution} is broken: {broken.reason}")
    return plugins


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
    return shlex.join([*kept, "--resume", str(folder)])


def _say_assumed(console: Console, planned: Plan) -> None:
    if planned.assumed:
        say(console, f"device {', '.join(planned.assumed)} means cpu here: no backend reports another")


def _cases(planned: Plan) -> str:
    count = len(planned.cases)
    return f"{count} case{'' if count == 1 else 's'}"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def write_new(file: Path, text: str) -> None:
    """Write a file that must not exist yet. Raises ``RequestError``."""
    try:
        with file.open("x", encoding="utf-8", newline="\n") as handle:
            handle.write(text)
    except FileExistsError:
        raise RequestError(
            "exists already and is not overwritten; name another file", where=str(file)
        ) from None
    except OSError as error:
        raise RequestError(f"cannot be written: {error.strerror}", where=str(file)) from None
