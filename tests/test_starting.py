"""The first suite of a new user: a valid one, on their own columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnbench.errors import RequestError
from rnnbench.suite.loading import parse_suite
from rnnbench.suite.starting import starter


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
