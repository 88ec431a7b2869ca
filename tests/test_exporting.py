"""Tables read back by pandas; other tools' formats by the tools, or by a schema where there is none."""

from __future__ import annotations

import html
import io
import json
import math
import re
import statistics
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from junitparser import Error, Failure, Skipped
from junitparser.xunit2 import JUnitXml
from markdown_it import MarkdownIt
from msgspec import structs
from pytest_benchmark.stats import Stats
from synthetic import HOSTILE

from rnnbench.compare import compare_runs
from rnnbench.errors import RequestError
from rnnbench.escaping import safe
from rnnbench.exporting import FILES
from rnnbench.exporting import export as write
from rnnbench.exporting.github_action import github_action_benchmark
from rnnbench.exporting.junit import junit, printable
from rnnbench.exporting.pytest_benchmark import pytest_benchmark, statistics_of
from rnnbench.exporting.summary import LIMIT_BYTES, escaped, summary
from rnnbench.exporting.tensorboard import folder_name, tensorboard
from rnnbench.records import STATUSES, Curve, Record, Score
from rnnbench.results.exporting import FORMATS, export
from rnnbench.results.reading import RunResults
from rnnbench.results.tidy import tabulate
from rnnbench.stats import estimate

RUNS = [synthetic.results(tasks=("copy",), lengths=(20, 50)), replace(synthetic.hostile(), problems=())]
TABLE = tabulate(RUNS)


def test_csv_reads_back() -> None:
    found = pd.read_csv(io.BytesIO(export(RUNS, "csv")))
    assert list(found.columns) == list(TABLE.columns)
    assert list(found["cell"]) == list(TABLE["cell"])
    assert found["train_step_median_s"].to_numpy() == pytest.approx(TABLE["train_step_median_s"], nan_ok=True)


def test_json_lines_read_back_one_record_each() -> None:
    lines = export(RUNS, "jsonl").decode().splitlines()
    rows = [
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")) for line in lines
    ]
    assert [row["cell"] for row in rows] == list(TABLE["cell"])
    assert [row["length"] for row in rows] == list(TABLE["length"])
    assert all(row["train_step_median_s"] is None for row in rows if row["status"] != "ok")


def test_parquet_reads_back() -> None:
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(export(RUNS, "parquet"))), TABLE)


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_not_finite_and_what_is_not_there_can_be_written(format: str) -> None:
    case = synthetic.case()
    curves = (Curve(0, (1,), (math.inf,), (math.nan,), "budget"), Curve(1, (), (), (), "budget"))
    record = Record(case, "diverged", "loss is NaN", score=Score("mse", False, case.key, curves))
    assert len(export([replace(RUNS[0], records=(record,), blocks=())], format)) > 100
    assert export([replace(RUNS[0], records=(), blocks=())], format) is not None


@pytest.mark.parametrize("format", FORMATS)
def test_equal_results_give_equal_bytes(format: str) -> None:
    assert export(RUNS, format) == export(RUNS, format)


def test_another_format_is_named() -> None:
    with pytest.raises(RequestError, match='Did you mean "parquet"'):
        export(RUNS, "parket")


def failing() -> RunResults:
    """A case of every status."""
    cases = [synthetic.case(length=n) for n, _ in enumerate(STATUSES, start=1)]
    records = tuple(synthetic.record(c, status) for c, status in zip(cases, STATUSES, strict=True))
    return RunResults(synthetic.run(), records, tuple(synthetic.blocks(cases[0], 1e-5)))


def test_pytest_benchmark_compares_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    for results in RUNS:
        path.write_bytes(pytest_benchmark(results))
        done = subprocess.run(
            [Path(sys.executable).with_name("pytest-benchmark"), "compare", path, "--csv", tmp_path / "t"],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        timings = results.timings
        ok = [record.case for record in results.records if record.status == "ok"]
        keys = [(case, phase) for case in ok for phase in case.measure if (case.key, phase) in timings]
        table = pd.read_csv(tmp_path / "t.csv").set_index("name")
        assert len(table) == len(keys) > 10
        for case, phase in keys:
            times = [time for rounds in timings[case.key, phase].values() for time in rounds.values()]
            row = table.loc[f"{safe(results.run.suite)}::{safe(f'{case.key}[{phase}]')}"]
            assert row["min"] == pytest.approx(min(times))
            assert row["median"] == pytest.approx(statistics.median(times))
            assert safe(f"{case.key}[{phase}]") in done.stdout


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=30))
def test_the_columns_are_those_of_pytest_benchmark(times: list[float]) -> None:
    theirs = Stats()
    for time in times:
        theirs.update(time)
    ours = statistics_of(times)
    for field in Stats.fields:
        if "outliers" in field or "15iqr" in field:
            continue  # a value on a fence falls on either side by rounding
        assert ours[field] == pytest.approx(getattr(theirs, field), abs=1e-12), field
    assert set(ours) == {*Stats.fields, "data", "iterations"}


