"""A suite as YAML, and the format's JSON Schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from rnnbench.records import Train
from rnnbench.suite.document import read_scalar
from rnnbench.suite.format import SuiteFormat
from rnnbench.suite.loading import Suite
from rnnbench.tasks.declared import KINDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def dump_suite(suite: Suite) -> str:
    """The suite as YAML, every default written out; ``parse_suite`` reads an equal one back."""
    score_on = list(suite.score_on) if isinstance(suite.score_on, tuple) else suite.score_on
    train = {item.name: getattr(suite.train, item.name) for item in fields(Train)}
    sections: dict[str, Mapping[str, Any]] = {
        "tasks": {name: {"kind": task.kind, **task.options} for name, task in suite.tasks.items()},
        "axes": suite.axes.values,
        "defaults": {
            **suite.defaults, "train": train, "measure": suite.measure,
            "rounds": suite.rounds, "processes": suite.processes, "score_on": score_on,
        },
    }  # fmt: skip
    lines = [f"about: {_inline(suite.about)}"] if suite.about else []
    for section, entries in sections.items():
        if entries:
            lines += [
                f"{section}:",
                *(f"  {_inline(key)}: {_inline(value)}" for key, value in entries.items()),
            ]
        elif section == "axes":
            lines.append("axes: {}")
    for section, rows in (("exclude", suite.exclude), ("include", suite.include)):
        if rows:
            lines += [f"{section}:", *(f"  - {_inline(row.values)}" for row in rows)]
    lines += [
        "thresholds:",
        *(f"  {name}: {_inline(share)}" for name, share in asdict(suite.thresholds.bounds).items()),
    ]
    if suite.thresholds.special:
        rows_of_cases = (_inline({**row.cases, **row.bounds}) for row in suite.thresholds.special)
        lines += ["  cases:", *(f"    - {row}" for row in rows_of_cases)]
    if suite.budget_s is not None:
        lines.append(f"budget: {_plain_number(suite.budget_s)} s")
    return "\n".join(lines) + "\n"


def schema() -> dict[str, Any]:
    """JSON Schema of the format, for editors; ``suites/schema.json`` is this."""
    kinds = dict(sorted(KINDS.items()))
    models: list[tuple[type[BaseModel], Literal["validation"]]] = [(SuiteFormat, "validation")]
    models += [(model, "validation") for model in kinds.values()]
    references, together = models_json_schema(models)
    definitions: dict[str, Any] = together["$defs"]

    def taken(model: type[BaseModel]) -> dict[str, Any]:
        name = references[model, "validation"]["$ref"].rsplit("/", 1)[1]
        return dict(definitions.pop(name))

    root = taken(SuiteFormat)
    declarations = [_with_kind(kind, taken(model)) for kind, model in kinds.items()]
    root["properties"]["tasks"]["additionalProperties"] = {"oneOf": declarations}
    tidied: dict[str, Any] = _tidied({"$schema": DIALECT, **root, "$defs": definitions})
    return {**tidied, "title": "rnnbench suite"}


def _with_kind(kind: str, model: dict[str, Any]) -> dict[str, Any]:
    properties = {"kind": {"const": kind}, **model.get("properties", {})}
    return {**model, "properties": properties, "required": ["kind", *model.get("required", [])]}


def _tidied(node: Any, *, names: bool = False) -> Any:
    """Without pydantic's titles and null defaults; ``names``: the keys are a suite's, not a schema's."""
    if isinstance(node, list):
        return [_tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _tidied(value, names=key in ("properties", "$defs"))
        for key, value in node.items()
        if names or not (key == "title" or (key == "default" and value is None))
    }


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_inline(key)}: {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        return _word(value)
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


def _word(text: str) -> str:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", text) and isinstance(read_scalar(text), str):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)


def _plain_number(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)
