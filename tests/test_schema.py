"""The JSON Schema of a suite, for editors."""

from __future__ import annotations

import json

from rnnbench.suite.format import AXES
from rnnbench.suite.loading import shipped_suites
from rnnbench.suite.schema import schema
from rnnbench.tasks.declared import KINDS


def test_the_schema_in_the_repository_is_that_of_the_format() -> None:
    # if this fails: rnnbench schema > suites/schema.json
    file = shipped_suites()["quick"].parent / "schema.json"
    assert json.loads(file.read_text("utf-8")) == schema()


def test_the_schema_knows_every_key() -> None:
    found = schema()
    definitions = found["$defs"]
    sections = {"about", "tasks", "axes", "defaults", "exclude", "include", "thresholds", "budget"}
    assert set(found["properties"]) == sections
    assert set(definitions["Axes"]["properties"]) == set(definitions["Row"]["properties"]) == set(AXES)
    assert found["additionalProperties"] is False
    kinds = found["properties"]["tasks"]["additionalProperties"]["oneOf"]
    by_name = {kind["properties"]["kind"]["const"]: kind for kind in kinds}
    assert by_name.keys() == KINDS.keys()
    assert {"kind", "csv", "target"} <= set(by_name["forecasting"]["required"])
