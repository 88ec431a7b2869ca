"""One run from plan to results: names the folder, conducts, and finishes what was begun.

Ctrl-C and errors leave results whole; ``run.json`` then has no ``finished``.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import rnnbench
from rnnbench.contracts import Settings
from rnnbench.errors import RequestError
from rnnbench.measuring.conductor import Outcome, conduct
from rnnbench.measuring.launch import Environment
from rnnbench.measuring.ledger import Progress, writing
from rnnbench.measuring.machine import Watch, describe_machine
from rnnbench.measuring.process import OPEN_LIMIT_S, Worker, WorkerKey, absolute
from rnnbench.measuring.refusals import Refused
from rnnbench.measuring.replication import Replication
from rnnbench.measuring.stations import Protocol
from rnnbench.measuring.workers import Workers
from rnnbench.offers import Offers, offers_of, read_offers
from rnnbench.planning.plan import Plan
from rnnbench.plugins import Plugins
from rnnbench.records import Run
from rnnbench.results import RunResults, create, open_for_resume, open_run
from rnnbench.revisions import describe
from rnnbench.suite.loading import Suite


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
    environments: Sequence[Environment] = (),
    resume: bool = False,
    protocol: Protocol | None = None,
    replication: Replication | None = None,
    again: bool = False,
) -> RunResults:
    """Measure ``plan`` into ``folder`` and return what was written.

    ``environments``: those that cases name, beside the present one, which has ``plugin_files``.
    ``protocol`` and ``replication`` are by default those of the suite. ``again``: these cases went well in
    another run just now, so that they are neither proven nor trained.

    ``resume``: go on with the run in ``folder``. Raises ``RequestError`` where the folder cannot take the
    run or holds one of another plan, ``WriteFailed`` where the disk takes no more.
    """
    suite = plan.suite
    protocol = protocol or Protocol(rounds=suite.rounds)
    replication = replication or Replication(suite.processes, suite.processes)
    terms = _terms(suite, protocol, replication)
    present = Environment(plugin_files=tuple(plugin_files), revision=describe(Path.cwd()))
    begun, begin = datetime.now(UTC), time.monotonic()
    if resume:
        writer, done = open_for_resume(folder)
        try:
            _must_fit(plan, done, folder)
        except RequestError:
            writer.close()
            raise
        run = _begun_again(done.run, terms)
    else:
        done = None
        run = _begun(plan, folder, command, begun, terms)
        writer = create(folder, run)
    earlier_s = run.spent_s
    watch = Watch()

    def keep(outcome: Outcome, finished: str = "") -> None:
        kinds = {*earlier_s, *outcome.spent_s}
        with writing():
            writer.finish(
                replace(
                    run,
                    machine={**run.machine, **watch.seen()},
                    environments={**run.environments, **outcome.environments},
                    findings=(*run.findings, *outcome.findings),
                    spent_s={
                        kind: earlier_s.get(kind, 0.0) + outcome.spent_s.get(kind, 0.0) for kind in kinds
                    },
                    finished=finished,
                )
            )

    with writer:
        outcome = conduct(
            plan,
            plugins,
            writer,
            progress,
            protocol=protocol,
            replication=replication,
            environments=(present, *environments),
            again=again,
            done=done,
            keep=keep,
        )
        # by the clock that nobody sets: an end before its beginning would be no end
        finished = _stamp(begun + timedelta(seconds=time.monotonic() - begin))
        keep(outcome, max(run.started, finished))
    return open_run(folder)


def ask_devices(
    plugins: Plugins, plugin_files: Sequence[str] = ()
) -> tuple[Mapping[str, tuple[str, ...]], Mapping[str, str]]:
    """(backend -> devices, backend -> why it could not be asked), from a worker of each installed backend."""
    return _ask_devices(offers_of(plugins), Environment(plugin_files=tuple(plugin_files)))


def ask_offers(environment: Environment, *, devices: bool = False) -> Offers:
    """What an environment has, from a worker in it; with ``devices`` each of its backends is opened too.

    Raises ``Refused`` where no worker can be started there, or one speaks another protocol.
    """
    worker = Worker(WorkerKey("", Settings(), environment.name), environment=environment, pinned=False)
    try:
        facts = worker.connect()
        files = absolute(environment.plugin_files)
        offers = read_offers(**worker.ask("offers", OPEN_LIMIT_S, plugin_files=files), **facts)
    finally:
        worker.stop()
    return replace(offers, devices=_ask_devices(offers, environment)[0]) if devices else offers


def _ask_devices(
    offers: Offers, environment: Environment
) -> tuple[Mapping[str, tuple[str, ...]], Mapping[str, str]]:
    devices: dict[str, tuple[str, ...]] = {}
    reasons: dict[str, str] = {}
    with Workers((), (), environments=[environment], pinned=False) as workers:
        for name, offer in offers.backends.items():
            if offer.version is None:
                reasons[name] = offer.reason
                continue
            try:
                key = WorkerKey(name, Settings(), environment.name)
                devices[name] = tuple(workers.of(key).opened["devices"])
            except Refused as refused:
                reasons[name] = refused.reason
    return devices, reasons


def _terms(suite: Suite, protocol: Protocol, replication: Replication) -> dict[str, Any]:
    """What a sitting measures, for its run.json: also where it is not what the suite names."""
    return {
        "rounds": protocol.rounds,
        "most_rounds": protocol.most_rounds,
        "block_s": protocol.block_s,
        "processes": replication.start,
        "most_processes": replication.most if replication.most > replication.start else None,
        "budget_s": suite.budget_s,
        "thresholds": suite.thresholds,
    }


def _begun(
    plan: Plan, folder: Path, command: Sequence[str], begun: datetime, terms: Mapping[str, Any]
) -> Run:
    suite = plan.suite
    return Run(
        name=folder.name,
        suite=suite.name,
        about=suite.about,
        command=tuple(command),
        started=_stamp(begun),
        rnnbench=rnnbench.__version__,
        machine=describe_machine(),
        environments={},
        unranked=tuple(name for name, task in plan.tasks.items() if not task.ranked),
        tasks_digest=digest_tasks(plan),
        match=suite.match.sentence if suite.match else "",
        suite_text=suite.document.text,
        **terms,
    )


def _begun_again(run: Run, terms: Mapping[str, Any]) -> Run:
    """What was over budget then is seen anew now."""
    return replace(
        run,
        **terms,
        findings=tuple(finding for finding in run.findings if finding.word != "over_budget"),
    )


def _must_fit(plan: Plan, done: RunResults, folder: Path) -> None:
    planned = {case.key for case in plan.cases} | {refused.case.key for refused in plan.refused}
    strangers = [record.case.key for record in done.records if record.case.key not in planned]
    begun = f"Give the suite and options that it was begun with: {shlex.join(done.run.command)}"
    if plan.suite.name != done.run.suite:
        raise RequestError(
            f'is a run of suite "{done.run.suite}", not of "{plan.suite.name}". {begun}', where=str(folder)
        )
    if strangers:
        raise RequestError(
            f"holds {len(strangers)} cases that this request does not plan, such as {strangers[0]}. {begun}",
            where=str(folder),
        )
    machine = describe_machine()
    then_and_now = {
        "rnnbench": (done.run.rnnbench, rnnbench.__version__),
        "Python": (done.run.machine.get("python"), machine.get("python")),
        "the processor": (done.run.machine.get("cpu"), machine.get("cpu")),
    }
    changed = [f"{what} was {a}, is {b}" for what, (a, b) in then_and_now.items() if a != b]
    if changed:
        raise RequestError(
            f"was measured on other terms: {'; '.join(changed)}. Begin a new run.", where=str(folder)
        )
    if done.run.tasks_digest not in ("", digest_tasks(plan)):
        raise RequestError(
            "the tasks that the suite declares have changed since this run was begun. Begin a new run.",
            where=str(folder),
        )


def digest_tasks(plan: Plan) -> str:
    """Of the tasks that the suite declares on the user's own data, in whichever order."""
    declared = {name: asdict(task) for name, task in plan.suite.tasks.items()}
    return hashlib.sha256(json.dumps(declared, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
