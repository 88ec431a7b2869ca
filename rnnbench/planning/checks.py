"""What must hold before a suite is expanded: its names exist, and its parts do not contradict each other."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from rnnbench.cells.at_once import misfit
from rnnbench.contracts import Cell, Task
from rnnbench.errors import nearest
from rnnbench.offers import Offers
from rnnbench.planning.provisions import IMPLEMENTATIONS
from rnnbench.plugins import KNOWN, Plugins
from rnnbench.records import Case
from rnnbench.suite.loading import Row, Suite, Values
from rnnbench.suite.messages import shown
from rnnbench.tasks.declared import declare

MAX_CASES = 100_000
_PROVIDED = ("backend", "implementation", "device")


def all_tasks(suite: Suite, plugins: Plugins) -> dict[str, Task]:
    """The tasks of plugins and those that the suite declares.

    Raises ``RequestError`` where one would hide another.
    """
    tasks = dict(plugins.tasks)
    for name, declaration in suite.tasks.items():
        path = ("tasks", name)
        if name in plugins.tasks:
            origin = plugins.origins.get(("task", name), "a plugin")
            raise suite.error(path, f"{origin} has a task of this name already; choose another")
        tasks[name] = declare(declaration)
    return tasks


def check_names(suite: Suite, plugins: Plugins, tasks: Collection[str], offers: Collection[Offers]) -> None:
    """Raise ``RequestError`` for the first task, cell, backend or implementation that nobody gives."""
    broken = {plugin.name for each in offers for plugin in each.broken}
    known: dict[str, Collection[str]] = {
        "task": tasks,
        "cell": plugins.cells,
        "backend": {*KNOWN, *broken, *(name for each in offers for name in each.backends)},
        "implementation": known_implementations(offers),
    }
    for row in (suite.axes, *suite.include, *suite.exclude):
        for axis in known:
            for name in row.values.get(axis, ()):
                if name not in known[axis]:
                    raise suite.error(suite.path_of(row, axis, name), _no(axis, name, known[axis], plugins))
    for axis, names in known.items():
        default = suite.defaults.get(axis)
        if default is not None and default not in names:
            raise suite.error(("defaults", axis), _no(axis, default, names, plugins))


def check_excluded(suite: Suite, product: Values) -> None:
    """Raise ``RequestError`` for an ``exclude`` value that no case of the product has.

    Axes that backends decide are left alone, and so is an axis that the command line replaced.
    """
    for row in suite.exclude:
        for axis, values in row.values.items():
            if axis in _PROVIDED or suite.from_command_line(axis):
                continue
            for value in values:
                if value not in product[axis]:
                    said = f"no case of axes has {shown(value)} here. {_among(value, product[axis])}"
                    raise suite.error(suite.path_of(row, axis, value), said)


def check_size(suite: Suite, rows: Sequence[Values]) -> None:
    """Raise ``RequestError`` before a product is expanded that nobody could run."""
    count = sum(math.prod(max(1, len(values)) for values in row.values()) for row in rows)
    if count > MAX_CASES:
        message = f"{count:,} cases, before exclude. A plan has at most {MAX_CASES:,}; shorten an axis"
        raise suite.error(("axes",), message)


def check_between(suite: Suite, row: Row, case: Case) -> None:
    """Raise ``RequestError`` for a case that asks for something between layers and has only one."""
    for axis in ("residual", "dropout"):
        value = getattr(case, axis)
        if value and case.layers == 1:
            message = (
                f"{axis} {shown(value)} acts from one layer to the next, and a case has layers 1. "
                f"Give layers of 2 or more, or {axis} {shown(type(value)(0))}"
            )
            raise suite.error(suite.path_of(row, "layers", 1), message)


def check_batch_norm(suite: Suite, row: Row, case: Case) -> None:
    """Raise ``RequestError`` for batch norms that a case has no batch for, or never trains."""
    if case.norm != "batch":
        return
    if case.batch == 1:
        message = (
            "norm batch takes the variance over a batch, and of one sequence that is read at its last step "
            "it is 0. Give a batch of 2 or more, or norm layer"
        )
        raise suite.error(suite.path_of(row, "batch", 1), message)
    if case.train.optimizer == "ridge":
        message = (
            f"a readout that ridge regression fits ({case.cell}) is never trained on a batch, and norm batch "
            "would keep the statistics that it starts with. Give norm none or layer"
        )
        raise suite.error(suite.path_of(row, "norm", "batch"), message)


def check_at_once(suite: Suite, row: Row, case: Case, cells: Mapping[str, Cell], sequences: bool) -> None:
    """Raise ``RequestError`` for what a cell that computes all steps at once cannot be part of."""
    found = misfit(cells[case.cell], case.bidirectional, case.window, sequences)
    if found:
        axis, message = found
        raise suite.error(suite.path_of(row, axis, getattr(case, axis)), message)


def check_score_on(suite: Suite, plugins: Plugins, planned: Collection[str]) -> None:
    """Raise ``RequestError`` for a backend in ``score_on`` on which no case runs."""
    for index, name in enumerate(suite.score_on if isinstance(suite.score_on, tuple) else ()):
        if name not in planned:
            message = f"no case runs on backend {shown(name)}. {_among(name, [*planned, 'fastest', 'all'])}"
            raise suite.error(("defaults", "score_on", index), message)


def known_implementations(offers: Collection[Offers]) -> set[str]:
    """Every name that an environment offers or a suite may use without one."""
    backends = [offer for each in offers for offer in each.backends.values()]
    return {
        *IMPLEMENTATIONS,
        *(name for b in backends for names in b.implementations.values() for name in names),
    }


def _no(axis: str, name: object, known: Collection[str], plugins: Plugins) -> str:
    near = nearest(name, known)
    message = f"no {axis} {shown(name)}. {near}"
    if not near.startswith("Did"):
        message += " One of your own comes from --plugin FILE.py"
    if plugins.broken:
        reasons = "; ".join(f"{plugin.distribution} ({plugin.reason})" for plugin in plugins.broken)
        message += f"{'' if near.startswith('Did') else '.'} Broken plugins: {reasons}"
    return message


def _among(value: object, allowed: Collection[object]) -> str:
    if isinstance(value, str):
        return nearest(value, map(str, allowed))
    return f"Allowed: {', '.join(str(item) for item in allowed)}."
