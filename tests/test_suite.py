"""Reading suites: every kind of bad input with its exact message, and the round trip."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnbench.errors import RequestError
from rnnbench.records import MEASURES, Case, Train
from rnnbench.suite.document import parse_document, read_scalar
from rnnbench.suite.format import AXES
from rnnbench.suite.loading import Suite, load_suite, parse_suite, shipped_suites
from rnnbench.suite.overrides import Overrides, override
from rnnbench.suite.starting import starter
from rnnbench.suite.writing import dump_suite, schema
from rnnbench.tasks.declared import KINDS

HIDDEN = "Give a whole number from 1 to 65,536."
BIAS = "Give a number from -100 to 100."
BUDGET = "Give a time such as 30 min, 90 s or 2 h."
MAPPING = "Give a mapping from keys to values."
ROWS = "Give a list of mappings from axes to values."
AXES_TEXT = "axes:\n  task: copy\n  length: [10, 20]\n  cell: [gru]\n"


def refusal(text: str) -> str:
    with pytest.raises(RequestError) as error:
        parse_suite(text, name="s")
    return str(error.value)


def test_every_field_of_a_case_but_two_is_an_axis() -> None:
    assert set(AXES) == set(Case.__dataclass_fields__) - {"train", "measure"}


def test_defaults_are_those_of_records() -> None:
    suite = parse_suite(AXES_TEXT)
    assert suite.train == Train()
    assert suite.measure == Case.__dataclass_fields__["measure"].default
    assert (suite.rounds, suite.processes, suite.score_on, suite.budget_s) == (20, 3, "fastest", None)


def test_a_suite_is_read_in_full() -> None:
    suite = parse_suite(
        """
about: Why?
axes:
  task: [copy, adding]
  length: 20
  cell: [gru]
  bidirectional: [true, none, sum]
defaults:
  hidden: 7
  lr_is_not_here: &x 1
""".replace("  lr_is_not_here: &x 1\n", "")
        + """
  train: {optimizer: sgd, lr: 1e-3, clip: null, steps: 50, seeds: 2, evaluate_every: 80, target: 0.9}
  measure: forward
  rounds: 5
  processes: 2
  score_on: [torch, jax]
exclude:
  - {task: copy, length: [20]}
include:
  - {task: river, length: [30, 90]}
