"""YAML -> Suite: read and validate.

A suite is data: nothing in it is ever executed. Which of its names exist is ``planning``'s question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from rnnbench.contracts import TaskDeclaration
from rnnbench.errors import RequestError, nearest
from rnnbench.records import Measure, Train
from rnnbench.suite.declarations import read_declaration
from rnnbench.suite.document import Document, KeyPath, parse_document, read_document
from rnnbench.suite.format import AXES, MATCH, RUN, THRESHOLDS, SuiteFormat
from rnnbench.suite.messages import explain, located, shown
from rnnbench.thresholds import Bounds, Special, Thresholds

MAX_BUDGET_S = 30 * 86_400
_UNITS_S = {"s": 1.0, "min": 60.0, "h": 3600.0}
_MEASURE: tuple[Measure, ...] = ("forward", "train_step", "memory", "score")

Value = str | int | float
Values = Mapping[str, tuple[Any, ...]]
"""Axis -> its values, each a ``Value``: names and words are str, sizes int, the rest float."""


@dataclass(frozen=True, slots=True)
class Row:
    """Axes of ``axes`` or of one ``include`` or ``exclude`` entry, and the path at which they stand."""

    path: KeyPath
    values: Values


@dataclass(frozen=True, slots=True)
class Match:
    """How many parameters each network is to have; ``head``: whether those of the head count."""

    parameters: int
    head: bool = True

    @property
    def words(self) -> str:
        """What counts."""
        return f"head {'counted' if self.head else 'not counted'}, embeddings not counted"

    @property
    def sentence(self) -> str:
        """For a table and a page."""
        return f"hidden sizes are chosen for {self.parameters:,} parameters each: {self.words}"


@dataclass(frozen=True, slots=True)
class Suite:
    """What a person wants to know: validated, its names not yet looked up.

    ``axes`` and ``defaults`` never share a key. ``budget_s`` None: no budget. ``document`` is what was
    read, for the places in messages; ``folder`` is where relative paths in it start.
    """

    name: str
    axes: Row
    about: str = ""
    defaults: Mapping[str, Value] = field(default_factory=dict)
    train: Train = field(default_factory=Train)
    match: Match | None = None
    measure: tuple[Measure, ...] = _MEASURE
    rounds: int = 20
    processes: int = 3
    score_on: Literal["fastest", "all"] | tuple[str, ...] = "fastest"
    exclude: tuple[Row, ...] = ()
    include: tuple[Row, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)
    budget_s: float | None = None
    tasks: Mapping[str, TaskDeclaration] = field(default_factory=dict)
    document: Document = field(default_factory=lambda: Document({}, {}), compare=False, repr=False)
    folder: Path = field(default=Path(), compare=False)

    def error(self, path: KeyPath, message: str) -> RequestError:
        """The error of one key of this suite, with file, line and dotted key."""
        return located(self.document, path, message)

    def path_of(self, row: Row, axis: str, value: Value | None = None) -> KeyPath:
        """The path at which a row gives an axis, or one value of it; if inherited, where that is given."""
        for home in (row.path, self.axes.path, ("defaults",)):
            path = (*home, axis)
            if path in self.document.places:
                given: Any = self.document.value
                for part in path:
                    given = given[part]
                if isinstance(given, list) and value in given:
                    return (*path, given.index(value))
                return path
        return (*row.path, axis)

    def option_of(self, task: str) -> KeyPath | None:
        """The path of an option of a task that the command line gave; None: the file gives all of them."""
        given = (path for path, place in self.document.places.items() if place.startswith("-"))
        return next((path for path in given if path[:2] == ("tasks", task)), None)

    def from_command_line(self, axis: str) -> bool:
        """Whether the command line, not the file, gives the values of this axis."""
        return self.document.places.get(("axes", axis), "").startswith("-")


def shipped_suites() -> dict[str, Path]:
    """Name -> file of the suites that come with rnnbench: in the wheel, or beside it in a checkout."""
    package = Path(str(files("rnnbench")))
    for folder in (package / "suites", package.parent / "suites"):
        if folder.is_dir():
            return {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    return {}


def load_suite(path_or_name: str | Path) -> Suite:
    """A suite from a file, or a shipped one by name. Raises ``RequestError``."""
    text = str(path_or_name)
    file = Path(path_or_name)
    shipped = shipped_suites()
    if text in shipped:
        file = shipped[text]
    elif file.name == text and not file.suffix and not file.exists():
        message = f"no such file, and no suite of this name ships. {nearest(text, shipped)}"
        raise RequestError(message, where=text)
    return build_suite(read_document(file), name=file.stem, folder=file.parent)


def parse_suite(
    text: str,
    *,
    name: str = "suite",
    folder: Path | None = None,
    options: Mapping[KeyPath, str] | None = None,
) -> Suite:
    """A suite from its text; paths in it are relative to ``folder``. Raises ``RequestError``.

    ``options``: what on the command line gave a key, to be named in its errors ("-T 0", "CELL lstm").
    """
    document = parse_document(text, f"{name}.yaml")
    document = replace(document, places={**document.places, **(options or {})})
    return build_suite(document, name=name, folder=folder or Path())


def build_suite(document: Document, *, name: str, folder: Path) -> Suite:
    """Validate a document. Raises ``RequestError`` at the first thing that is wrong."""
    try:
        model = SuiteFormat.model_validate(document.value)
    except ValidationError as error:
        raise explain(error.errors(include_url=False)[0], document) from None
    axes, given = _given(model.axes), _given(model.defaults)
    trained = _given(given.pop("train", None))
    for home, keys in ((("defaults",), given), (("defaults", "train"), trained)):
        for key in axes:
            if key in keys:
                message = "is given in axes too; keep one of the two"
                raise located(document, (*home, key), message)
    train = Train(**trained)
    if train.optimizer == "ridge" and "evaluate_every" not in trained:
        train = replace(train, evaluate_every=train.steps)
    match = _match(_given(given.pop("match", None)), axes, given, model.include, document)
    return Suite(
        name=name,
        axes=Row(("axes",), _tuples(axes)),
        about=model.about,
        # the last step is always evaluated: a training without a score says nothing
        train=replace(train, evaluate_every=min(train.evaluate_every, train.steps)),
        match=match,
        measure=tuple(given.pop("measure", _MEASURE)),
        score_on=_score_on(given.pop("score_on", ["fastest"]), document),
        **{key: given.pop(key) for key in RUN if key in given},
        defaults=given,
        exclude=tuple(_rows("exclude", model.exclude, document)),
        include=tuple(_rows("include", model.include, document)),
        thresholds=_thresholds(model.thresholds, document),
        budget_s=_read_budget(model.budget, document),
        tasks={task: read_declaration(task, model.tasks[task], document, folder) for task in model.tasks},
        document=document,
        folder=folder,
    )


def _given(model: BaseModel | None) -> dict[str, Any]:
    """What was given, in the order of the format, so that the order in a file has no meaning."""
    if model is None:
        return {}
    return {key: getattr(model, key) for key in type(model).model_fields if key in model.model_fields_set}


def _tuples(values: Mapping[str, list[Value]]) -> Values:
    return {key: tuple(items) for key, items in values.items()}


def _rows(section: str, models: list[BaseModel], document: Document) -> Iterator[Row]:
    for index, model in enumerate(models):
        if not model.model_fields_set:
            raise located(document, (section, index), f"names no axis. {nearest('', AXES)}")
        yield Row((section, index), _tuples(_given(model)))


def _thresholds(model: Any, document: Document) -> Thresholds:
    given = _given(model)
    rows = []
    for index, row in enumerate(given.pop("cases", ())):
        values = _given(row)
        cases = {key: tuple(values[key]) for key in values if key in AXES}
        bounds = {key: values[key] for key in values if key in THRESHOLDS}
        for found, what, known in ((cases, "axis", AXES), (bounds, "threshold", THRESHOLDS)):
            if not found:
                message = f"names no {what}. {nearest('', known)}"
                raise located(document, ("thresholds", "cases", index), message)
        rows.append(Special(cases, bounds))
    return Thresholds(Bounds(**given), tuple(rows))


def _match(
    given: Mapping[str, Any],
    axes: Mapping[str, Any],
    defaults: Mapping[str, Any],
    include: list[BaseModel],
    document: Document,
) -> Match | None:
    if not given:
        return None
    if "parameters" not in given:
        raise located(
            document, ("defaults", "match", "parameters"), f"is missing. Give {MATCH['parameters'].allowed}."
        )
    rows = ((("include", index), row.model_fields_set) for index, row in enumerate(include))
    homes: list[tuple[KeyPath, Any]] = [(("axes",), axes), (("defaults",), defaults), *rows]
    for home, keys in homes:
        if "hidden" in keys:
            raise located(document, (*home, "hidden"), "is what defaults.match chooses; keep one of the two")
    return Match(**given)


def _score_on(names: list[str], document: Document) -> Any:
    for index, name in enumerate(names):
        if name in ("fastest", "all") and len(names) > 1:
            message = f'"{name}" stands alone, or backends are named'
            raise located(document, ("defaults", "score_on", index), message)
    return names[0] if names[0] in ("fastest", "all") else tuple(names)


def _read_budget(text: str | None, document: Document) -> float | None:
    """Seconds of a budget such as "30 min" that has passed the format; None: no budget."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9.]+) ?([a-z]+)", text)
    assert match is not None
    seconds = float(match[1]) * _UNITS_S[match[2]]
    if not 1 <= seconds <= MAX_BUDGET_S:
        raise located(document, ("budget",), f"{shown(text)} is not allowed. Give from 1 s to 720 h.")
    return seconds
