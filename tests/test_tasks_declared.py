"""Tasks that a suite declares, and the built-in ones through the door of plugins."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rnnbench.contracts import TaskDeclaration
from rnnbench.errors import RequestError
from rnnbench.tasks import rnnbench_tasks
from rnnbench.tasks.declared import KINDS, declare

DATA = Path(sys.modules["rnnbench.tasks"].__file__).parent / "data"
RIVER = str(DATA / "river_fulda_daily.csv.gz")
SENTENCES = str(DATA / "sentiment_sentences.tsv.gz")


def of(kind, **options):
    return declare(TaskDeclaration("mine", kind, options))


def test_built_in_tasks():
    tasks = {task.name: task for task in rnnbench_tasks()}
    assert list(tasks) == [
        "copy",
        "adding",
        "reverse",
        "dates",
        "sentiment",
        "river",
        "weather",
        "co2",
        "stocks",
    ]
    assert [name for name, task in tasks.items() if not task.ranked] == ["stocks"]
    for task in tasks.values():
        data = task.prepare(26)
        shape, batch = data.shape, data.batch(0, 0, 4)
        assert task.about
        assert (shape.features is None) != (shape.vocab is None)
        assert (batch.lengths is not None) == shape.lengths
        assert batch.inputs.shape[2:] == (() if shape.features is None else (shape.features,))
        assert len(batch.targets) == 4


def test_shipped_data_has_its_sources():
    sources = (DATA / "SOURCES.md").read_text(encoding="utf-8")
    for file in DATA.iterdir():
        assert file.name == "SOURCES.md" or f"| {file.name} |" in sources


def test_discovering_tasks_imports_nothing_heavy():
    code = (
        "import sys, rnnbench.tasks as t; t.rnnbench_tasks(); "
        "print({'sklearn', 'scipy', 'pandas', 'pydantic', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_declared_river_is_the_built_in_one():
    task = of(
        "forecasting", csv=RIVER, time="date", target="discharge_m3s", log=True,
        features=["precipitation_mm", "tmean_c"],
    )  # fmt: skip
    built_in = next(t for t in rnnbench_tasks() if t.name == "river")
    assert np.array_equal(task.prepare(9).columns, built_in.prepare(9).columns)
    assert (task.name, task.ranked) == ("mine", True)
    listed = of("forecasting", csv=RIVER, target="discharge_m3s", log=["discharge_m3s"], horizon=3)
    assert listed.log == ("discharge_m3s",)
    assert listed.prepare(30).baselines()["trivial"].value == pytest.approx(0.597, abs=0.0006)


def test_declared_texts_and_synthetic_tasks():
    texts = of("text_classification", tsv=SENTENCES, label="source").prepare(8)
    assert texts.corpus.classes == ("amazon", "imdb", "yelp")
    cut = of("text_classification", tsv=SENTENCES, label="source", padding="pre", truncation="pre").prepare(8)
    assert (cut.padding, cut.truncation, texts.padding, texts.truncation) == ("pre", "pre", "post", "post")
    copy = of("copy", symbols=3, alphabet=4, evaluation=7).prepare(5)
    assert copy.batch(0, 0, 2).inputs.shape == (2, 11)
    assert sum(len(batch.inputs) for batch in copy.evaluation(4)) == 7
    assert copy.baselines()["trivial"].value == 0.25
    adding = of("adding", evaluation=11).prepare(4)
    assert sum(len(batch.inputs) for batch in adding.evaluation(4)) == 11


BAD = [
    ("forcasting", {}, "tasks.mine.kind", 'no kind "forcasting". Did you mean "forecasting"?'),
    ("forecasting", {"csv": "/a", "taget": "x", "target": "y"}, "tasks.mine.taget", 'Did you mean "target"?'),
    ("forecasting", {"csv": "/a"}, "tasks.mine", 'option "target" is missing'),
    ("forecasting", {"csv": 3, "target": "y"}, "tasks.mine.csv", "3 was given"),
    ("forecasting", {"csv": "/a", "target": "y", "horizon": "7"}, "tasks.mine.horizon", "'7' was given"),
    ("forecasting", {"csv": "/a", "target": "y", "horizon": 0}, "tasks.mine.horizon", "0 was given"),
    ("forecasting", {"csv": "/a", "target": "y", "horizon": True}, "tasks.mine.horizon", "True was given"),
    ("forecasting", {"csv": "/a", "target": "y", "features": ["y"]}, "tasks.mine.features", "is the target"),
    ("forecasting", {"csv": "/a", "target": "y", "features": ["x", "x"]}, "tasks.mine.features", "twice"),
    ("forecasting", {"csv": "/a", "target": "yy", "log": ["y"]}, "tasks.mine.log", 'Did you mean "yy"?'),
    ("text_classification", {}, "tasks.mine", "give one file: csv, tsv or jsonl"),
    ("text_classification", {"csv": "/a", "tsv": "/b"}, "tasks.mine", "give one file: csv, tsv or jsonl"),
    ("text_classification", {"csv": "/a", "label": "text"}, "tasks.mine.label", "is the text already"),
    ("copy", {"alphabet": 1}, "tasks.mine.alphabet", "1 was given"),
    ("copy", {"symbols": float("nan")}, "tasks.mine.symbols", "nan was given"),
    ("copy", {7: 1}, "tasks.mine.7", 'no option "7"'),
    ("adding", {"evaluation": 10**12}, "tasks.mine.evaluation", "1000000000000 was given"),
]


@pytest.mark.parametrize(("kind", "options", "where", "message"), BAD)
def test_wrong_declarations_are_refused_at_their_key(kind, options, where, message):
    with pytest.raises(RequestError) as error:
        declare(TaskDeclaration("mine", kind, options))
    assert error.value.where == where
    assert message in error.value.message


def test_every_kind_gives_a_schema_with_descriptions():
    for model in KINDS.values():
        schema = model.model_json_schema()
        assert schema["additionalProperties"] is False
        assert all(option["description"] for option in schema["properties"].values())
    assert KINDS["forecasting"].model_json_schema()["properties"]["csv"]["format"] == "path"
