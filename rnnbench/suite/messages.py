"""What a person is told where a suite is wrong: the place, what was given, what is allowed."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import ErrorDetails

from rnnbench.errors import RequestError, nearest
from rnnbench.suite.document import Document, KeyPath, dotted, kind_of
from rnnbench.suite.format import (
    AXES,
    LISTS,
    MATCH,
    MEASURE,
    RUN,
    SECTIONS,
    THRESHOLDS,
    TRAIN,
    TRAINED,
    DefaultsFormat,
    SuiteFormat,
)

_RENAMED = {"penalty": "ridge_alpha"}


def explain(error: ErrorDetails, document: Document) -> RequestError:
    """The error of a model as the person who wrote the suite needs it."""
    path: KeyPath = error["loc"]
    kind, given = error["type"], error["input"]
    if kind == "extra_forbidden":
        return located(document, path, _unknown(path))
    if kind == "missing":
        return located(document, path, f"is missing. Give {SECTIONS[str(path[-1])]}.")
    if kind == "duplicate":
        path = (*path, int(error["ctx"]["index"]))
        return located(document, path, f"{shown(given[path[-1]])} is given twice")
    if kind == "too_short":
        return located(document, path, "an empty list. Give at least one value, or leave the key out")
    if path[0] == "tasks" and len(path) > 1:
        message = f"{shown(given)} is not allowed. Give a mapping with kind and the options of that kind."
        return located(document, path, message)
    key = next(part for part in reversed(path) if isinstance(part, str))
    setting = {**AXES, **TRAIN, **RUN, **MATCH, **THRESHOLDS, "measure": MEASURE}.get(key)
    allowed = setting.allowed if setting else LISTS.get(key) or SECTIONS[key]
    message = f"{shown(given)} is not allowed. Give {allowed}."
    if isinstance(given, list) and path[:1] == ("defaults",) and key in AXES:
        message += f" Several values belong in axes.{key}"
    if setting and len(setting.words) > 2 and isinstance(given, str):
        near = nearest(given, setting.words)
        message += f" {near}" if near.startswith("Did") else ""
    return located(document, path, message)


def located(document: Document, path: KeyPath, message: str) -> RequestError:
    """The error of a key, with the place where it, or the nearest key above it, was given."""
    return RequestError(message, where=where(document, path))


def where(document: Document, path: KeyPath) -> str:
    """``file:line: dotted.key`` (if not given, the line of the key above it), or an option."""
    if isinstance(path[-1] if path else None, int) and path not in document.places:
        path = path[:-1]  # a single value, where a list may stand
    known = path
    while known not in document.places and known:
        known = known[:-1]
    place = document.places.get(known, "")
    if place.startswith(("-", "CELL ")):
        return place  # an option or argument of the command line names its key itself
    return f"{place}: {dotted(path)}" if path and place else place or dotted(path)


def shown(value: Any) -> str:
    """A given value in a message: on one line, at most 60 characters, control characters escaped."""
    if isinstance(value, list | dict):
        return f"a {kind_of(value)}"
    if isinstance(value, float):
        return repr(value)
    text = json.dumps(value, ensure_ascii=not str(value).isprintable())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unknown(path: KeyPath) -> str:
    *above, key = path
    if key == "<<":
        return "unknown key. YAML 1.2 has no merge keys; write the values out"
    if key in _RENAMED:
        return f"unknown key. Its name is {_RENAMED[key]} now"
    if above == ["axes"] and key in DefaultsFormat.model_fields:
        return f"is no axis, the same holds for all cases. It belongs in defaults.{key}"
    if key in TRAINED and above != ["defaults", "train"]:
        return f"unknown key here. It belongs in axes.{key} or defaults.train.{key}"
    if not above and key in DefaultsFormat.model_fields:
        home = f"axes.{key} or defaults.{key}" if key in AXES else f"defaults.{key}"
        return f"unknown key here. It belongs in {home}"
    levels: dict[Any, Any] = {
        "axes": AXES, "include": AXES, "exclude": AXES, "train": TRAIN, "match": MATCH,
        "thresholds": {**THRESHOLDS, "cases": None}, "cases": {**AXES, **THRESHOLDS},
    }  # fmt: skip
    section = next((part for part in reversed(above) if part in levels), None)
    known = levels[section] if section else DefaultsFormat.model_fields if above else SuiteFormat.model_fields
    return f"unknown key. {nearest(key, known)}"