def test_outliers_are_counted_as_pytest_benchmark_does() -> None:
    theirs = Stats()
    times = [1.0, 1.1, 1.2, 1.25, 1.3, 9.0, 0.01]
    for time in times:
        theirs.update(time)
    assert {field: statistics_of(times)[field] for field in Stats.fields} == pytest.approx(theirs.as_dict())


CUSTOM_SMALLER_IS_BETTER = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "unit", "value"],
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "unit": {"type": "string", "minLength": 1},
            "value": {"type": "number"},
            "range": {"type": "string", "pattern": r"^± \d[\d.e+-]+$"},
            "extra": {"type": "string"},
        },
        "additionalProperties": False,
    },
}
"""Written from the README of benchmark-action/github-action-benchmark and what its source reads of a range:
the tool itself is JavaScript and runs in a workflow only."""


def test_github_action_benchmark() -> None:
    validator = Draft202012Validator(CUSTOM_SMALLER_IS_BETTER)
    for results in RUNS:
        entries = json.loads(github_action_benchmark(results))
        validator.validate(entries)
        names = [entry["name"] for entry in entries]
        assert len(set(names)) == len(names)
        found = {entry["name"]: entry for entry in entries}
        for (key, phase), samples in results.timings.items():
            time, entry = estimate(samples), found[safe(f"{key} {phase}")]
            assert (entry["unit"], entry["value"]) == ("us", pytest.approx(time.value * 1e6))
            assert time.low is not None
            assert time.high is not None
            assert float(entry["range"][2:]) == pytest.approx(5e5 * (time.high - time.low), rel=1e-5)
    assert not validator.is_valid([{"name": "a", "unit": "us", "value": "3"}])
    one = synthetic.results(tasks=("copy",), lengths=(20,), processes=1)
    assert all("range" not in entry for entry in json.loads(github_action_benchmark(one)))


def test_junit_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_bytes(junit([failing(), RUNS[1]]))
    statuses, hostile = JUnitXml.fromfile(str(path))
    assert (statuses.tests, statuses.failures, statuses.errors, statuses.skipped) == (9, 2, 4, 2)
    for case, record in zip(statuses, failing().records, strict=True):
        assert (case.classname, case.name) == ("long_deps", record.case.key)
        if record.status == "ok":
            assert case.result == []
            assert case.time == pytest.approx(sum(block.seconds for block in failing().blocks), abs=1e-6)
            continue
        (result,) = case.result
        assert (result.type, result.message) == (record.status, record.reason)
        kind = {"mismatch": Failure, "diverged": Failure, "skipped": Skipped, "unsupported": Skipped}
        assert type(result) is kind.get(record.status, Error)
    reasons = [case.result[0].message for case in hostile if case.result]
    escaped = [name.replace("\n", "\\n").replace("\t", "\\t").replace("\a", "\\x07") for name in HOSTILE]
    assert reasons == escaped
    assert [case.name for case in hostile if not case.result] == [
        printable(record.case.key) for record in RUNS[1].records if record.status == "ok"
    ]
    found = [prop.value for case in hostile for prop in case.properties() if prop.name == "noisy"]
    assert found == escaped


@given(st.text())
def test_any_text_can_stand_in_xml(text: str) -> None:
    element = ElementTree.Element("e", a=printable(text))
    assert ElementTree.fromstring(ElementTree.tostring(element)).get("a") == printable(text)


def page_of(markdown: bytes) -> str:
    return MarkdownIt("commonmark").enable("table").render(markdown.decode())


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", page))


def test_summary_of_a_run() -> None:
    page = page_of(summary(RUNS[0]))
    assert page.count("<table>") == len({record.case.group for record in RUNS[0].records})
    for record in RUNS[0].records:
        if record.status not in ("ok", "skipped", "unsupported"):
            assert f"{record.status} {record.case.key}: {record.reason}" in text_of(page)


