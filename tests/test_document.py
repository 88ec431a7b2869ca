"""YAML as a suite may use it: scalars, places, and everything that is refused."""

from __future__ import annotations

from typing import Any

import pytest
from test_suite import AXES_TEXT, refusal

from rnnbench.suite.document import parse_document, read_scalar
from rnnbench.suite.loading import parse_suite


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("010", 10), ("on", "on"), ("off", "off"), ("yes", "yes"), ("true", True),
        ("~", None), ("", None), ("0x1F", 31), ("0o17", 15), ("1_000", "1_000"), ("-.5", -0.5), ("+12", 12),
        (".inf", float("inf")), ("1:30", "1:30"), ("2020-01-01", "2020-01-01"), ("1e400", float("inf")),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    assert read_scalar(text) == value
    assert type(read_scalar(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s.yaml: is empty; a suite needs at least axes"),
        ("# nothing\n", "s.yaml: is empty; a suite needs at least axes"),
        ("---\n...\n", "s.yaml: is empty; a suite needs at least axes"),
        ("- a\n", "s.yaml:1: holds a list; a suite is a mapping with axes"),
        ("word", "s.yaml:1: holds a word; a suite is a mapping with axes"),
        ("about: x\n", "s.yaml:1: axes: is missing. Give a mapping from axes to values."),
        ("a: 1\na: 2\n", 's.yaml:2: key "a" is given twice, first on line 1'),
        ("a:\n\tb: 1\n", "s.yaml:2: a tab; YAML indents with spaces only"),
        ("a: &a [*a]\n", "s.yaml:1: *a lies within &a: a loop"),
        ("a: *b\n", "s.yaml:1: *b has no anchor &b above it"),
        ("a: !!python/object/apply:os.system [ls]\n",
         's.yaml:1: tag "tag:yaml.org,2002:python/object/apply:os.system"; '
         'a suite is plain data, without tags'),
        ("a: !mine 1\n", 's.yaml:1: tag "!mine"; a suite is plain data, without tags'),
        ("a: " + "[" * 50_000, "s.yaml:1: nested deeper than 16 levels"),
        ("a: 1\n---\nb: 2\n", "s.yaml:2: a second document begins; a suite is one document"),
        ("1: a\n", "s.yaml:1: key 1 is a number; a key is a word"),
        ("[a]: 1\n", "s.yaml:1: a key must be a word"),
        ("a: 'x\n", "s.yaml:2: not valid YAML: found unexpected end of stream"),
        ("a: b: c\n", "s.yaml:1: not valid YAML: mapping values are not allowed here"),
        ("a: " + "9" * 5000, "s.yaml:1: a number of 5,000 digits"),
        ('a: "\\UFFFFFFFF"', "s.yaml: not valid YAML: an escape that is no character"),
        ('a: "\\uD800"', "s.yaml:1: half of a surrogate pair, which is no character"),
        ('"\\uD800": 1', "s.yaml:1: half of a surrogate pair, which is no character"),
        ("a: [" + "1," * 20_000 + "]", "s.yaml:1: more than 10,000 values, aliases written out"),
        ("a: \x01\n", "s.yaml: not text: unacceptable character #x0001: special characters are not allowed"),
    ],
)  # fmt: skip
def test_a_bad_document_is_refused(text: str, message: str) -> None:
    assert refusal(text) == message


def test_a_billion_laughs_are_refused_at_the_line_where_they_are_too_many() -> None:
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert refusal("\n".join(lines)) == "s.yaml:4: more than 10,000 values, aliases written out"


def test_aliases_that_nest_are_as_deep_as_what_they_stand_for() -> None:
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 40))]
    assert refusal("\n".join(lines)) == "s.yaml:15: nested deeper than 16 levels"


def test_an_honest_alias_is_read() -> None:
    suite = parse_suite(
        "axes: {task: copy, length: &l [10, 20], cell: gru}\ninclude: [{task: adding, length: *l}]"
    )
    assert suite.include[0].values["length"] == (10, 20)


def test_places_are_the_lines_of_keys_and_items() -> None:
    document = parse_document("a:\n  - 1\n  - b:\n\n      c\n", "f")
    assert document.value == {"a": [1, {"b": "c"}]}
    assert document.places["a",] == "f:1"
    assert document.places["a", 1] == "f:3"
    assert document.places["a", 1, "b"] == "f:3"


def test_control_characters_do_not_reach_a_message() -> None:
    assert refusal(AXES_TEXT + '  dtype: "\\e[31mred\\nblue"\n') == (
        's.yaml:5: axes.dtype: "\\u001b[31mred\\nblue" is not allowed. Give float32 or float64.'
    )
    assert refusal(AXES_TEXT + '  "\\e[31m\\n": 3\n').startswith(
        "s.yaml:5: axes.\\x1b[31m\\n: unknown key. Allowed: "
    )
    assert refusal(f"{AXES_TEXT}{'k' * 500}: 3\n").startswith(f"s.yaml:5: {'k' * 59}…: unknown key. ")
