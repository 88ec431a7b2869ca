"""Suite -> Plan: every case that will be measured, and every one that cannot be, with its reason.

A plan depends only on the suite, the plugins and the devices that it is given: it never imports a
framework, never opens a device, and never reads the data of a task (``check`` does that), but where
numbers of parameters are matched: they depend on how many features and outputs the data has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from itertools import product
from typing import Any, NamedTuple

from rnnbench.cells.at_once import no_step
from rnnbench.cells.decoding import NO_FLOW
from rnnbench.cells.streaming import NO_STREAM, NO_STREAM_OF_SEQUENCES
from rnnbench.contracts import Cell, FixedCell, NetworkSpec, SequenceCell, Task, TaskData
from rnnbench.errors import RequestError, Unavailable, nearest
from rnnbench.offers import Offers, offers_of
from rnnbench.planning.checks import (
    all_tasks,
    check_at_once,
    check_batch_norm,
    check_between,
    check_excluded,
    check_names,
    check_score_on,
    check_size,
)
from rnnbench.planning.decoders import check_decoding, decodes
from rnnbench.planning.networks import match_hidden, matched_parameters, network_spec
from rnnbench.planning.provisions import Provider, Provision
from rnnbench.plugins import Plugins
from rnnbench.records import PRESENT, Case, Status
from rnnbench.suite.format import AXES, TRAINED
from rnnbench.suite.loading import Match, Row, Suite, Value, Values
from rnnbench.suite.overrides import Overrides, override

_PLAIN = tuple(axis for axis in AXES if axis not in ("backend", "implementation", "device"))
_CASE_DEFAULTS: dict[str, Any] = {
    item.name: item.default for item in fields(Case) if item.default is not MISSING
}


class Planned(NamedTuple):
    """A case, and whether it will run; where it will not, what its record will say."""

    case: Case
    status: Status
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """``suite`` is the one that was planned, the command line's changes included.

    ``tasks`` holds all tasks by name, declared ones included. ``assumed`` names the device words (auto,
    all) that were read as cpu. ``lengths``: (task, length) of every case -> the row that asks for it.
    ``parameters``: case key -> those that count, where the suite matches them.
    """

    suite: Suite
    cases: tuple[Case, ...]
    refused: tuple[Planned, ...] = ()
    tasks: Mapping[str, Task] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    lengths: Mapping[tuple[str, int], Row] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)


def plan(
    suite: Suite,
    plugins: Plugins,
    *,
    overrides: Overrides | None = None,
    devices: Mapping[str, tuple[str, ...]] | None = None,
    offers: Mapping[str, Offers] | None = None,
) -> Plan:
    """All cases of a suite. Cases that are compared stand together: environments and backends vary fastest.

    ``exclude`` takes cases out of the product of ``axes``; ``include`` rows are added after it.

    ``devices`` decides the words auto (the first that is not cpu, else cpu) and all, and refuses a device
    that a backend does not report. Only a worker can ask a framework for its devices; without them (None,
    or a backend left out) both words are read as cpu, which ``Plan.assumed`` says, and a device that is
    named stays for the worker to find or refuse. ``needs_devices`` tells beforehand whether to ask.

    A cell that learns nothing itself is trained by ridge regression, whatever the suite says of others, and
    then evaluated once.

    ``offers``: environment -> what it has; every case is planned in each. Without it there is the present
    one, with ``plugins`` and ``devices``. Cells and tasks are always those of ``plugins``.

    Raises ``RequestError``, located in the suite or at the command-line option, for a name that does not
    exist, for settings that contradict each other, and where no case is left.
    """
    overrides = overrides or Overrides()
    suite = override(suite, overrides)
    tasks = all_tasks(suite, plugins)
    if offers is None:
        offers = {PRESENT: offers_of(plugins, devices)}
    check_names(suite, plugins, tasks, offers.values())
    installed = _installed(offers.values())
    asked = (suite.axes, *suite.include)
    rows = [(row, _complete(suite, row, plugins, tasks, installed)) for row in asked]
    check_excluded(suite, rows[0][1])
    check_size(suite, [values for _, values in rows])
    providers = {env: Provider(each, env) for env, each in offers.items()}
    kept: dict[str, tuple[Row, Planned]] = {}
    matching = _Matching(suite, suite.match, tasks, plugins.cells) if suite.match else None
    for row, values in rows:
        for planned in _expand(suite, values, providers, plugins.cells, tasks):
            if row is suite.axes and _is_excluded(planned.case, suite):
                continue
            check_between(suite, row, planned.case)
            check_batch_norm(suite, row, planned.case)
            check_decoding(suite, row, planned.case, tasks)
            check_at_once(suite, row, planned.case, plugins.cells, decodes(tasks[planned.case.task]))
            planned = matching.fit(row, planned) if matching else planned
            key = planned.case.key
            if kept.setdefault(key, (row, planned))[1].case != planned.case:
                raise RequestError(f"two cases have the key {key}; leave one of them out", where=suite.name)
    if not kept:
        raise suite.error(("exclude",), "takes out every case; nothing is left to measure")
    check_score_on(suite, plugins, {planned.case.backend for _, planned in kept.values()})
    selected = [it for key, it in kept.items() if overrides.select in key]
    if not selected:
        message = f"none of {len(kept):,} cases has this in its key, such as {next(iter(kept))}"
        raise RequestError(message, where=f"-k {overrides.select}")
    lengths: dict[tuple[str, int], Row] = {}
    for row, planned in selected:
        if planned.status == "ok":
            lengths.setdefault(_at(planned.case), row)
    return Plan(
        suite=suite,
        cases=tuple(planned.case for _, planned in selected if planned.status == "ok"),
        refused=tuple(planned for _, planned in selected if planned.status != "ok"),
        tasks=tasks,
        assumed=tuple(dict.fromkeys(word for each in providers.values() for word in each.assumed)),
        lengths=lengths,
        parameters=matching.parameters if matching else {},
    )


def needs_devices(suite: Suite, overrides: Overrides | None = None) -> bool:
    """Whether a case may run elsewhere than on the cpu, so that backends should be asked for devices."""
    suite = override(suite, overrides or Overrides())
    inherited = suite.axes.values.get("device", (suite.defaults.get("device", "cpu"),))
    return any({*row.values.get("device", inherited)} != {"cpu"} for row in (suite.axes, *suite.include))


def check(plan: Plan) -> Plan:
    """Prepare the data of every task at every length, once, before anything is measured.

    Raises ``RequestError`` for a length that a task's data cannot give: at the suite's line, or at the
    ``--set`` that changed this task. Cases whose data is not here become ``skipped``, those whose task
    fails otherwise ``failed``.
    """
    lost: dict[tuple[str, int], tuple[Status, str]] = {}
    for (task, length), row in plan.lengths.items():
        found = _prepare(plan.suite, plan.tasks, row, task, length)
        if isinstance(found, tuple):
            lost[task, length] = found
    refused = [Planned(case, *lost[case.task, case.length]) for case in plan.cases if _at(case) in lost]
    cases = tuple(case for case in plan.cases if _at(case) not in lost)
    return replace(plan, cases=cases, refused=(*plan.refused, *refused))


def _prepare(
    suite: Suite, tasks: Mapping[str, Task], row: Row, task: str, length: int
) -> TaskData | tuple[Status, str]:
    """The task's data, or why there is none."""
    try:
        return tasks[task].prepare(length)
    except RequestError as error:
        path = suite.option_of(task) or suite.path_of(row, "length", length)
        raise suite.error(path, f'task "{task}" at length {length}: {error}') from None
    except Unavailable as error:
        return "skipped", str(error)
    except Exception as error:  # a plugin's task may raise anything; the others go on
        return "failed", f'task "{task}": {type(error).__name__}: {error}'


