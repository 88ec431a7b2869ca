from __future__ import annotations

import gc
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnbench.errors import RequestError
from rnnbench.records import FORMAT, STATUSES, Block, Case, Curve, Finding, Record, Run, Score
from rnnbench.results import create, find_runs, open_for_resume
from rnnbench.results.encoding import decode, decode_all, encode
from rnnbench.results.reading import read, timings
from rnnbench.results.tidy import load

WHOLE = synthetic.results(tasks=("copy",), lengths=(20, 50))


def written(folder: Path, results: synthetic.RunResults = WHOLE) -> Path:
    with create(folder, results.run) as writer:
        for block in results.blocks:
            writer.block(block)
        for record in results.records:
            writer.record(record)
    return folder


def test_what_is_written_reads_back_equal(tmp_path: Path) -> None:
    assert read(written(tmp_path / "run")) == WHOLE


def test_every_status_and_hostile_name_survives(tmp_path: Path) -> None:
    records = [synthetic.record(synthetic.case(cell=status), status) for status in STATUSES]
    records += synthetic.hostile().records
    results = replace(synthetic.hostile(), records=tuple(records), problems=())
    assert read(written(tmp_path / "run", results)) == results


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(), min_size=1, max_size=4),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), st.floats(), max_size=3),
)
def test_records_survive_json_and_the_json_is_valid(
    scores: list[float], reason: str, phases: dict[str, float]
) -> None:
    curve = Curve(0, tuple(range(len(scores))), tuple(scores), tuple(scores), "budget")
    case = synthetic.case()
    score = Score("m", True, case.key, (curve,), trivial=scores[0])
    record = Record(case, "diverged", reason, score=score, phases=phases)
    line = encode(record)
    assert b"\n" not in line
    json.loads(line, parse_constant=pytest.fail)
    # repr compares NaN with itself
    assert repr(decode(Record, line)) == repr(record)


def test_a_stray_byte_costs_no_record() -> None:
    record = Record(synthetic.case(), "crashed", reason="before \udc80 after")
    assert decode(Record, encode(record)).reason == "before ? after"


def test_numpy_scalars_become_numbers() -> None:
    record = Record(
        synthetic.case(), "ok", phases={"build_s": np.float32(0.5)}, memory={"a_bytes": np.int64(7)}
    )  # type: ignore[dict-item]
    back = decode(Record, encode(record))
    assert (back.phases, back.memory) == ({"build_s": 0.5}, {"a_bytes": 7})


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b'"length":20', b'"length":"20"', "case.length"),
        (b'"length":20', b'"length":20.5', "case.length"),
        (b'"status":"ok"', b'"status":"fine"', "status"),
        (b'"reason":""', b'"reason":"","verdict":1', "verdict"),
        (b'"backend":"torch",', b"", "case.backend"),
    ],
)
def test_damage_is_named_by_its_key(old: bytes, new: bytes, named: str) -> None:
    line = encode(Record(synthetic.case(), "ok"))
    assert old in line
    with pytest.raises(RequestError) as caught:
        decode(Record, line.replace(old, new))
    assert caught.value.where == named


@pytest.mark.parametrize(
    ("old", "new", "said", "named"),
    [
        (b'"loops":3', b'"loops":"3"', "Expected `int`, got `str`, given", "loops"),
        (b',"loops":3', b"", "missing required field `loops`, given", ""),
        (b'"loops":3', b'"loops":3,"x":1', "unknown field `x`, given", ""),
    ],
)
def test_what_is_damaged_in_a_block_is_said_whole(old: bytes, new: bytes, said: str, named: str) -> None:
    line = encode(Block("k", "forward", 0, 0, 0, 3, 0.5))
    assert old in line
    with pytest.raises(RequestError) as caught:
        decode(Block, line.replace(old, new))
    assert said in str(caught.value)
    assert caught.value.where == named


@pytest.mark.parametrize(
    ("loops", "seconds"), [(0, 1.0), (-1, 1.0), (1, 0.0), (1, -1.0), (1, math.nan), (1, math.inf)]
)
def test_a_block_that_is_no_time_is_refused(loops: int, seconds: float) -> None:
    line = encode(Block("k", "forward", 0, 0, 0, loops, seconds))
    with pytest.raises(RequestError) as caught:
        decode(Block, line)
    assert caught.value.where == ("seconds" if loops > 0 else "loops")
    assert decode_all(Block, line + b"\n") is None


