from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.errors import RequestError
from rnnbench.records import Case
from rnnbench.suite.format import THRESHOLDS
from rnnbench.suite.loading import Suite, parse_suite
from rnnbench.suite.overrides import Overrides, override
from rnnbench.thresholds import Bounds, Special, Thresholds

AXES = "axes: {task: [copy], cell: [gru, lstm], length: [20, 50]}\n"


def suite(thresholds: str) -> Suite:
    return parse_suite(f"{AXES}thresholds: {thresholds}\n")


def case(cell: str, length: int, hidden: int = 64) -> Case:
    return Case("copy", length, cell, "numpy", "native", hidden=hidden)


def test_the_last_row_that_means_a_case_holds() -> None:
    found = suite(
        "{unchanged: 0.04, cases: [{cell: lstm, regression: 0.05}, "
        "{cell: lstm, length: [20, 100], regression: 0.08, score: 0.1}]}"
    ).thresholds
    assert found.of(case("gru", 20)) == Bounds(unchanged=0.04)
    assert found.of(case("lstm", 50)) == Bounds(unchanged=0.04, regression=0.05)
    assert found.of(case("lstm", 20)) == Bounds(unchanged=0.04, regression=0.08, score=0.1)


def test_the_keys_of_a_suite_are_the_fields_of_the_bounds() -> None:
    assert tuple(THRESHOLDS) == tuple(Bounds.__dataclass_fields__)


def test_without_any_the_defaults_of_measuring_hold() -> None:
    found = parse_suite(AXES).thresholds
    assert found == Thresholds(Bounds(0.01, 0.01, 0.05))


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(THRESHOLDS, st.floats(0, 10))))
def test_the_command_line_changes_thresholds_and_keeps_those_of_cases(bounds: dict[str, float]) -> None:
    rows = (Special({"cell": ("lstm",), "length": (20,)}, {"regression": 0.5}),)
    written = parse_suite(AXES + "thresholds: {cases: [{cell: lstm, length: 20, regression: 0.5}]}")
    changed = override(written, Overrides(settings=tuple(f"thresholds.{k}={v!r}" for k, v in bounds.items())))
    assert changed.thresholds == Thresholds(Bounds(**bounds), rows)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{regresion: 1}", 'thresholds.regresion: unknown key. Did you mean "regression"?'),
        ("{regression: -1}",
         "thresholds.regression: -1 is not allowed. Give a share from 0 to 10, 0.01 for 1 %."),
        ("{regression: 1 %}", 'thresholds.regression: "1 %" is not allowed. Give a share from 0 to 10'),
        ("{cases: [{cell: lstm}]}", "thresholds.cases[0]: names no threshold. Allowed: "),
        ("{cases: [{score: 1}]}", "thresholds.cases[0]: names no axis. Allowed: "),
        ("{cases: [{cel: lstm, score: 1}]}", 'thresholds.cases[0].cel: unknown key. Did you mean "cell"?'),
        ("{cases: 3}", "thresholds.cases: 3 is not allowed. Give a list of mappings "),
        ("3", "thresholds: 3 is not allowed. Give a mapping "),
    ],
)  # fmt: skip
def test_bad_thresholds_are_refused(given: str, message: str) -> None:
    with pytest.raises(RequestError) as error:
        suite(given)
    assert str(error.value).startswith(f"suite.yaml:2: {message}")


def test_an_unknown_threshold_on_the_command_line_is_refused() -> None:
    with pytest.raises(
        RequestError, match=r'no key "thresholds.regresion". Did you mean "thresholds.regression"'
    ):
        override(suite("{score: 1}"), Overrides(settings=("thresholds.regresion=1",)))