class _Matching:
    """Gives each case the hidden size that the suite's ``match`` asks for; searches once for each network."""

    def __init__(
        self, suite: Suite, match: Match, tasks: Mapping[str, Task], cells: Mapping[str, Cell]
    ) -> None:
        self._suite, self._match, self._tasks, self._cells = suite, match, tasks, cells
        self._data: dict[tuple[str, int], TaskData | tuple[Status, str]] = {}
        self._hidden: dict[NetworkSpec, int] = {}
        self.parameters: dict[str, int] = {}

    def fit(self, row: Row, planned: Planned) -> Planned:
        """Raises ``RequestError`` where no size fits; a case whose data is not here is refused."""
        case = planned.case
        if _at(case) not in self._data:
            self._data[_at(case)] = _prepare(self._suite, self._tasks, row, *_at(case))
        data = self._data[_at(case)]
        if isinstance(data, tuple):
            return Planned(case, *data)
        cell, spec = self._cells[case.cell], network_spec(case, data.shape)
        if spec not in self._hidden:
            try:
                self._hidden[spec] = match_hidden(cell, spec, self._match)
            except RequestError as error:
                raise self._suite.error(("defaults", "match", "parameters"), str(error)) from None
        spec = replace(spec, hidden=self._hidden[spec])
        case = replace(case, hidden=spec.hidden)
        self.parameters[case.key] = matched_parameters(cell, spec, self._match)
        return planned._replace(case=case)