def test_hostile_names_are_text_in_a_summary() -> None:
    results = RUNS[1]
    content = summary(results)
    page = page_of(content)
    tags = set(re.findall(r"<(\w+)", page))
    assert tags <= {"h2", "h3", "p", "ul", "li", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    for name in HOSTILE:
        assert safe(name, 200) in text_of(page)
    for text in (
        "a|b",
        "@someone",
        "#12",
        ":tada: x",
        "`code`",
        "1 < 2 & 3",
        "[a](b)",
        "*x* _y_",
        "\\",
        "a\r\nb",
    ):
        line = f"| {escaped(text)} | end |"
        rendered = page_of(f"| a | b |\n|---|---|\n{line}\n".encode())
        assert re.findall(r"<td>(.*?)</td>", rendered) == [html.escape(safe(text), quote=False), "end"]
    assert "<script" in page_of(b"<script>"), "the renderer lets markup through where it is not escaped"


def test_a_summary_stays_small_and_says_what_it_left_out() -> None:
    many = synthetic.results(lengths=range(1, 40), processes=1, troubled=False)
    content = summary(many)
    assert len(content) <= LIMIT_BYTES == 60_000
    assert re.search(r"\n… and [\d,]+ more lines", content.decode())
    assert "more lines" not in summary(RUNS[0]).decode()
    assert len(summary(replace(RUNS[0], records=(), blocks=()))) < 200


def test_what_changed_stands_first_in_a_summary() -> None:
    base = synthetic.results(tasks=("copy",), lengths=(20, 50), troubled=False)
    slower, broken = base.records[5].case.key, base.records[9].case.key
    blocks = [
        structs.replace(block, seconds=block.seconds * (2 if block.case == slower else 1))
        for block in base.blocks
        if block.case != broken
    ]
    records = [
        replace(record, status="failed", reason="it | broke", score=None)
        if record.case.key == broken
        else record
        for record in base.records
    ]
    head = replace(base, records=tuple(records), blocks=tuple(blocks))
    page = page_of(summary(head, compare_runs(base, head)))
    assert f"newly failing {broken}: ok → failed: it | broke" in text_of(page)
    rows = re.findall(r"<tr>(.*?)</tr>", page.split("<h2>")[1], re.DOTALL)[1:]
    verdicts = [text_of(row).split("\n")[1] for row in rows]
    assert verdicts[:2] == ["suspect", "suspect"]
    assert set(verdicts[2:]) == {"unchanged", "within_spread"}
    assert all(slower in row and "2.00×" in text_of(row) for row in rows[:2])


def test_learning_curves_in_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # TensorBoard's reader would load TensorFlow where there is one
    monkeypatch.setitem(sys.modules, "tensorboard.compat.notf", types.ModuleType("notf"))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    small = synthetic.results(tasks=("copy",), lengths=(20,), cells=("gru",), troubled=False)
    runs = [small, small, RUNS[1]]
    trained = [[record for record in each.records if record.score and record.status == "ok"] for each in runs]
    assert tensorboard(runs, tmp_path) == sum(len(r.score.curves) for of in trained for r in of if r.score)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted([small.run.name, f"{small.run.name}-2", folder_name(HOSTILE[0])])
    read_back = set()
    for file in sorted(tmp_path.rglob("events.*")):
        events = EventAccumulator(str(file.parent))
        events.Reload()
        (key,) = events.Tensors("case/text_summary")[0].tensor_proto.string_val
        read_back.add(key.decode())
        record = next(r for of in trained for r in of if r.case.key == key.decode())
        assert record.score is not None
        curve = record.score.curves[int(file.parent.name.removeprefix("seed-"))]
        for tag, values in ((f"score/{record.score.metric}", curve.scores), ("loss", curve.loss)):
            found = events.Scalars(tag)
            assert tuple(event.step for event in found) == curve.steps
            assert [event.value for event in found] == pytest.approx(values)
    assert read_back == {record.case.key for of in trained for record in of}
    record = trained[0][0]
    step = estimate(small.timings[record.case.key, "train_step"]).value
    events = EventAccumulator(str(tmp_path / small.run.name / record.case.key / "seed-0"))
    events.Reload()
    first, *_, last = events.Scalars("loss")
    assert last.wall_time - first.wall_time == pytest.approx(step * (last.step - first.step), abs=1e-6)


def test_runs_without_a_curve_make_no_folder(tmp_path: Path) -> None:
    untrained = replace(RUNS[0], records=tuple(replace(record, score=None) for record in RUNS[0].records))
    with pytest.raises(RequestError, match="no curve"):
        write([untrained], "tensorboard", tmp_path / "tb")
    assert not (tmp_path / "tb").exists()


@pytest.mark.parametrize("format", [name for name in FILES if name not in FORMATS])
def test_equal_runs_give_equal_files(format: str, tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        write(RUNS[:1], format, tmp_path / name)
        files = sorted((tmp_path / name).rglob("events.*")) or [tmp_path / name]
        contents.append([file.read_bytes() for file in files])
    assert contents[0] == contents[1] != []


@pytest.mark.parametrize("format", ["pytest-benchmark", "github-action-benchmark", "summary"])
def test_some_formats_take_one_run(format: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="takes one run, and these are 2"):
        write(RUNS, format, tmp_path / "f")


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for format in FILES:
        with pytest.raises(RequestError, match="cannot be written"):
            write(RUNS[:1], format, tmp_path / "file" / "f")
    with pytest.raises(RequestError, match='Did you mean "junit"'):
        write(RUNS[:1], "junitt", tmp_path / "f")