@pytest.mark.parametrize("name", ["records.jsonl", "blocks.jsonl"])
def test_a_kill_at_any_byte_of_the_last_line_loses_only_that_line(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path / "run", replace(WHOLE, records=WHOLE.records[:3], blocks=WHOLE.blocks[:3]))
    path = folder / name
    content = path.read_bytes()
    start = content.rstrip(b"\n").rfind(b"\n") + 1
    kind = name.split(".")[0]
    for cut in [*range(start, len(content), 37), len(content) - 2, len(content) - 1]:
        path.write_bytes(content[:cut])
        results = read(folder)
        # all but the newline is a whole line
        assert len(getattr(results, kind)) == (3 if cut == len(content) - 1 else 2)
        assert results.problems == ()
        writer, resumed = open_for_resume(folder)
        with writer:
            assert resumed == results
            (writer.record(WHOLE.records[3]) if kind == "records" else writer.block(WHOLE.blocks[3]))
        again = read(folder)
        assert again.problems == ()
        assert len(getattr(again, kind)) == len(getattr(results, kind)) + 1
        path.write_bytes(content)


def test_a_killed_writer_leaves_whole_lines_and_a_free_folder(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; sys.path.insert(0, 'tests'); import synthetic\n"
        "from pathlib import Path\nfrom rnnbench.results import create\n"
        "writer = create(Path(sys.argv[1]), synthetic.run())\n"
        "[writer.record(synthetic.record(synthetic.case(length=n))) for n in range(1, 6)]\n"
        'os.write(writer._records.fileno(), b\'{"case":{"ta\'); os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    folder = tmp_path / "run"
    root = Path(__file__).parent.parent
    subprocess.run([sys.executable, "-c", script, folder], cwd=root, check=False)
    assert [record.case.length for record in read(folder).records] == [1, 2, 3, 4, 5]
    writer, results = open_for_resume(folder)
    writer.close()
    assert len(results.records) == 5
    assert (folder / "records.jsonl").read_bytes().endswith(b"}\n")


def test_damage_in_the_middle_is_named_and_the_others_are_used(tmp_path: Path) -> None:
    folder = written(tmp_path / "run")
    path = folder / "records.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"ok"', b'"fine"')
    lines[2] = b"\x00\xff\n"
    path.write_bytes(b"".join(lines))
    results = read(folder)
    assert len(results.records) == len(WHOLE.records) - 2
    assert [problem.split(": ")[0] for problem in results.problems] == ["records.jsonl:2", "records.jsonl:3"]
    assert results.blocks == WHOLE.blocks


def test_the_last_record_of_a_case_counts(tmp_path: Path) -> None:
    case = synthetic.case()
    with create(tmp_path / "run", synthetic.run()) as writer:
        writer.record(Record(case, "timeout", "not done after 120 s"))
        writer.record(synthetic.record(synthetic.case(length=50)))
        writer.record(synthetic.record(case))
    assert [(r.case.length, r.status) for r in read(tmp_path / "run").records] == [(20, "ok"), (50, "ok")]


def test_finish_replaces_the_run_and_leaves_no_other_file(tmp_path: Path) -> None:
    run = synthetic.run(finished="")
    with create(tmp_path / "run", run) as writer:
        assert read(tmp_path / "run").run == run
        ended = replace(run, finished="2026-03-01T10:00:00+00:00", findings=(Finding("noisy", "load"),))
        writer.finish(ended)
    assert read(tmp_path / "run").run == ended
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        ".lock", "run.json", "records.jsonl", "blocks.jsonl",
    }  # fmt: skip


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    folder = written(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RequestError, match=r"holds run .* already") as caught:
        create(folder, synthetic.run(name="another"))
    assert caught.value.where == str(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_of_something_else_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RequestError, match="not a results folder"):
        create(tmp_path, synthetic.run())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(RequestError, match="not a results folder"):
        create(tmp_path / "thesis.tex", synthetic.run())
    for use in (read, open_for_resume):
        with pytest.raises(RequestError, match=r"holds no run\.json"):
            use(tmp_path)
        with pytest.raises(RequestError, match="no such"):
            use(tmp_path / "absent")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            json.dumps({"format": FORMAT + 1}),
            f"has format {FORMAT + 1}; this rnnbench reads",
        ),
        (json.dumps({"format": "1"}), "has format '1'"),
        (json.dumps({"format": FORMAT, "name": 3}), "damaged"),
        ("[1, 2]", "not written by rnnbench"),
        ("", "not written by rnnbench"),
        ("\x00\x01", "not written by rnnbench"),
        ("[" * 100_000, "not written by rnnbench"),
    ],
)
def test_a_run_json_that_is_not_ours_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "run.json").write_text(content)
    for use in (read, open_for_resume, load, lambda folder: create(folder, synthetic.run())):
        with pytest.raises(RequestError, match=message) as caught:
            use(tmp_path)
        assert caught.value.where == str(tmp_path / "run.json")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RequestError, match="cannot be written to"):
            create(tmp_path / "run", synthetic.run())
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be written to"):
        create(tmp_path / "file" / "run", synthetic.run())


