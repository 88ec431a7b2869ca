"""One run from plan to report: names the folder, conducts, and finishes what was begun.

Ctrl-C and errors leave results whole; ``run.json`` then has no ``finished``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import rnnbench
from rnnbench.contracts import Settings
from rnnbench.errors import RequestError
from rnnbench.measuring.conductor import Progress, conduct
from rnnbench.measuring.machine import describe_machine
from rnnbench.measuring.stations import Protocol
from rnnbench.measuring.workers import Refused, Worker, WorkerKey
from rnnbench.planning.plan import Plan
from rnnbench.plugins import Plugins, availability
from rnnbench.records import Run
from rnnbench.results import RunResults, create, open_for_resume, read


def default_folder(suite: str, now: datetime | None = None) -> Path:
    """results/<suite>-<UTC time>, to the second: two runs never meet by chance within a user's hands."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    return Path("results") / f"{suite}-{stamp}"


def run_plan(
    plan: Plan,
    plugins: Plugins,
    progress: Progress,
    *,
    folder: Path,
    command: Sequence[str],
    plugin_files: Sequence[str] = (),
    resume: bool = False,
    protocol: Protocol | None = None,
) -> RunResults:
    """Measure ``plan`` into ``folder`` and return what was written.

    Raises ``RequestError`` where the folder cannot take the run, or where ``resume`` names a run of
    another plan.
    """
    suite = plan.suite
    protocol = protocol or Protocol(rounds=suite.rounds)
    if resume:
        writer, done = open_for_resume(folder)
        run = done.run
        _must_fit(plan, done, folder)
    else:
        done = None
        run = Run(
            name=folder.name,
            suite=suite.name,
            about=suite.about,
            command=tuple(command),
            started=_now(),
            rnnbench=rnnbench.__version__,
            rounds=suite.rounds,
            processes=suite.processes,
            budget_s=suite.budget_s,
            machine=describe_machine(),
            environments={},
        )
        writer = create(folder, run)
    with writer:
        outcome = conduct(
            plan, plugins, writer, progress, protocol=protocol, plugin_files=plugin_files, done=done
        )
        writer.finish(
            replace(
                run,
                environments={**run.environments, **outcome.environments},
                findings=(*run.findings, *outcome.findings),
                spent_s=outcome.spent_s,
                finished=_now(),
            )
        )
    return read(folder)


def ask_devices(
    plugins: Plugins, plugin_files: Sequence[str] = ()
) -> tuple[Mapping[str, tuple[str, ...]], Mapping[str, str]]:
    """(backend -> devices, backend -> why it could not be asked), from a worker of each installed backend."""
    devices: dict[str, tuple[str, ...]] = {}
    reasons: dict[str, str] = {}
    for name, backend in plugins.backends.items():
        version, reason = availability(backend)
        if version is None:
            reasons[name] = reason
            continue
        try:
            worker = Worker(WorkerKey(name, Settings()), plugin_files=plugin_files, pinned=False)
        except Refused as refused:
            reasons[name] = refused.reason
            continue
        devices[name] = tuple(worker.opened["devices"])
        worker.stop()
    return devices, reasons


def _must_fit(plan: Plan, done: RunResults, folder: Path) -> None:
    planned = {case.key for case in plan.cases} | {refused.case.key for refused in plan.refused}
    strangers = [record.case.key for record in done.records if record.case.key not in planned]
    if strangers:
        raise RequestError(
            f"holds {len(strangers)} cases that this request does not plan, such as {strangers[0]}. "
            f"Give the suite and options that it was begun with: {' '.join(done.run.command)}",
            where=str(folder),
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
