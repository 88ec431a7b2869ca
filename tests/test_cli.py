"""The commands as a user types them: what is printed where, and the exit status."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from test_conductor import run as run_quickly
from test_running import command
from test_workers import HERE, PLUGINS
from typer.testing import CliRunner

from rnnbench import verifying
from rnnbench.cli import measuring
from rnnbench.cli.console import open_console, say, tabulate
from rnnbench.escaping import safe
from rnnbench.plugins import BrokenPlugin, Plugins

pytestmark = pytest.mark.slow  # whole commands

SUITE = str(HERE / "faulty.yaml")
TOY = ["--plugin", PLUGINS[0]]

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "done"
    run_quickly(folder, backends=("toy", "refusing"))
    return folder


def test_run_in_a_fresh_process(tmp_path: Path) -> None:
    words = ["run", SUITE, "--backend", "toy", "--set", "measure=forward", "--out", str(tmp_path / "r")]
    # a test runner may have set COLUMNS, which is obeyed
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    done = subprocess.run(
        command(*words), capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.search(r"toy portable .* (ms|µs)", done.stdout)
    assert f"report: {tmp_path / 'r' / 'report.html'}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) > 80, "a file is not a narrow terminal"


def test_run_with_failures_prints_json_and_exits_with_6(invoke: Invoke, tmp_path: Path) -> None:
    options = [option for file in PLUGINS for option in ("--plugin", file)]
    words = ["run", SUITE, *options, "--backend", "failing", "--set", "measure=forward", "--json"]
    status, out, err = invoke(*words, "--out", tmp_path / "r")
    assert status == 6
    rows = [json.loads(line) for line in out.splitlines()]
    assert {(row["backend"], row["status"]) for row in rows} == {("failing", "failed")}
    assert "failed: copy-T2-elman-H4-failing" in err
    assert "ValueError: the <b>toy</b> broke" in err


def test_unsupported_is_no_failure(invoke: Invoke, tmp_path: Path) -> None:
    options = [option for file in PLUGINS for option in ("--plugin", file)]
    words = ["run", SUITE, *options, "--backend", "refusing", "--set", "measure=forward"]
    status, out, _ = invoke(*words, "--out", tmp_path / "r")
    assert status == 0
    assert "unsupported: not on a Sunday" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["run", "quik"], 'Did you mean "quick"'),
        (["plan", SUITE, "--backend", "tyo", *TOY], 'no backend "tyo"'),
        (["plan", SUITE, "--set", "hiden=3", *TOY], "hidden"),
        (["run", SUITE, *TOY, "--out", "a", "--resume", "b"], "--resume"),
        (["run", SUITE, *TOY, "--resume", "b"], "no such results folder"),
        (["run", SUITE, "--plugin", "none.py"], "--plugin none.py: no such file"),
        (["bench", "lstn", *TOY], 'Did you mean "lstm"'),
        (["bench", "-T", "0", *TOY], "rnnbench: -T 0: 0 is not allowed. Give a whole number"),
        (["bench", "-H", "0", *TOY], "rnnbench: -H 0: "),
        (["bench", "-B", "0", *TOY], "rnnbench: -B 0: "),
        (["bench", "-I", "0", *TOY], "rnnbench: -I 0: "),
        (["bench", "--threads", "0", *TOY], "rnnbench: --threads 0: "),
        (["bench", "--processes", "0", *TOY], "rnnbench: --processes 0: "),
        (["bench", "gru", "lsmt", *TOY], 'rnnbench: CELL lsmt: no cell "lsmt". Did you mean "lstm"?'),
        (["bench", "-H", "1e3"], "--hidden"),
        (["list", "cell"], "'cell' is not one of"),
        (["plan", SUITE, "--backend", "zzz"], "--plugin FILE.py"),
        (["verify", "--implementation", "compild"], 'no such name: "compild". Did you mean "compiled"?'),
        (["verify", "--cell", "lstn"], '--cell: no such name: "lstn". Did you mean "lstm"?'),
        (["verify", "--backend", "torc"], "--backend"),
        (["report", "nowhere"], "nowhere"),
        (["report"], "results"),
        (["export", "nowhere"], "nowhere"),
        (["init", "no/such/folder/s.yaml"], "cannot be written"),
        (["init", "s.yaml", "--csv", "none.csv"], "none.csv"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else "",
)
def test_a_wrong_request_is_one_line_and_writes_nothing(
    words: list[str], said: str, invoke: Invoke, tmp_path: Path
) -> None:
    status, out, err = invoke(*words)
    assert status == 2
    assert said in err
    assert err.startswith("rnnbench: ")
    assert err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [["--bogus"], ["rum"], ["list", "nothing"], ["bench", "-B", "many"], ["plan"]]
)
def test_a_wrong_option_is_one_line_too(words: list[str], invoke: Invoke) -> None:
    status, out, err = invoke(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("rnnbench: ")


def test_without_words_help_is_shown(invoke: Invoke) -> None:
    status, out, err = invoke()
    assert (status, err) == (0, "")
    assert "bench" in out


@pytest.mark.parametrize("words", [["run", SUITE], ["bench", "--save-suite", "s.yaml"]])
def test_where_no_case_can_be_measured_nothing_is_written(
    words: list[str], invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("rnnbench.running.ask_devices", lambda plugins, files: ({"toy": ("cpu",)}, {}))
    status, out, err = invoke(*words, "--device", "cuda,cuda:1", "--backend", "toy", *TOY)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "no case can be measured here. 1 × skipped: toy has no device cuda here; it has: cpu; 1 × " in err
    assert list(tmp_path.iterdir()) == []


def test_results_that_are_not_ours_are_not_touched(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    status, _, err = invoke("run", SUITE, *TOY, "--out", "mine")
    assert status == 2
    assert "not a results folder" in err
    assert [entry.name for entry in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_names_are_shown_and_never_obeyed(invoke: Invoke, tmp_path: Path) -> None:
    for words in (
        ["run", "\x1b[2J\x1b[31mred.yaml"],
        ["report", "a\x1b]0;title\x07b"],
        ["export", "x\u202ey"],
    ):
        status, out, err = invoke(*words)
        assert status == 2
        assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", out + err)
        assert re.search(r"\\x1b|\\u202e", err)
    assert safe("a\x1b[31m\n[bold]é🦆\udcff") == "a\\x1b[31m\\n[bold]é🦆\\udcff"


def test_the_console_takes_nothing_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console = open_console()
    hostile = "[red]name[/red] :duck: \x1b[31m [/] 12"
    say(console, hostile)
    console.print(tabulate(["[b]head"], [[hostile]]))
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "[red]name[/red] :duck: \\x1b[31m [/] 12"
    assert out.count("[red]name[/red] :duck:") == 2
    assert "[b]head" in out
    assert "\x1b" not in out
    say(console, "x" * 400)
    assert capsys.readouterr().out == "x" * 400 + "\n", "a line in a file is not broken"


def test_plan(invoke: Invoke) -> None:
    status, out, err = invoke("plan", SUITE, "--backend", "toy", "--set", "length=2,5", *TOY)
    assert (status, err) == (0, "")
    assert "2 cases; roughly" in out
    assert "\n1 case; roughly" in invoke("plan", SUITE, "--backend", "toy", "--set", "length=2", *TOY)[1]
    status, out, _ = invoke("plan", SUITE, "--backend", "toy", "--set", "length=2,5", "--json", *TOY)
    answer = json.loads(out)
    assert [case["length"] for case in answer["cases"]] == [2, 5]
    assert answer["cases"][0]["key"].startswith("copy-T2-elman-H4-toy-portable-cpu-")
    assert answer["estimate_s"] > 0


def test_list(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, _ = invoke("list", "cells", *TOY)
    assert status == 0
    assert "lstm" in out
    assert "leaky_rnn" in out
    status, out, _ = invoke("list", "cells", "--json", *TOY)
    (lstm,) = (row for row in json.loads(out) if row["cell"] == "lstm")
    assert lstm["parameters (I=64, H=128)"] == 4 * (64 * 128 + 128 * 128 + 128)
    assert {row["task"]: row["ranked"] for row in json.loads(invoke("list", "tasks", "--json")[1])}[
        "stocks"
    ] is False
    assert "long_deps" in invoke("list", "suites")[1]
    monkeypatch.setattr(
        "rnnbench.running.ask_devices",
        lambda plugins, files: ({"toy": ("cpu",)}, {"torch": "no such\x1b file"}),
    )
    rows = {row["backend"]: row for row in json.loads(invoke("list", "backends", "--json", *TOY)[1])}
    assert rows["toy"]["devices"] == ["cpu"]
    assert "\x1b" not in invoke("list", "backends", *TOY)[1]


def test_the_cells_fit_eighty_columns(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = invoke("list", "cells")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    for cell in json.loads(invoke("list", "cells", "--json")[1]):
        assert cell["paper"]
        assert sum(f"│ {cell['cell']} " in line or f"│{cell['cell']} " in line for line in lines) == 1


def test_verify(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, err = invoke("verify", "--backend", "toy", "--cell", "lstm,gru", *TOY)
    assert status == 0
    assert "4 ok" in out
    assert "toy float32: lstm portable" in err
    options = [option for file in PLUGINS for option in ("--plugin", file)]
    words = ["verify", "--backend", "lying", "--cell", "elman", "--implementation", "portable", *options]
    kept: list[list[verifying.Verdict]] = []
    verify = verifying.verify

    def verify_once(*arguments: Any, **options: Any) -> list[verifying.Verdict]:
        if not kept:
            kept.append(verify(*arguments, **options))
        return kept[0]

    monkeypatch.setattr(verifying, "verify", verify_once)
    status, out, _ = invoke(*words)
    assert status == 6
    assert "mismatch: lying elman portable float64, 2 layers, both, concat, lengths: " in out
    status, out, _ = invoke(*words, "--json")
    assert status == 6
    verdicts = json.loads(out)
    assert {verdict["status"] for verdict in verdicts} == {"mismatch"}
    assert len(verdicts) == 2


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_verify_is_interrupted_at_once_and_leaves_no_process() -> None:
    words = command("verify", "--backend", "hanging,toy", "--cell", "lstm", "--implementation", "portable")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    parent = psutil.Process(process.pid)
    for _ in range(400):  # the toy has answered, so the hanging one hangs, or soon will
        if parent.children():
            break
        time.sleep(0.02)
    time.sleep(2.0)
    children = parent.children()
    assert children
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - begin < 10
    assert "Traceback" not in err
    assert not any(child.is_running() for child in children)


def test_report_and_export(invoke: Invoke, finished: Path, tmp_path: Path) -> None:
    assert invoke("report", finished)[1] == f"{finished / 'report.html'}\n"
    assert (finished / "report.html").exists()
    assert invoke("report", finished, "--out", tmp_path / "page")[0] == 0
    assert (tmp_path / "page" / "report.html").exists()
    assert invoke("report", finished, "--format", "md")[1] == f"{finished / 'report.md'}\n"
    assert "toy" in (finished / "report.md").read_text()
    assert invoke("report", finished, finished, "--format", "md", "--out", tmp_path)[0] == 0
    axis = ["report", finished, "--by", "backend", "--base", "toy", "--format", "md"]
    assert invoke(*axis)[1] == f"{finished / 'comparison.md'}\n"
    (tmp_path / "blocked").write_text("")
    for words, said in (
        (["--format", "tiff"], "Allowed: html, md, pdf, png, svg"),
        (["--out", tmp_path / "blocked"], "blocked"),
        (["--base", tmp_path / "nowhere"], "nowhere"),
        (["--by", "colour", "--base", "red"], "colour"),
    ):
        status, out, err = invoke("report", finished, *words)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert said in err
    status, out, _ = invoke("export", finished, "--format", "jsonl")
    assert (status, out) == (0, f"{finished / 'records.export.jsonl'}\n")
    assert len((finished / "records.export.jsonl").read_text().splitlines()) >= 2
    status, out, _ = invoke("export", finished, "--out", tmp_path / "t.csv")
    assert "toy" in (tmp_path / "t.csv").read_text()
    raw = (finished / "records.jsonl").read_bytes()
    for words in (
        ["export", finished, "--format", "xlsx"],
        ["export", finished, "--out", tmp_path / "no" / "t.csv"],
        ["export", finished, "--format", "jsonl", "--out", finished / "records.jsonl"],
    ):
        status, out, err = invoke(*words)
        assert (status, out, err.count("\n")) == (2, "", 1)
    assert (finished / "records.jsonl").read_bytes() == raw


def test_the_newest_run_is_the_default_and_a_damaged_one_does_not_hide_it(
    invoke: Invoke, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "results" / "good")
    shutil.copytree(finished, tmp_path / "results" / "torn")
    (tmp_path / "results" / "torn" / "run.json").write_text("{")
    status, out, err = invoke("report")
    assert (status, out) == (0, f"{Path('results/good/report.html')}\n")
    assert "torn" in err


def test_init(invoke: Invoke, tmp_path: Path) -> None:
    status, out, _ = invoke("init", "first.yaml")
    assert (status, out.startswith("Wrote first.yaml")) == (0, True)
    content = (tmp_path / "first.yaml").read_text()
    assert invoke("plan", "first.yaml")[0] == 0
    status, _, err = invoke("init", "first.yaml")
    assert status == 2
    assert "exists already" in err
    assert (tmp_path / "first.yaml").read_text() == content


def test_a_column_of_times_is_no_target(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("date,units,region\n2024-01-01,3,north\n2024-01-02,5,south\n")
    for target, said in (("date", "Columns of numbers: units"), ("region", "no other column holds texts")):
        status, out, err = invoke("init", "s.yaml", "--csv", "sales.csv", "--target", target)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert err.startswith(f"rnnbench: --target {target}: ")
        assert said in err
    assert not (tmp_path / "s.yaml").exists()
    assert invoke("init", "s.yaml", "--csv", "sales.csv")[0] == 0
    status, _, err = invoke("plan", "s.yaml", "--set", "tasks.mine.target=nix", "--backend", "toy", *TOY)
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("rnnbench: --set tasks.mine.target=nix: ")
    text = (tmp_path / "s.yaml").read_text()
    noted = [line for line in text.splitlines() if "  # " in line[2:]]
    columns = {line.rindex("# ") for line in noted if line.rindex("  # ") <= 31}
    assert columns == {33}, "comments beside values stand under each other"


def test_bench_saves_the_suite_that_it_is(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = []

    def measured(plan: object, *given: object, **rest: object) -> int:
        seen.append((plan, rest))
        return 0

    monkeypatch.setattr(measuring, "_measure", measured)
    words = ["bench", "gru", "-T", "7", "-H", "9", "--backend", "toy", *TOY]
    assert invoke(*words, "--save-suite", "b.yaml", "--resume", "r")[0] == 0
    assert not (tmp_path / "b.yaml").exists(), "a resumed run has its suite already"
    assert invoke(*words, "--save-suite", "b.yaml")[0] == 0
    (case,) = seen[1][0].cases  # type: ignore[attr-defined]
    assert (case.cell, case.length, case.hidden, case.task) == ("gru", 7, 9, "noise")
    assert (
        json.loads(invoke("plan", "b.yaml", "--backend", "toy", "--json", *TOY)[1])["cases"][0]["key"]
        == case.key
    )


def test_schema_and_version(invoke: Invoke) -> None:
    assert json.loads(invoke("schema")[1])["type"] == "object"
    assert re.fullmatch(r"rnnbench \d+\.\d+\.\d+\n", invoke("--version")[1])


def test_a_broken_plugin_is_named_once(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = measuring.discover([PLUGINS[0]])
    broken = BrokenPlugin("bad\x1b", "rnnbench-bad", "ImportError: no libbad.so")
    plugins = Plugins(
        found.backends, found.cells, found.tasks, found.implementations, found.origins, (broken,)
    )
    monkeypatch.setattr(measuring, "discover", lambda files: plugins)
    monkeypatch.setattr(measuring, "_measure", lambda *arguments, **rest: 0)
    for words in (
        ["plan", SUITE, "--backend", "toy"],
        ["bench", "--backend", "toy", "--save-suite", "s.yaml"],
    ):
        status, _, err = invoke(*words)
        assert status == 0
        assert err == "rnnbench: plugin bad\\x1b of rnnbench-bad is broken: ImportError: no libbad.so\n"


def test_the_command_that_goes_on() -> None:
    resumed = measuring._resumed
    assert (
        resumed(["run", "a b.yaml", "--out", "x", "-k", "gru"], Path("x"))
        == "run 'a b.yaml' -k gru --resume x"
    )
    assert resumed(["bench", "--resume=r s"], Path("r s")) == "bench --resume 'r s'"


def test_help_of_every_command() -> None:
    from rnnbench.cli.app import app

    runner = CliRunner()
    for name in ("run", "plan", "bench", "verify", "list", "report", "export", "init", "schema"):
        assert runner.invoke(app, [name, "--help"]).exit_code == 0


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_python_leaves_does_not_undo_what_is_finished(name: str) -> None:
    """Sent when modules are taken down, after the handlers that kill are back."""
    script = f"""
import os, signal, sys
class Late:
    def __del__(self, kill=os.kill, me=os.getpid(), number=signal.{name}):
        kill(me, number)
late = Late()
from rnnbench.cli import main
sys.argv = ["rnnbench", "--version"]
main()
"""
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (told.returncode, told.stderr) == (0, "")