def test_two_writers_never_share_a_folder(tmp_path: Path) -> None:
    with (
        create(tmp_path / "run", synthetic.run()),
        pytest.raises(RequestError, match="another run is writing"),
    ):
        open_for_resume(tmp_path / "run")
    writer, _ = open_for_resume(tmp_path / "run")
    writer.close()


def test_a_case_that_would_read_back_as_another_is_refused_at_the_door(tmp_path: Path) -> None:
    case = synthetic.case(forget_bias=1)  # an integer where 1.0 is meant has another key
    with create(tmp_path / "run", synthetic.run()) as writer:
        with pytest.raises(ValueError, match="another type"):
            writer.record(Record(case, "ok"))
        with pytest.raises(ValueError, match="could not be read again"):
            writer.record(Record(synthetic.case(), "fine"))  # type: ignore[arg-type]
    assert read(tmp_path / "run").records == ()


def test_keys_of_files_that_are_already_written_hold() -> None:
    assert Case("copy", 10, "gru", "numpy", "native").key == "copy-T10-gru-H64-numpy-native-cpu-d528771d"
    keys = {Case("copy", 10, "gru", "numpy", "native", projection=P).key for P in (None, 3, 4)}
    assert len(keys) == 3, "what older files do not have still tells cases apart"


def test_blocks_of_a_sitting_that_was_begun_again_do_not_mix() -> None:
    first = [Block("k", "forward", 0, number, 0, 1, 9.0) for number in range(5)]
    other = [Block("k", "forward", 1, number, 0, 2, 4.0) for number in range(2)]
    again = [Block("k", "forward", 0, number, 0, 2, 1.0) for number in range(2)]
    assert timings([*first, *other, *again]) == {
        ("k", "forward"): {0: {0: 0.5, 1: 0.5}, 1: {0: 2.0, 1: 2.0}}
    }  # fmt: skip


def test_load_is_tidy_and_agrees_with_the_records(tmp_path: Path) -> None:
    written(tmp_path / "a")
    written(tmp_path / "b", replace(WHOLE, run=synthetic.run(name="second")))
    table = load(tmp_path)
    assert len(table) == 2 * len(WHOLE.records)
    assert set(table["run"]) == {WHOLE.run.name, "second"}
    for row, record in zip(table.to_dict("records"), WHOLE.records, strict=False):
        assert (row["key"], row["cell"], row["hidden"]) == (record.case.key, record.case.cell, 64)
        assert (row["train_lr"], row["status"], row["reason"]) == (0.003, record.status, record.reason)
        timed = [b for b in WHOLE.blocks if (b.case, b.phase) == (record.case.key, "train_step")]
        calls = [block.seconds / block.loops for block in timed]
        if record.status != "ok":
            assert pd.isna(row["train_step_median_s"])
            continue
        assert min(calls) <= row["train_step_low_s"] or row["train_step_low_s"] < row["train_step_median_s"]
        assert row["train_step_low_s"] < row["train_step_median_s"] < row["train_step_high_s"]
        assert row["train_step_median_s"] == pytest.approx(float(np.median(calls)), rel=0.02)
        finals = [curve.scores[-1] for curve in record.score.curves]  # type: ignore[union-attr]
        assert row["score_mean"] == pytest.approx(np.mean(finals))
        assert (row["score_min"], row["score_max"], row["seeds"]) == (min(finals), max(finals), 3)
        assert (row["trivial"], row["simple"], row["host_peak_bytes"]) == (0.125, 0.31, 512 << 20)


def test_load_leaves_the_collector_as_it_was(tmp_path: Path) -> None:
    folder = written(tmp_path / "run")
    gc.disable()
    try:
        load(folder)
        assert not gc.isenabled()
    finally:
        gc.enable()
    load(folder)
    assert gc.isenabled()


def test_a_run_without_records_is_an_empty_table_with_columns(tmp_path: Path) -> None:
    create(tmp_path / "run", synthetic.run()).close()
    table = load(tmp_path)
    assert len(table) == 0
    assert {"status", "train_step_median_s", "score_mean"} <= set(table.columns)


def test_a_path_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no run at or below") as caught:
        load(tmp_path)
    assert caught.value.where == str(tmp_path)
    folder = written(tmp_path / "run")
    assert find_runs([tmp_path, folder]) == [folder]


def test_run_survives() -> None:
    assert decode(Run, encode(synthetic.run())) == synthetic.run()
