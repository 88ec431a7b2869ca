"""The JSON Schema of the suite format."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from rnnbench.suite.format import SuiteFormat
from rnnbench.tasks.declared import KINDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


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