budget: 1.5 h
"""
    )
    assert suite.about == "Why?"
    assert suite.axes.values == {
        "task": ("copy", "adding"),
        "length": (20,),
        "cell": ("gru",),
        "bidirectional": ("concat", "none", "sum"),
    }
    assert suite.defaults == {"hidden": 7}
    assert suite.train == Train("sgd", 0.001, None, 50, 2, 50, 0.9)  # never evaluated after the last step
    assert suite.measure == ("forward",)
    assert (suite.rounds, suite.processes, suite.score_on) == (5, 2, ("torch", "jax"))
    assert suite.exclude[0].values == {"task": ("copy",), "length": (20,)}
    assert suite.include[0].values == {"task": ("river",), "length": (30, 90)}
    assert suite.budget_s == 5400


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
    ("line", "message"),
    [
        ("hidden: -4", f"s.yaml:5: axes.hidden: -4 is not allowed. {HIDDEN}"),
        ("hidden: [8, 0]", f"s.yaml:5: axes.hidden[1]: 0 is not allowed. {HIDDEN}"),
        ("hidden: true", f"s.yaml:5: axes.hidden: true is not allowed. {HIDDEN}"),
        ("hidden: 8.0", f"s.yaml:5: axes.hidden: 8.0 is not allowed. {HIDDEN}"),
        ("hidden: 1e400", f"s.yaml:5: axes.hidden: inf is not allowed. {HIDDEN}"),
        ('hidden: "8"', f's.yaml:5: axes.hidden: "8" is not allowed. {HIDDEN}'),
        (f"hidden: {10**25}", f"s.yaml:5: axes.hidden: {10**25} is not allowed. {HIDDEN}"),
        ("hidden:", f"s.yaml:5: axes.hidden: null is not allowed. {HIDDEN}"),
        ("hidden: {a: 1}", f"s.yaml:5: axes.hidden: a mapping is not allowed. {HIDDEN}"),
        ("hidden: [[8]]", f"s.yaml:5: axes.hidden[0]: a list is not allowed. {HIDDEN}"),
        ("hidden: []", "s.yaml:5: axes.hidden: an empty list. Give at least one value, or leave the key out"),
        ("hidden: [8, 9, 8]", "s.yaml:5: axes.hidden[2]: 8 is given twice"),
        ("bidirectional: [true, concat]", 's.yaml:5: axes.bidirectional[1]: "concat" is given twice'),
        ("bidirectional: summ", 's.yaml:5: axes.bidirectional: "summ" is not allowed. '
         'Give none, concat, sum, true or false. Did you mean "sum"?'),
        ("forget_bias: .nan", f"s.yaml:5: axes.forget_bias: nan is not allowed. {BIAS}"),
        ("forget_bias: false", f"s.yaml:5: axes.forget_bias: false is not allowed. {BIAS}"),
        ("dtype: float16", 's.yaml:5: axes.dtype: "float16" is not allowed. Give float32 or float64.'),
        ("init: 3", "s.yaml:5: axes.init: 3 is not allowed. Give uniform, glorot, orthogonal or identity."),
        ("device: CUDA", 's.yaml:5: axes.device: "CUDA" is not allowed. '
         "Give auto, all, cpu, or what a backend reports (cuda, cuda:1, ...)."),
        ("lenght: 5", 's.yaml:5: axes.lenght: unknown key. Did you mean "length"?'),
        ("train: {lr: 1}", "s.yaml:5: axes.train: is no axis, the same holds for all cases. "
         "It belongs in defaults.train"),
        ("<<: 1", "s.yaml:5: axes.<<: unknown key. YAML 1.2 has no merge keys; write the values out"),
        ("length: 5", 's.yaml:5: key "length" is given twice, first on line 3'),
    ],
)  # fmt: skip
def test_a_bad_axis_is_refused(line: str, message: str) -> None:
    assert refusal(f"{AXES_TEXT}  {line}\n") == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("axis: {}", 's.yaml:5: axis: unknown key. Did you mean "axes"?'),
        ("hidden: 3", "s.yaml:5: hidden: unknown key here. It belongs in axes.hidden or defaults.hidden"),
        ("rounds: 3", "s.yaml:5: rounds: unknown key here. It belongs in defaults.rounds"),
        ("defaults: 3", f"s.yaml:5: defaults: 3 is not allowed. {MAPPING}"),
        ("defaults:", f"s.yaml:5: defaults: null is not allowed. {MAPPING}"),
        ("defaults: {length: 5}", "s.yaml:5: defaults.length: is given in axes too; keep one of the two"),
        ("defaults: {hidden: [5]}", "s.yaml:5: defaults.hidden: a list is not allowed. "
         f"{HIDDEN} Several values belong in axes.hidden"),
        ("defaults: {round: 5}", 's.yaml:5: defaults.round: unknown key. Did you mean "rounds"?'),
        ("defaults: {rounds: 0}", "s.yaml:5: defaults.rounds: 0 is not allowed. "
         "Give a whole number from 1 to 1,000."),
        ("defaults: {train: {lr: 0}}", "s.yaml:5: defaults.train.lr: 0 is not allowed. "
         "Give a number above 0, at most 1000."),
        ("defaults: {train: {lr: .nan}}", "s.yaml:5: defaults.train.lr: nan is not allowed. "
         "Give a number above 0, at most 1000."),
        ("defaults: {train: {target: .inf}}", "s.yaml:5: defaults.train.target: inf is not allowed. "
         "Give a number or null."),
        ("defaults: {train: {optimiser: sgd}}", "s.yaml:5: defaults.train.optimiser: unknown key. "
         'Did you mean "optimizer"?'),
        ("defaults: {train: {optimizer: adm}}", 's.yaml:5: defaults.train.optimizer: "adm" is not allowed. '
         'Give sgd or adam.'),
        ("defaults: {train: 5}", f"s.yaml:5: defaults.train: 5 is not allowed. {MAPPING}"),
        ("defaults: {measure: [forward, train]}", 's.yaml:5: defaults.measure[1]: "train" is not allowed. '
         "Give forward, gradients, train_step, memory or score. "),
        ("defaults: {score_on: [all, torch]}", 's.yaml:5: defaults.score_on[0]: "all" stands alone, '
         "or backends are named"),
        ("defaults: {score_on: 3}", "s.yaml:5: defaults.score_on: 3 is not allowed. "
         "Give fastest, all, or a list of backends."),
        ("budget: 30", f"s.yaml:5: budget: 30 is not allowed. {BUDGET}"),
        ("budget: soon", f's.yaml:5: budget: "soon" is not allowed. {BUDGET}'),
        ("budget: 0 s", 's.yaml:5: budget: "0 s" is not allowed. Give from 1 s to 720 h.'),
        ("budget: 1000 h", 's.yaml:5: budget: "1000 h" is not allowed. Give from 1 s to 720 h.'),
        ("exclude: {task: copy}", "s.yaml:5: exclude: a mapping is not allowed. "
         f"{ROWS}"),
        ("exclude: [{}]", "s.yaml:5: exclude[0]: names no axis. Allowed: "),
        ("exclude: [5]", f"s.yaml:5: exclude[0]: 5 is not allowed. {ROWS}"),
        ("include: [{taks: copy}]", 's.yaml:5: include[0].taks: unknown key. Did you mean "task"?'),
        ("include:\n  - length: 0", "s.yaml:6: include[0].length: 0 is not allowed. "
         "Give a whole number from 1 to 1,000,000."),
        ("about: [1]", "s.yaml:5: about: a list is not allowed. "
         "Give a sentence of at most 2,000 characters."),
        ("tasks: [sales]", "s.yaml:5: tasks: a list is not allowed. Give a mapping from names to tasks."),
    ],
)  # fmt: skip
def test_a_bad_section_is_refused(line: str, message: str) -> None:
    assert refusal(f"{AXES_TEXT}{line}\n").startswith(message)


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


def refused_file(path: Path | str) -> str:
    with pytest.raises(RequestError) as error:
        load_suite(path)
    return str(error.value)


def test_files_that_are_no_suite_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    assert refused_file(file) == f"{file}: no such file"
    assert refused_file(tmp_path) == f"{tmp_path}: is a directory; give a suite file"
    file.write_bytes(b"\x89PNG\x00\x01")
    assert refused_file(file) == f"{file}: is binary, not a suite"
    file.write_bytes("about: é\n".encode("latin-1"))
    assert refused_file(file) == f"{file}:1: byte 0xe9 is not UTF-8; save the file as UTF-8"
    file.write_bytes("about: x\n".encode("utf-16"))
    assert refused_file(file) == f"{file}: is encoded in UTF-16; save it as UTF-8"
    file.write_bytes(b"#" * 262_145)
    assert refused_file(file) == f"{file}: has 262,145 bytes; a suite has at most 262,144"
    os.mkfifo(tmp_path / "pipe.yaml")
    assert refused_file(tmp_path / "pipe.yaml") == f"{tmp_path / 'pipe.yaml'}: is not a regular file"
    assert refused_file("a\0b.yaml").startswith("a\0b.yaml: cannot be read: ")
    file.write_bytes(b"\xef\xbb\xbf" + AXES_TEXT.encode())
    assert load_suite(file).name == "s"


def test_a_name_that_does_not_ship_gets_the_nearest() -> None:
    message = 'no such file, and no suite of this name ships. Did you mean "quick"?'
    assert refused_file("qick") == f"qick: {message}"


def test_shipped_suites_are_found_by_name_and_say_what_they_are_for() -> None:
    assert set(shipped_suites()) >= {"quick", "long_deps", "sentiment", "forecasting"}
    for name, file in shipped_suites().items():
        suite = load_suite(name)
        assert suite.name == name
        assert suite.about.endswith("?")
        assert file.read_text("utf-8").startswith("# yaml-language-server: $schema=schema.json\n")


words = st.sampled_from(["gru", "lstm", "elman", "on", "1e-3", "null", "x y", "ä", "\x85", 'a"b', "#", "010"])
sizes = st.lists(st.integers(1, 60_000), min_size=1, max_size=3, unique=True)
positive = st.floats(1e-9, 1000)


@st.composite
def suites(draw: Any) -> dict[str, Any]:
    def names() -> Any:
        return draw(st.lists(words, min_size=1, max_size=3, unique=True))

    train = {
        "lr": draw(positive), "clip": draw(st.none() | positive), "steps": draw(st.integers(1, 10**7)),
        "target": draw(st.none() | st.floats(allow_nan=False, allow_infinity=False)),
    }  # fmt: skip
    axes = {"task": names(), "length": draw(sizes), "cell": names(), "forget_bias": draw(st.floats(-9, 9))}
    defaults = {"train": train, "measure": [draw(st.sampled_from(MEASURES))], "hidden": draw(sizes)[0]}
    return {
        "about": draw(st.text(max_size=30)), "axes": axes, "defaults": defaults,
        "exclude": [{"cell": names()}], "include": [{"task": names(), "batch": draw(sizes)}],
        "budget": f"{draw(st.integers(1, 999))} min",
    }  # fmt: skip


@given(suites())
@settings(max_examples=40, deadline=None)
def test_a_suite_that_is_written_is_read_back_equal(value: dict[str, Any]) -> None:
    suite = parse_suite(json.dumps(value, ensure_ascii=True).replace("\\ud", "?"))
    assert parse_suite(dump_suite(suite)) == suite


@given(suites())
@settings(max_examples=20, deadline=None)
def test_the_order_of_keys_has_no_meaning(value: dict[str, Any]) -> None:
    turned = {key: value[key] for key in reversed(value)}
    turned["axes"] = {key: value["axes"][key] for key in reversed(value["axes"])}
    text = json.dumps(value).replace("\\ud", "?")
    one, other = parse_suite(text), parse_suite(json.dumps(turned).replace("\\ud", "?"))
    assert one == other
    assert list(one.axes.values) == list(other.axes.values)


def test_settings_of_the_command_line_replace_those_of_the_suite() -> None:
    suite = parse_suite(AXES_TEXT + "defaults: {hidden: 5, train: {steps: 10, lr: 0.5}}\n")
    asked = (
        "hidden=32,64",
        "train.steps=1e1",
        "rounds=4",
        "measure=forward,score",
        "score_on=torch",
        "about=a, b",
    )
    with pytest.raises(
        RequestError, match=r"^--set train.steps=1e1: 10.0 is not allowed. Give a whole number"
    ):
        override(suite, Overrides(settings=asked))
    changed = override(suite, Overrides(settings=(*asked[:1], "train.steps=50", *asked[2:]), budget="90 s"))
    assert changed.axes.values["hidden"] == (32, 64)
    assert "hidden" not in changed.defaults
    assert changed.train == Train(steps=50, lr=0.5, evaluate_every=50)
    assert (changed.rounds, changed.measure, changed.score_on) == (4, ("forward", "score"), ("torch",))
    assert (changed.about, changed.budget_s) == ("a, b", 90)
    assert suite.defaults == {"hidden": 5}, "the suite itself stays as it was"


def test_an_axis_of_the_command_line_narrows_included_rows() -> None:
    suite = parse_suite(
        AXES_TEXT + "include: [{cell: [lstm, gru], length: 3}, {cell: elman, length: 4}, {length: 5}]"
    )
    changed = override(suite, Overrides(cells=("lstm", "mgu")))
    assert changed.axes.values["cell"] == ("lstm", "mgu")
    assert [(row.path[1], row.values) for row in changed.include] == [
        (0, {"length": (3,), "cell": ("lstm",)}),
        (2, {"length": (5,)}),
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (Overrides(settings=("hidden",)),
         "--set hidden: is not KEY=VALUE, such as hidden=32,64 or train.steps=50"),
        (Overrides(settings=("hiden=3",)), '--set hiden=3: no key "hiden". Did you mean "hidden"?'),
        (Overrides(settings=("train.step=3",)),
         '--set train.step=3: no key "train.step". Did you mean "train.steps"?'),
        (Overrides(settings=("hidden=0",)), f"--set hidden=0: 0 is not allowed. {HIDDEN}"),
        (Overrides(settings=("hidden=8,8",)), "--set hidden=8,8: 8 is given twice"),
        (Overrides(settings=("rounds=3,4",)), "--set rounds=3,4: a list is not allowed. "
         "Give a whole number from 1 to 1,000."),
        (Overrides(settings=("cell=gru",), cells=("lstm",)),
         "--cell lstm: cell is given twice on the command line"),
        (Overrides(budget="soon"), f'--budget soon: "soon" is not allowed. {BUDGET}'),
        (Overrides(device="GPU!"), '--device GPU!: "GPU!" is not allowed. '
         "Give auto, all, cpu, or what a backend reports (cuda, cuda:1, ...)."),
    ],
)  # fmt: skip
def test_a_bad_option_is_refused_by_its_name(overrides: Overrides, message: str) -> None:
    with pytest.raises(RequestError) as error:
        override(parse_suite(AXES_TEXT), overrides)
    assert str(error.value) == message


def test_control_characters_do_not_reach_a_message() -> None:
    assert refusal(AXES_TEXT + '  dtype: "\\e[31mred\\nblue"\n') == (
        's.yaml:5: axes.dtype: "\\u001b[31mred\\nblue" is not allowed. Give float32 or float64.'
    )
    assert refusal(AXES_TEXT + '  "\\e[31m\\n": 3\n').startswith(
        "s.yaml:5: axes.\\x1b[31m\\n: unknown key. Allowed: "
    )
    assert refusal(f"{AXES_TEXT}{'k' * 500}: 3\n").startswith(f"s.yaml:5: {'k' * 57}...: unknown key. ")


def test_suites_compare_by_meaning_not_by_place() -> None:
    one = parse_suite(AXES_TEXT)
    other = parse_suite("\n\n" + AXES_TEXT, name="suite")
    assert isinstance(one, Suite)
    assert one == other


DECLARED = (
    "tasks:\n  sales: {kind: forecasting, csv: data/sales.csv, target: units, horizon: 7}\n" + AXES_TEXT
)


def test_paths_of_a_declared_task_start_at_the_suite(tmp_path: Path) -> None:
    suite = parse_suite(DECLARED, folder=tmp_path)
    assert suite.tasks["sales"].kind == "forecasting"
    assert suite.tasks["sales"].options == {
        "csv": str(tmp_path / "data" / "sales.csv"),
        "target": "units",
        "horizon": 7,
    }
    assert parse_suite(dump_suite(suite)) == suite


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{csv: a.csv}", "s.yaml:2: tasks.sales: kind is missing. "
         f"Allowed: {', '.join(sorted(KINDS))}."),
        ("{kind: forcasting}",
         's.yaml:2: tasks.sales.kind: no kind "forcasting". Did you mean "forecasting"?'),
        ("{kind: [a]}", "s.yaml:2: tasks.sales.kind: no kind a list. "),
        ("{kind: forecasting, csv: a.csv}", "s.yaml:2: tasks.sales: "),
        ("{kind: forecasting, csv: a.csv, target: u, horizn: 3}", "s.yaml:2: tasks.sales.horizn: "),
        ("{kind: forecasting, csv: 3, target: u}", "s.yaml:2: tasks.sales.csv: "),
        ("{kind: forecasting, csv: a.csv, target: u, horizon: 0}", "s.yaml:2: tasks.sales.horizon: "),
        ("5", "s.yaml:2: tasks.sales: 5 is not allowed. "
         "Give a mapping with kind and the options of that kind."),
    ],
)  # fmt: skip
def test_a_bad_declaration_is_refused(given: str, message: str) -> None:
    assert refusal(f"tasks:\n  sales: {given}\n{AXES_TEXT}").startswith(message)


def test_a_bad_name_of_a_task_is_refused() -> None:
    message = "is no name for a task. Give letters, digits, _ and -, at most 64, a letter first."
    assert refusal("tasks:\n  <b>: {kind: copy}\n" + AXES_TEXT) == f"s.yaml:2: tasks.<b>: {message}"


def test_options_of_a_declared_task_can_be_set() -> None:
    suite = parse_suite(DECLARED)
    assert (
        override(suite, Overrides(settings=("tasks.sales.horizon=3",))).tasks["sales"].options["horizon"] == 3
    )
    with pytest.raises(RequestError, match=r"^--set tasks.sales.horizon=x: "):
        override(suite, Overrides(settings=("tasks.sales.horizon=x",)))


def test_the_schema_in_the_repository_is_that_of_the_format() -> None:
    # if this fails: rnnbench schema > suites/schema.json
    file = shipped_suites()["quick"].parent / "schema.json"
    assert json.loads(file.read_text("utf-8")) == schema()


def test_the_schema_knows_every_key() -> None:
    found = schema()
    definitions = found["$defs"]
    assert set(found["properties"]) == {"about", "tasks", "axes", "defaults", "exclude", "include", "budget"}
    assert set(definitions["Axes"]["properties"]) == set(definitions["Row"]["properties"]) == set(AXES)
    assert found["additionalProperties"] is False
    kinds = found["properties"]["tasks"]["additionalProperties"]["oneOf"]
    by_name = {kind["properties"]["kind"]["const"]: kind for kind in kinds}
    assert by_name.keys() == KINDS.keys()
    assert {"kind", "csv", "target"} <= set(by_name["forecasting"]["required"])


def test_a_starter_is_a_suite() -> None:
    suite = parse_suite(starter())
    assert suite.axes.values["task"] == ("copy",)
    assert suite.budget_s == 900


@pytest.mark.parametrize("uncommented", ["# exclude:", "# include:", "  # backend:", "  # hidden:"])
def test_what_a_starter_shows_in_comments_is_valid_too(uncommented: str) -> None:
    lines = starter().splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(uncommented))
    stop = start + 2 if uncommented.startswith("#") else start + 1
    text = "\n".join(
        line.replace("# ", "", 1) if start <= index < stop else line for index, line in enumerate(lines)
    )
    if "hidden" in uncommented:
        text = text.replace("  hidden: 64\n", "")
    assert parse_suite(text) != parse_suite(starter())


def test_a_starter_on_a_series_reads_its_columns(tmp_path: Path) -> None:
    csv = tmp_path / "data" / "sales.csv"
    csv.parent.mkdir()
    csv.write_text("date,price,shop,units\n2024-01-01,1.5,a b,3\n2024-01-02,,c,4\n", "utf-8")
    text = starter(csv, "units", file=tmp_path / "sales.yaml")
    assert 'csv: "data/sales.csv"' in text
    task = parse_suite(text, folder=tmp_path).tasks["mine"]
    assert task.kind == "forecasting"
    assert task.options == {
        "csv": str(csv), "time": "date", "target": "units", "features": ["price"], "horizon": 1,
    }  # fmt: skip
    assert 'target: "units"' in starter(csv, file=tmp_path / "sales.yaml"), "the last column of numbers"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.csv", 'words,mood\n"good, really good",up\nbad,down\n'),
        ("m.tsv", "words\tmood\ngood\tup\nbad\tdown\n"),
        ("m.jsonl", '{"words": "good one", "mood": "up"}\n\n{"words": "bad", "mood": "down"}\n'),
    ],
)
def test_a_starter_on_texts_names_the_text_and_the_label(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    task = parse_suite(starter(tmp_path / name, "mood", file=tmp_path / "s.yaml"), folder=tmp_path).tasks[
        "mine"
    ]
    assert task.kind == "text_classification"
    layout = name.partition(".")[2]
    assert task.options == {layout: str(tmp_path / name), "text": "words", "label": "mood"}


@pytest.mark.parametrize(
    ("content", "target", "message"),
    [
        (b"a,b\n1,2\n", "c", "--target c: {csv} has no such column. Allowed: a, b."),
        (b"date,units\n1,2\n", "unit", '--target unit: {csv} has no such column. Did you mean "units"?'),
        (b"a,b\n", None, "--csv {csv}: has no rows below its header"),
        (b"", None, "--csv {csv}: has no rows below its header"),
        (b"a,a\n1,2\n", None,
         '--csv {csv}: needs a header of distinct names; its first line starts with "a,a\\n1,2\\n"'),
        (b"\x00\x01", None, "--csv {csv}: is binary, not a table"),
        (b"\xff\xfe", None, "--csv {csv}: is not UTF-8"),
        (b"a\nx\n", "a", "--target a: the only column; a text is needed beside it"),
    ],
)  # fmt: skip
def test_a_starter_refuses_bad_data(tmp_path: Path, content: bytes, target: str | None, message: str) -> None:
    csv = tmp_path / "d.csv"
    csv.write_bytes(content)
    with pytest.raises(RequestError) as error:
        starter(csv, target)
    assert str(error.value) == message.format(csv=csv)


def test_a_starter_needs_the_file_it_is_to_read(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no such file$"):
        starter(tmp_path / "none.csv")
    with pytest.raises(RequestError, match=r"cannot be read: "):
        starter(tmp_path)
    with pytest.raises(RequestError, match=r"^--target x: names a column, and --csv no file$"):
        starter(target="x")
