"""``rnnbench compare`` as a user types it, with runs as files, in git and in a zip."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from msgspec import structs

from rnnbench.cli import main
from rnnbench.cli.comparing import _bounds
from rnnbench.results import create
from rnnbench.results.reading import RunResults
from rnnbench.stats import Interval

Said = Callable[..., tuple[int, str, str]]


def put(folder: Path, results: RunResults, *, day: int = 1, suite: str = "long_deps") -> Path:
    """Write a run as rnnbench does."""
    run = replace(results.run, name=folder.name, suite=suite, started=f"2026-01-{day:02}T00:00:00+00:00")
    with create(folder, run) as writer:
        for block in results.blocks:
            writer.block(block)
        for record in results.records:
            writer.record(record)
    return folder


def faster(results: RunResults, factor: float) -> RunResults:
    return replace(
        results, blocks=tuple(structs.replace(b, seconds=b.seconds * factor) for b in results.blocks)
    )


SMALL = synthetic.results(tasks=("copy",), lengths=(20,), backends=("torch", "jax"), troubled=False)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    put(tmp_path / "results" / "base", SMALL)
    put(tmp_path / "results" / "head", SMALL, day=2)
    return tmp_path


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rnnbench", *map(str, words)])
        with pytest.raises(SystemExit) as leaving:
            main()
        out, err = capsys.readouterr()
        assert isinstance(leaving.value.code, int)
        return leaving.value.code, out, err

    return run


def git(folder: Path, *words: str) -> None:
    options = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *options, *words], cwd=folder, check=True, capture_output=True)


def test_a_stored_baseline_with_times_20_percent_lower_is_suspect(here: Path) -> None:
    shutil.rmtree(here / "results" / "base")
    put(here / "results" / "base", faster(SMALL, 0.8))
    program = Path(sys.executable).with_name("rnnbench")
    done = subprocess.run(
        [program, "compare", "results/base", "results/head", "--fail-on", "suspect"],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "12 suspect" in done.stdout
    assert "REGRESSION" not in done.stdout
    assert "1.250×" in done.stdout
    verdict = json.loads((here / "results" / "head" / "verdict.json").read_text())
    assert verdict["counts"] == {"suspect": 12, "unchanged": 24}
    assert verdict["live"] is False


def test_the_same_twice_is_fine_and_prints_what_it_wrote(here: Path, say: Said) -> None:
    code, out, _ = say("compare", "results/base", "results/head")
    assert code == 0
    assert "24 unchanged" in out
    assert "12 within spread" in out
    assert "weak evidence" in out
    assert "15% is assumed for 12 times" in out
    code, out, err = say("compare", "results/base", "results/head", "--json", "--out", "sub/folder")
    assert (code, err) == (0, "")
    assert out == (here / "sub" / "folder" / "verdict.json").read_text()
    assert json.loads(out)["base"]["source"] == "results/base"


def test_what_became_worse_comes_first_in_words_and_makes_the_status(here: Path, say: Said) -> None:
    first, second, *others = SMALL.records
    records = (replace(first, parameters=20_500), synthetic.record(second.case, "failed"), *others)
    put(here / "worse", replace(SMALL, records=records), day=3)
    code, out, _ = say("compare", "results/base", "worse")
    assert code == 6
    assert "NEWLY FAILING: copy T20 elman H64 jax native: failed, was ok: ValueError: shapes" in out
    assert out.index("REGRESSION") < out.index("within spread")
    assert "exit 6: 1 newly failing" in out
    put(here / "larger", replace(SMALL, records=(records[0], second, *others)), day=4)
    code, out, _ = say("compare", "results/base", "larger")
    assert code == 3
    assert "exit 3: 1 regression, shown by counts, which do not vary" in out


def test_along_an_axis_of_one_run(here: Path, say: Said) -> None:
    long = synthetic.results(tasks=("copy",), lengths=(50,), backends=("torch", "jax"), troubled=False)
    put(here / "long", long)
    code, out, _ = say("compare", "long", "--by", "backend", "--base", "torch")
    assert code == 3
    assert "native: jax ÷ torch" in out
    assert "exit 3: 1 regression, shown by one run, measured in turns" in out
    code, out, _ = say("compare", "results/head", "--by", "cell", "--base", "lstm")
    assert code == 0
    assert "different" in out
    code, _, err = say("compare", "results/head", "--by", "cell")
    assert (code, err) == (
        2,
        "rnnbench: --base: which cell is the others' base? Give one of: elman, gru, lstm.\n",
    )


def test_env_needs_no_value_where_the_present_one_was_measured(here: Path, say: Said) -> None:
    old = [replace(record, case=replace(record.case, env="old")) for record in SMALL.records]
    keys = {a.case.key: b.case.key for a, b in zip(SMALL.records, old, strict=True)}
    blocks = [
        structs.replace(block, case=keys[block.case], seconds=block.seconds * 0.5) for block in SMALL.blocks
    ]
    records = (*SMALL.records, *(replace(record, score=None) for record in old))
    put(here / "both", replace(SMALL, records=records, blocks=(*SMALL.blocks, *blocks)))
    code, out, _ = say("compare", "both", "--by", "env")
    assert "env old against present" in out
    assert "12 improvement" in out
    assert code == 5, "the scores of the old environment were not measured"
    assert "VANISHED: copy T20 elman H64 torch native env present: score, not measured on the" in out


def test_other_machines_are_incomparable_unless_forced(here: Path, say: Said) -> None:
    machine = SMALL.run.machine | {"cpu": "Other CPU"}
    put(here / "other", replace(SMALL, run=replace(SMALL.run, machine=machine)))
    code, out, _ = say("compare", "other", "results/head")
    assert code == 5
    assert "INCOMPARABLE: 6 × cpu Other CPU then, Example CPU @ 2.5 GHz now" in out
    code, out, _ = say("compare", "other", "results/head", "--force")
    assert code == 0
    assert "12 within spread" in out


# where runs come from


def test_a_folder_of_runs_is_its_newest_of_the_suite(here: Path, say: Said) -> None:
    put(here / "results" / "zzz", SMALL, day=9, suite="another")
    put(here / "results" / "later", SMALL, day=3)
    code, out, _ = say("compare", "results/head")
    assert (code, "later of 2026-01-03" in out) == (0, True)
    code, out, _ = say("compare", "results", "results/head")
    assert "head of 2026-01-02T00:00:00+00:00 against later of 2026-01-03" in out
    code, out, _ = say("compare", "base", "head")
    assert code == 0, "a run's name is enough"


def test_a_bound_that_stands_alone_is_never_said_larger_than_it_is() -> None:
    wide = Interval(9.0, 1.9996, 60.0, 3)
    assert _bounds(wide) == "at least 1.999"
    assert _bounds(wide.inverse) == "at most 0.501"  # 1 / 1.9996 is 0.50010
    assert _bounds(Interval(1.0, 0.1, 10.1, 3)) == "too wide to say"
    assert _bounds(Interval(1.5, 1.4996, 1.6, 3)) == "1.500–1.600"


def test_earlier_runs_beside_the_base_tell_by_how_much_runs_differ(here: Path, say: Said) -> None:
    for day, factor in ((3, 1.01), (4, 0.99)):
        put(here / "results" / f"day{day}", faster(SMALL, factor), day=day)
    put(here / "slower", faster(SMALL, 1.12), day=5)
    code, out, _ = say("compare", "results/base", "slower", "--fail-on", "suspect")
    assert code == 4
    assert "4 runs of it here differ by up to" in out
    assert "is assumed" not in out


def test_a_baseline_in_git(here: Path, say: Said) -> None:
    git(here, "init", "-q", "-b", "main")
    git(here, "add", "results/base")
    git(here, "commit", "-q", "-m", "baseline")
    git(here, "tag", "v1.0")
    shutil.rmtree(here / "results" / "base")
    for source in ("main:results/base", "v1.0:results", "HEAD:./results/base"):
        code, out, _ = say("compare", source, "results/head")
        assert code == 0, out
        assert "12 within spread" in out
    assert not (here / "results" / "base").exists()
    code, _, err = say("compare", "v1.1:results/base", "results/head")
    assert (code, err) == (
        2,
        'rnnbench: v1.1:results/base: no such path, and no revision "v1.1". Did you mean "v1.0"?\n',
    )
    code, _, err = say("compare", "v1.0:results/bse", "results/head")
    assert code == 2
    assert 'no folder "results/bse" in v1.0. Did you mean "results/base"?' in err


def test_an_artifact_of_ci_is_a_zip_or_a_folder_around_the_run(here: Path, say: Said) -> None:
    with zipfile.ZipFile(here / "artifact.zip", "w") as archive:
        for file in (here / "results" / "base").iterdir():
            archive.write(file, f"out/nested/base/{file.name}")
        archive.writestr("../evil/records.jsonl", "{}")
    code, out, _ = say("compare", "artifact.zip", "results/head")
    assert code == 0, out
    assert not (here.parent / "evil").exists()
    code, _, _ = say("compare", "results/head", "artifact.zip")
    assert code == 0
    assert (here / "verdict.json").exists(), "nothing is written into an artifact"
    shutil.move(here / "results" / "base", here / "download" / "results" / "base")
    code, out, _ = say("compare", "download", "results/head")
    assert code == 0, out


# bad input


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["results/heat"], 'results/heat: no such run, folder or zip. Did you mean "results/head"?'),
        (["results/base", "resluts"], 'resluts: no such run, folder or zip. Did you mean "results"?'),
        (["nope:results"], 'nope:results: no such path, and "nope" is no revision: this folder'),
        (["results/base", "results/base"], "results/base: is the same run as HEAD; name another"),
        (["results/base", "--by", "backnd"], '--by: no axis "backnd". Did you mean "backend"?'),
        (["base", "--by", "backend", "--base", "troch"], '--base: no case has backend "troch". Did you'),
        (["results/base", "results/head", "--by", "cell"], "--by: compares within one run; leave out HEAD"),
        (["results/base", "--base", "torch"], "--base: names a value of the axis that --by names; give --by"),
        (["base", "--fail-on", "suspekt"], '--fail-on: no verdict "suspekt". Did you mean "suspect"?'),
        (["results/base", "--by", "cell", "--base", "lstm", "--force"], "--force: is for two runs"),
        (["empty"], "empty: no run at or below this path"),
        (["text.txt"], "text.txt: neither a folder nor a zip of a run."),
        (["foreign"], "foreign/run.json: not written by rnnbench"),
        (["future"], "future/run.json: has format 99; "),
        (["base", "head", "--out", "results/head/run.json"], "--out results/head/run.json: holds what"),
        (["base", "head", "--out", "text.txt/x"], "text.txt/x/verdict.json: cannot be written: "),
    ],
)  # fmt: skip
def test_a_wrong_request_exits_with_2_and_says_what_to_do(
    here: Path, say: Said, words: list[str], message: str
) -> None:
    (here / "empty").mkdir()
    (here / "text.txt").write_text("x")
    for name, content in (("foreign", '{"a": 1}'), ("future", '{"format": 99}')):
        (here / name).mkdir()
        (here / name / "run.json").write_text(content)
    code, out, err = say("compare", *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"rnnbench: {message}")
    assert err.count("\n") == 1
    assert not list(here.rglob("verdict.json"))


def test_of_a_damaged_run_the_good_lines_are_used_and_the_others_named(here: Path, say: Said) -> None:
    records = here / "results" / "head" / "records.jsonl"
    good = records.read_bytes().splitlines(keepends=True)
    records.write_bytes(good[0] + b'{"not": "ours"}\n' + b"".join(good[1:-1]) + good[-1][:40])
    foreign = here / "results" / "foreign"
    foreign.mkdir()
    (foreign / "run.json").write_text("[]")
    code, out, _ = say("compare", "results/base", "results/head")
    assert code == 5
    assert "head/records.jsonl:2: " in out
    assert "VANISHED: copy T20 lstm H64 jax native: absent, was ok" in out
    assert "10 within spread" in out
    _, out, _ = say("compare", "results", "results/head")
    assert "passed over: results/foreign/run.json: not written by rnnbench" in out


def test_a_run_that_was_not_finished_is_said_to_be(here: Path, say: Said) -> None:
    cut = replace(SMALL, records=SMALL.records[:4], run=replace(SMALL.run, finished=""))
    put(here / "cut", cut)
    code, out, _ = say("compare", "results/base", "cut")
    assert code == 5
    assert "cut was not finished: what it lacks counts as vanished or new" in out
    assert out.count("VANISHED: ") == 2


def test_a_base_without_a_comparable_case_exits_with_5(here: Path, say: Said) -> None:
    empty = RunResults(SMALL.run, (), ())
    put(here / "none", empty)
    for words in (("none", "results/head"), ("results/base", "none"), ("none", "none2")):
        if "none2" in words:
            put(here / "none2", empty)
        code, out, _ = say("compare", *words)
        assert code == 5, out


def test_a_table_is_no_longer_than_a_person_reads(here: Path, say: Said) -> None:
    many = synthetic.results(lengths=(10, 20, 30, 40, 50), processes=1, troubled=False)
    put(here / "a", many)
    put(here / "b", faster(many, 1.5))
    code, out, _ = say("compare", "a", "b")
    assert code == 0
    assert out.count("SUSPECT") == 60
    assert "... and 180 more rows, all of them in verdict.json" in out
    assert len(json.loads((here / "b" / "verdict.json").read_text())["rows"]) == 120 * 6


def test_names_of_suites_and_plugins_are_shown_as_they_are(here: Path, say: Said) -> None:
    put(here / "a", synthetic.hostile())
    put(here / "b", faster(synthetic.hostile(), 2.0))
    code, out, _ = say("compare", "a", "b")
    assert code == 0
    assert "[bold red]markup[/bold red]" in out
    assert "\u202e" not in out
    assert "\a" not in out
