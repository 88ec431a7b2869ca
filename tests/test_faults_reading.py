"""Folders that were cut, mixed up or written by others: named, and nothing is invented."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic

from rnnbench.cli import main
from rnnbench.errors import RequestError
from rnnbench.records import FORMAT
from rnnbench.report.page import render
from rnnbench.results import create, open_for_resume, open_run
from rnnbench.results.reading import read
from rnnbench.results.tidy import tabulate

WHOLE = synthetic.results(tasks=("copy",), lengths=(20,))
FILES = ("records.jsonl", "blocks.jsonl")


def written(folder: Path) -> Path:
    with create(folder, WHOLE.run) as writer:
        for block in WHOLE.blocks:
            writer.block(block)
        for record in WHOLE.records:
            writer.record(record)
    return folder


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def drop_lines(content: bytes, rng: random.Random) -> bytes:
    return b"".join(line for line in content.splitlines(keepends=True) if rng.random() < 0.7)


def tear_lines(content: bytes, rng: random.Random) -> bytes:
    """Some lines end too early, so that the next one follows without a newline."""
    lines = content.splitlines(keepends=True)
    return b"".join(line[: rng.randrange(len(line))] if rng.random() < 0.2 else line for line in lines)


def insert_garbage(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    foreign = [
        b"\n", b"\x00" * 50 + b"\n", b'{"case": 1}\n', b"null\n", b"[]\n", b"\xff\xfe\n", b'"NaN"\n',
        b"1e999\n", b"[" * 5000 + b"\n", b'{"a":' * 5000 + b"\n", b"<<<<<<< HEAD\n",
    ]  # fmt: skip
    for _ in range(3):
        lines.insert(rng.randrange(len(lines)), rng.choice(foreign))
    return b"".join(lines)


def flip_bits(content: bytes, rng: random.Random) -> bytes:
    flipped = bytearray(content)
    for _ in range(5):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def change_numbers(content: bytes, rng: random.Random) -> bytes:
    """Numbers that no clock and no plan gives: what can be valid JSON and is no block."""
    wild = [
        b"-1",
        b"0",
        b"1e308",
        b"-0.0",
        b"1e999",
        b"99999999999999999999",
        b"null",
        b"true",
        b'"NaN"',
        b'""',
    ]
    lines = content.splitlines(keepends=True)
    for _ in range(3):
        number = rng.randrange(len(lines))
        fields = lines[number].split(b":")
        place = rng.randrange(1, len(fields))
        fields[place] = b",".join([rng.choice(wild), *fields[place].split(b",")[1:]])
        lines[number] = b":".join(fields)
    return b"".join(lines)


@pytest.mark.parametrize("damage", [cut, drop_lines, tear_lines, insert_garbage])
@pytest.mark.parametrize("name", FILES)
def test_what_is_read_of_a_damaged_file_was_written_and_the_rest_is_named(
    damage: Callable[[bytes, random.Random], bytes], name: str, tmp_path: Path
) -> None:
    folder = written(tmp_path / "run")
    content = (folder / name).read_bytes()
    given = {"records.jsonl": WHOLE.records, "blocks.jsonl": WHOLE.blocks}[name]
    for seed in range(8):
        damaged = damage(content, random.Random(seed))
        (folder / name).write_bytes(damaged)
        results = read(folder)
        found = results.records if name == "records.jsonl" else results.blocks
        assert set(map(repr, found)) <= set(map(repr, given))
        good = set(content.splitlines()) & set(damaged.splitlines())
        assert len(found) == len(good), "every good line is used"
        lines = damaged.split(b"\n")
        bad = [number for number, line in enumerate(lines[:-1], 1) if line not in good]
        assert [int(problem.split(":")[1]) for problem in results.problems] == bad, "and every other is named"
        assert all(problem.startswith(f"{name}:") for problem in results.problems)


@pytest.mark.parametrize("damage", [flip_bits, change_numbers, insert_garbage, tear_lines])
def test_no_damage_ends_in_a_traceback(
    damage: Callable[[bytes, random.Random], bytes], tmp_path: Path
) -> None:
    folder = written(tmp_path / "run")
    contents = {name: (folder / name).read_bytes() for name in ("run.json", *FILES)}
    opened = 0
    for seed in range(6):
        rng = random.Random(seed)
        damaged = rng.choice([("run.json",), FILES, FILES, FILES])
        for name, content in contents.items():
            (folder / name).write_bytes(damage(content, rng) if name in damaged else content)
        try:
            results = open_run(folder)
        except RequestError as error:
            assert "run.json" in str(error)  # noqa: PT017 - it may also be read
            continue
        opened += 1
        assert all(0 < block.per_call_s < float("inf") for block in results.blocks)
        tabulate([results])
        assert "<html" in render(results, [])
    assert opened >= 3


def test_a_resumed_run_cuts_only_what_was_torn(tmp_path: Path) -> None:
    folder = written(tmp_path / "run")
    content = (folder / "blocks.jsonl").read_bytes()
    for damaged, kept in ((content[:-5], content[: content[:-5].rfind(b"\n") + 1]), (content[:-1], content)):
        (folder / "blocks.jsonl").write_bytes(damaged)
        open_for_resume(folder)[0].close()
        assert (folder / "blocks.jsonl").read_bytes() == kept
    middle = content.replace(b"}\n{", b"}\n!\n{", 1)
    (folder / "blocks.jsonl").write_bytes(middle)
    writer, results = open_for_resume(folder)
    writer.close()
    assert (folder / "blocks.jsonl").read_bytes() == middle, "what is damaged may still be looked at"
    assert results.problems
    assert set(results.blocks) == set(WHOLE.blocks)


def test_a_kill_before_the_run_began_leaves_a_folder_that_can_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".lock").touch()
    (folder / "run.json.new").write_text('{"format": 2, "na')
    with create(folder, WHOLE.run):
        pass
    assert read(folder).run == WHOLE.run
    assert not (folder / "run.json.new").exists()


def test_a_run_json_that_cannot_be_replaced_stays_and_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with create(tmp_path / "run", WHOLE.run) as writer:
        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", _no_space)
            with pytest.raises(OSError, match="No space left"):
                writer.finish(replace(WHOLE.run, finished="2026-03-01T10:00:00+00:00", about="other"))
        assert read(tmp_path / "run").run == WHOLE.run
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        ".lock",
        "blocks.jsonl",
        "records.jsonl",
        "run.json",
    ]


def _no_space(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_removed_file_is_noticed_when_it_is_written_to(tmp_path: Path) -> None:
    with create(tmp_path / "run", WHOLE.run) as writer:
        writer.block(WHOLE.blocks[0])
        (tmp_path / "run" / "blocks.jsonl").unlink()
        with pytest.raises(FileNotFoundError, match="removed while it was written"):
            writer.block(WHOLE.blocks[1])


def typed(*words: object, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    """(exit status, stdout, stderr) of the command line, in this process."""
    arguments, sys.argv = sys.argv, ["rnnbench", *map(str, words)]
    try:
        with pytest.raises(SystemExit) as left:
            main()
    finally:
        sys.argv = arguments
    said = capsys.readouterr()
    return left.value.code, said.out, said.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps({"format": FORMAT + 1}), f"has format {FORMAT + 1}"),
        (json.dumps({"format": 1, "name": "old"}), "has format 1"),
        (json.dumps({"results": []}), "not written by rnnbench"),
        ("", "not written by rnnbench"),
        (None, "no run at or below"),
    ],
    ids=["newer", "older", "foreign", "empty", "none"],
)
def test_commands_name_a_folder_that_they_cannot_read(
    content: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "strange"
    folder.mkdir()
    if content is not None:
        (folder / "run.json").write_text(content)
    before = sorted(folder.iterdir())
    for words in (("report",), ("export",), ("export", "--format", "jsonl")):
        status, out, errors = typed(*words, folder, capsys=capsys)
        assert (status, out) == (2, "")
        assert str(folder) in errors
        assert said in errors
        assert len(errors.splitlines()) == 1
    assert sorted(folder.iterdir()) == before


def test_commands_use_the_good_lines_of_a_damaged_run_and_name_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path / "run")
    path = folder / "records.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"\x00 not ours\n", *lines[1:-1], lines[-1][:40]]))
    for words in (("report",), ("export",)):
        status, out, errors = typed(*words, folder, capsys=capsys)
        assert not status
        assert len(out.splitlines()) == 1
        assert f"{folder}: records.jsonl:2: " in errors
        assert len(errors.splitlines()) == 1
    exported = (folder / "records.csv").read_text().splitlines()
    assert len(exported) == 1 + len(WHOLE.records) - 1
    assert "1 line of the files could not be read" in (folder / "report.html").read_text()