def _at(case: Case) -> tuple[str, int]:
    return case.task, case.length


def _complete(
    suite: Suite, row: Row, plugins: Plugins, tasks: Mapping[str, Task], installed: tuple[str, ...]
) -> Values:
    """Every axis of a row: its own values, else those of axes, of defaults, or of a case."""
    values: dict[str, tuple[Value, ...]] = {
        **{axis: (_CASE_DEFAULTS[axis],) for axis in _PLAIN if axis in _CASE_DEFAULTS},
        **{axis: (getattr(suite.train, axis),) for axis in TRAINED},
        "implementation": (),
        "device": ("cpu",),
        **({"task": tuple(suite.tasks)} if suite.tasks else {}),
        **{axis: (value,) for axis, value in suite.defaults.items()},
        **suite.axes.values,
        **row.values,
    }
    known = {"task": nearest("", tasks), "cell": nearest("", plugins.cells), "length": "Give [20, 100], say."}
    for axis, said in known.items():
        if axis not in values:
            raise suite.error((*row.path, axis), f"is missing. {said}")
    if "backend" not in values:
        if not installed:
            message = "no backend is installed. Install one with: pip install rnnbench-torch"
            raise suite.error(("axes", "backend"), message)
        values["backend"] = installed
    return values


def _installed(offers: Iterable[Offers]) -> tuple[str, ...]:
    names = [name for each in offers for name, it in each.backends.items() if it.version is not None]
    return tuple(dict.fromkeys(names))


def _expand(
    suite: Suite,
    values: Values,
    providers: Mapping[str, Provider],
    cells: Mapping[str, Cell],
    tasks: Mapping[str, Task],
) -> Iterator[Planned]:
    for combination in product(*(values[axis] for axis in _PLAIN)):
        plain: dict[str, Any] = dict(zip(_PLAIN, combination, strict=True))
        sequences = decodes(tasks[plain["task"]])
        train = replace(suite.train, **{axis: plain.pop(axis) for axis in TRAINED})
        if isinstance(cells[plain["cell"]], FixedCell) and train.optimizer != "ridge":
            train = replace(train, optimizer="ridge", evaluate_every=train.steps)
        for backend in values["backend"]:
            # the same on all sides: an environment that prefers another one is not another question
            preferred = (
                name for each in providers.values() for name in each.preferred(backend, plain["cell"])
            )
            asked = values["implementation"] or (
                ("portable",) if sequences else tuple(dict.fromkeys(preferred))
            )
            for env, it in _provided(providers, backend, plain["cell"], asked, values["device"]):
                case = Case(
                    **plain,
                    backend=it.backend,
                    implementation=it.implementation,
                    device=it.device,
                    env=env,
                    train=train,
                    measure=suite.measure,
                )
                unmeasured = _unmeasured(case, cells[case.cell], sequences) if it.status == "ok" else ""
                if unmeasured:
                    yield Planned(case, "unsupported", unmeasured)
                else:
                    yield Planned(case, it.status, it.reason)


def _unmeasured(case: Case, cell: Cell, sequences: bool) -> str:
    """Why something that is to be measured cannot be had of any network of this structure; "" if it can."""
    for phase in ("stream", "gradient_flow"):
        if phase in case.measure and isinstance(cell, SequenceCell):
            return no_step(cell, phase)
    if "gradient_flow" in case.measure and sequences:
        return NO_FLOW
    if "stream" in case.measure and case.bidirectional != "none":
        return NO_STREAM
    return NO_STREAM_OF_SEQUENCES if "stream" in case.measure and sequences else ""


def _provided(
    providers: Mapping[str, Provider],
    backend: str,
    cell: str,
    implementations: tuple[str, ...],
    devices: tuple[str, ...],
) -> Iterator[tuple[str, Provision]]:
    for env, provider in providers.items():
        for provision in provider.provide(backend, cell, implementations, devices):
            yield env, provision


def _is_excluded(case: Case, suite: Suite) -> bool:
    return any(
        all(getattr(case, axis) in values for axis, values in row.values.items()) for row in suite.exclude
    )
