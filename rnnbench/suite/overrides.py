"""What the command line changes in a suite, before it is planned."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from rnnbench.errors import RequestError, nearest
from rnnbench.suite.document import Document, KeyPath, read_scalar
from rnnbench.suite.format import AXES, MATCH, RUN, THRESHOLDS, TRAIN
from rnnbench.suite.loading import Row, Suite, Values, build_suite

_TOP = ("about", "budget")
_LISTS = ("measure", "score_on")


@dataclass(frozen=True, slots=True)
class Overrides:
    """``--set`` (each "KEY=VALUE"), ``--backend``, ``--cell``, ``-k``, ``--device`` and ``--budget``.

    An axis given here replaces the suite's values. An ``include`` row that names this axis keeps those of
    its values that are given here too, and goes where none is left.
    """

    settings: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    select: str = ""
    device: str = ""
    budget: str = ""


@dataclass(frozen=True, slots=True)
class _Request:
    path: KeyPath
    given: Any
    option: str


def override(suite: Suite, overrides: Overrides) -> Suite:
    """The suite as the command line changes it, validated anew. Raises ``RequestError``."""
    requests = list(_requests(overrides))
    value, places = copy.deepcopy(suite.document.value), dict(suite.document.places)
    seen: set[KeyPath] = set()
    for request in requests:
        if request.path in seen:
            message = f"{request.path[-1]} is given twice on the command line"
            raise RequestError(message, where=request.option)
        seen.add(request.path)
        _put(value, places, request)
    changed = build_suite(Document(value, places, suite.document.text), name=suite.name, folder=suite.folder)
    axes = {path[1] for path in seen if path[0] == "axes"}
    given = {axis: values for axis, values in changed.axes.values.items() if axis in axes}
    return replace(changed, include=tuple(_narrow(changed.include, given)))


def _requests(overrides: Overrides) -> Iterator[_Request]:
    for text in overrides.settings:
        yield _read_setting(text)
    for option, axis, values in (
        ("--backend", "backend", overrides.backends),
        ("--cell", "cell", overrides.cells),
        ("--device", "device", _split(overrides.device)),
    ):
        if values:
            given = list(dict.fromkeys(values))
            yield _Request(("axes", axis), given, f"{option} {','.join(values)}")
    if overrides.budget:
        yield _Request(("budget",), overrides.budget, f"--budget {overrides.budget}")


def _read_setting(text: str) -> _Request:
    option = f"--set {text}"
    key, separator, right = text.partition("=")
    if not separator or not key or not right.strip():
        raise RequestError("is not KEY=VALUE, such as hidden=32,64 or train.steps=50", where=option)
    path = _path_of(key, option)
    if path == ("about",):
        return _Request(path, right, option)
    try:
        values = [read_scalar(part) for part in _split(right)]
    except ValueError:
        raise RequestError("a number of too many digits", where=option) from None
    single = len(values) == 1 and path[0] != "axes" and path[-1] not in _LISTS
    return _Request(path, values[0] if single else values, option)


def _path_of(key: str, option: str) -> KeyPath:
    plain = re.sub(r"^(axes|defaults)\.", "", key)
    if plain in AXES:
        return ("axes", plain)
    if plain in RUN or plain in _LISTS:
        return ("defaults", plain)
    if key in _TOP:
        return (key,)
    parts = tuple(plain.split("."))
    if parts[0] == "train" and len(parts) == 2 and parts[1] in TRAIN:
        return ("defaults", *parts)
    if parts[0] == "match" and len(parts) == 2 and parts[1] in MATCH:
        return ("defaults", *parts)
    if parts[0] == "thresholds" and len(parts) == 2 and parts[1] in THRESHOLDS:
        return parts
    if parts[0] == "tasks" and len(parts) == 3 and all(parts):
        return parts
    known = [
        *AXES,
        *RUN,
        *_LISTS,
        *_TOP,
        *(f"train.{name}" for name in TRAIN),
        *(f"match.{name}" for name in MATCH),
        "tasks.NAME.OPTION",
    ]
    known += [f"thresholds.{name}" for name in THRESHOLDS]
    raise RequestError(f'no key "{key}". {nearest(key, known)}', where=option)


def _put(value: dict[str, Any], places: dict[KeyPath, str], request: _Request) -> None:
    *above, last = request.path
    inner: Any = value
    for part in above:
        inner = inner.setdefault(part, {})
    inner[last] = request.given
    count = len(request.given) if isinstance(request.given, list) else 0
    for path in [path for path in places if path[: len(request.path)] == request.path]:
        del places[path]
    places[request.path] = request.option
    places.update({(*request.path, index): request.option for index in range(count)})
    if request.path[0] == "axes":
        defaults = value.get("defaults", {})
        for home, inner in ((("defaults",), defaults), (("defaults", "train"), defaults.get("train", {}))):
            inner.pop(last, None)
            places.pop((*home, last), None)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",")) if text else ()


def _narrow(rows: tuple[Row, ...], given: Values) -> Iterator[Row]:
    for row in rows:
        kept = {
            axis: tuple(value for value in values if axis not in given or value in given[axis])
            for axis, values in row.values.items()
        }
        if all(kept.values()):
            yield Row(row.path, kept)
