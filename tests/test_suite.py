"""Reading suites: what is given is what is read, and every kind of bad input has its exact message."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnbench.errors import RequestError
from rnnbench.planning.plan import plan
from rnnbench.plugins import discover
from rnnbench.records import MEASURES, Case, Train
from rnnbench.suite.format import AXES, TRAINED
from rnnbench.suite.loading import Suite, load_suite, parse_suite, shipped_suites
from rnnbench.suite.overrides import Overrides
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


def test_what_tells_cases_apart_is_an_axis() -> None:
    # interpreters and revisions are of the machine, not of a suite: they come from the command line
    assert set(AXES) - set(TRAINED) == set(Case.__dataclass_fields__) - {"train", "measure", "env"}


def test_what_a_training_differs_in_may_be_an_axis() -> None:
    suite = parse_suite(AXES_TEXT + "  clip: [null, 0.5]\n  window: 7\ndefaults: {train: {lr: 0.1}}\n")
    cases = plan(suite, discover()).cases
    assert {(case.train.clip, case.clip) for case in cases} == {(None, None), (0.5, 0.5)}
    assert {(case.train.window, case.window, case.train.lr) for case in cases} == {(7, 7, 0.1)}
    assert len({case.key for case in cases}) == len(cases)
    changed = plan(suite, discover(), overrides=Overrides(settings=("clip=2.0", "train.lr=1.0")))
    assert {(case.clip, case.window, case.train.lr) for case in changed.cases} == {(2.0, 7, 1.0)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{AXES_TEXT}  clip: 1.0\ndefaults: {{train: {{clip: null}}}}\n",
         "s.yaml:6: defaults.train.clip: is given in axes too; keep one of the two"),
        (f"{AXES_TEXT}defaults: {{window: 3}}\n",
         "s.yaml:5: defaults.window: unknown key here. It belongs in axes.window or defaults.train.window"),
        (f"{AXES_TEXT}  window: 0\n",
         "s.yaml:5: axes.window: 0 is not allowed. Give a whole number from 1 to 1,000,000 or null."),
    ],
)  # fmt: skip
def test_a_key_of_training_has_one_place(text: str, message: str) -> None:
    assert refusal(text) == message


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
        ("projection: [4, null, 0]", "s.yaml:5: axes.projection[2]: 0 is not allowed. "
         f"{HIDDEN[:-1]} or null."),
        ("forget_bias: .nan", f"s.yaml:5: axes.forget_bias: nan is not allowed. {BIAS}"),
        ("forget_bias: false", f"s.yaml:5: axes.forget_bias: false is not allowed. {BIAS}"),
        ("dtype: float16", 's.yaml:5: axes.dtype: "float16" is not allowed. Give float32 or float64.'),
        ("init: 3", "s.yaml:5: axes.init: 3 is not allowed. "
         "Give uniform, glorot, orthogonal, identity or zero."),
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
         'Give sgd, adam or ridge.'),
        ("defaults: {train: 5}", f"s.yaml:5: defaults.train: 5 is not allowed. {MAPPING}"),
        ("defaults: {measure: [forward, train]}", 's.yaml:5: defaults.measure[1]: "train" is not allowed. '
         f"Give {', '.join(MEASURES[:-1])} or {MEASURES[-1]}. "),
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
@settings(max_examples=20, deadline=None)
def test_what_is_given_is_read_and_the_order_of_keys_has_no_meaning(value: dict[str, Any]) -> None:
    turned = {key: value[key] for key in reversed(value)}
    turned["axes"] = {key: value["axes"][key] for key in reversed(value["axes"])}
    text = json.dumps(value).replace("\\ud", "?")
    one, other = parse_suite(text), parse_suite(json.dumps(turned).replace("\\ud", "?"))
    assert one == other
    assert list(one.axes.values) == list(other.axes.values)
    # what stands there is what was asked for, read once more by another reader
    asked = json.loads(text)
    train, hidden, measure = (asked["defaults"][key] for key in ("train", "hidden", "measure"))
    assert (one.about, one.defaults, one.measure) == (asked["about"], {"hidden": hidden}, tuple(measure))
    assert one.budget_s == 60 * int(asked["budget"].split()[0])
    assert {key: getattr(one.train, key) for key in train} == train
    rows = (
        (one.axes, asked["axes"]),
        (one.include[0], asked["include"][0]),
        (one.exclude[0], asked["exclude"][0]),
    )
    for row, stood in rows:
        several = {key: value if isinstance(value, list) else [value] for key, value in stood.items()}
        assert {key: list(values) for key, values in row.values.items()} == several


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
