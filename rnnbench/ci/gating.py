"""Measure both sides, compare them, and measure again what is flagged."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rnnbench.ci.overlay import imported_from
from rnnbench.ci.revising import BASE, Sides
from rnnbench.compare import Comparison, compare_axis, confirm
from rnnbench.errors import RequestError
from rnnbench.measuring.budget import Budget
from rnnbench.measuring.launch import Environment
from rnnbench.measuring.ledger import Progress
from rnnbench.measuring.process import STRANGE
from rnnbench.measuring.refusals import Refused
from rnnbench.measuring.replication import Replication
from rnnbench.measuring.stations import COMPARING, Protocol
from rnnbench.offers import Offer, Offers
from rnnbench.planning.plan import Plan, check, needs_devices, plan
from rnnbench.plugins import Plugins, discover
from rnnbench.running import ask_offers, run_plan
from rnnbench.suite.loading import Suite
from rnnbench.suite.overrides import Overrides

AGAIN = "again"
"""Folder below that of the run: the flagged cases, measured again."""

FIRST_SHARE = 0.6
"""Of the budget: what is flagged must be measured again, or a regression would end as inconclusive."""

PROCESSES_LEAST, PROCESSES_MOST = 6, 20
_NOTHING = (
    "no case is ok on both sides, so nothing was compared; where a revision has to be built before it can be "
    "imported, give --install COMMAND"
)
_UNUSED = (
    "neither side imported anything of the project, so both are the same code; name what is measured with "
    "--plugin FILE, or install the project so that its plugin is found"
)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much ``ci`` measures: six fresh processes and ten rounds at the least, more where it is noisy.

    What is given here holds, whatever the suite says.
    """

    replication: Replication | None = None
    protocol: Protocol | None = None

    def processes(self, suite: Suite) -> Replication:
        """As many as are asked for on the command line; a suite's own number is meant for ``run``."""
        if self.replication is not None:
            return self.replication
        if suite.document.places.get(("defaults", "processes"), "").startswith("--set"):
            return Replication(suite.processes, suite.processes)
        return Replication(start=PROCESSES_LEAST, most=PROCESSES_MOST)

    def rounds(self, suite: Suite) -> Protocol:
        """As many as the suite or the command line names."""
        if self.protocol is not None:
            return self.protocol
        if ("defaults", "rounds") in suite.document.places:
            return Protocol(rounds=suite.rounds)
        return COMPARING


@contextmanager
def project_plugins(sides: Sides) -> Iterator[Plugins]:
    """Cells and tasks, which this process computes with: the head's, or the base's where those are broken.

    Raises ``RequestError`` where neither can be loaded.
    """
    side = sides.head if _loads(sides.head) else sides.base
    with imported_from(side):
        yield discover(side.plugin_files)


def _loads(side: Environment) -> bool:
    with imported_from(side):
        try:
            discover(side.plugin_files)
        except RequestError:
            return False
        return True


def plan_sides(suite: Suite, sides: Sides, plugins: Plugins, overrides: Overrides) -> Plan:
    """Every case on both sides, with what each side offers.

    Raises ``RequestError`` as ``plan`` does, and where neither side can be asked.
    """
    devices = needs_devices(suite, overrides)
    offers: dict[str, Offers] = {}
    refused: dict[str, str] = {}
    for side in sides.environments:
        try:
            offers[side.name] = ask_offers(side, devices=devices)
        except Refused as refusal:
            refused[side.name] = refusal.reason
    if not offers:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise RequestError(f"neither side can be measured. {reasons}", where="ci")
    for name, reason in refused.items():
        offers[name] = _failing(next(iter(offers.values())), reason)
    ordered = {side.name: offers[side.name] for side in sides.environments}
    return check(plan(suite, plugins, overrides=overrides, offers=ordered))


def measure(
    planned: Plan,
    plugins: Plugins,
    sides: Sides,
    progress: Progress,
    *,
    folder: Path,
    command: Sequence[str],
    effort: Effort,
) -> Comparison:
    """The verdict on the head, flagged cases confirmed. The second run is in ``AGAIN``, below ``folder``."""

    def run(of: Plan, into: Path, again: bool) -> Comparison:
        results = run_plan(
            of,
            plugins,
            progress,
            folder=into,
            command=command,
            environments=sides.environments,
            protocol=effort.rounds(of.suite),
            replication=effort.processes(of.suite),
            again=again,
        )
        found = compare_axis(results, "env", BASE)
        notes = [finding.text for finding in results.run.findings]
        if sum(finding.word == "not_imported" for finding in results.run.findings) == len(sides.environments):
            # the same code twice is no proof of anything
            return replace(found, rows=(), newly_ok=(), notes=(_UNUSED, *found.notes))
        return replace(found, notes=(*found.notes, *notes))

    budget = Budget(planned.suite.budget_s)
    found = run(_within(planned, budget.total_s), folder, False)
    for each in (*found.newly_ok, *found.newly_failing, *found.still_failing, *found.new):
        if STRANGE in each.reason:
            raise RequestError(each.reason, where="ci")
    if found.flagged:
        keys = {case.key for row in found.flagged for case in (row.base_case, row.case)}
        again = _only(planned, keys, budget)
        left_s = again.suite.budget_s
        within = f", in the {left_s:.0f} s that the budget leaves" if left_s is not None else ""
        progress.note(f"{len(found.flagged)} flagged: measured again by fresh processes{within}")
        found = confirm(found, run(again, folder / AGAIN, True))
    else:
        found = replace(found, confirmed=True)
    if not found.comparable:
        # that the base fails is no proof that the head is as fast: a gate that measured nothing must not pass
        reasons = (each.reason for each in (*found.newly_ok, *found.still_failing, *found.vanished))
        said = (_NOTHING, *dict.fromkeys(reason for reason in reasons if reason))
        found = replace(found, newly_ok=(), notes=(*said, *found.notes))
    base, head = sides.sources
    return replace(
        found,
        base=replace(found.base, source=base),
        head=replace(found.head, source=head),
        notes=(*sides.notes, *found.notes),
    )


def _within(planned: Plan, budget_s: float | None) -> Plan:
    """The plan with the first measurement's share of the budget."""
    share_s = None if budget_s is None else FIRST_SHARE * budget_s
    return replace(planned, suite=replace(planned.suite, budget_s=share_s))


def _only(planned: Plan, keys: Collection[str], budget: Budget) -> Plan:
    """The cases of ``keys``, with what is left of the budget: it is that of the whole gate."""
    left_s = None if budget.total_s is None else max(1.0, budget.remaining_s())
    cases = tuple(case for case in planned.cases if case.key in keys)
    return replace(planned, suite=replace(planned.suite, budget_s=left_s), cases=cases, refused=())


def _failing(other: Offers, reason: str) -> Offers:
    """All that the other side has, and fails here."""
    backends: Mapping[str, Offer] = {
        name: replace(offer, errors=dict.fromkeys(offer.implementations, reason))
        for name, offer in other.backends.items()
    }
    return replace(other, backends=backends)
