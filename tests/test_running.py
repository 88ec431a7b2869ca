"""One run as a user sees it: its folder, Ctrl-C in the middle of a real process, and going on."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
import pytest
from test_conductor import planned, run
from test_workers import HERE, PLUGINS, logs, write_plugin

from rnnbench.contracts import TaskDeclaration
from rnnbench.errors import RequestError
from rnnbench.plugins import Plugins, discover
from rnnbench.results.reading import read
from rnnbench.running import ask_devices, default_folder, digest_tasks, run_plan

pytestmark = pytest.mark.slow  # real processes

RNNBENCH = [sys.executable, "-c", "from rnnbench.cli import main; main()"]
LONG = ["--set", "rounds=60", "--set", "measure=forward"]


def command(*words: str) -> list[str]:
    options = [option for file in PLUGINS for option in ("--plugin", file)]
    return [*RNNBENCH, *words, *options]


def test_folders_are_named_after_suite_and_second() -> None:
    moment = datetime(2026, 3, 1, 9, 5, 7, tzinfo=UTC)
    assert default_folder("long_deps", moment) == Path("results/long_deps-20260301T090507Z")


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_is_whole_and_says_how_to_go_on(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    folder, before = tmp_path / "a run", logs()
    words = ["run", str(HERE / "faulty.yaml"), *LONG, "--backend", "toy", "--out", str(folder)]
    process = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_for_blocks(folder, 5, process)
    process.send_signal(number)
    said, errors = process.communicate(timeout=20)
    assert process.returncode == status, errors
    assert errors == ""
    assert "Interrupted. What was measured is kept. Go on with: rnnbench run" in said
    results = read(folder)
    assert results.problems == ()
    assert len(results.blocks) >= 5
    assert not results.run.finished
    assert results.run.environments["toy"]["devices"] == ["cpu"]
    assert logs() <= before
    resumed = re.search(r"Go on with: rnnbench (.*)", said)
    assert resumed is not None
    again = shlex.split(resumed[1])
    assert again[-2:] == ["--resume", str(folder)]
    assert "--out" not in again
    done = subprocess.run([*RNNBENCH, *again], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert read(folder).run.finished
    assert (folder / "report.html").exists()


def test_another_suite_or_another_request_cannot_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder, backends=("toy",))
    content = {file: file.read_bytes() for file in sorted(folder.iterdir())}
    with pytest.raises(RequestError, match="holds 1 cases that this request does not plan") as refused:
        run(folder, "hidden=5", backends=("toy",), resume=True)
    assert "rnnbench run" in str(refused.value)
    the_plan, plugins = planned(backends=("toy",))
    other = replace(the_plan, suite=replace(the_plan.suite, name="other"))
    with pytest.raises(RequestError, match='is a run of suite "faulty", not of "other"'):
        run_plan(other, plugins, None, folder=folder, command=[], resume=True)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="holds run"):
        run(folder, backends=("toy",))
    with pytest.raises(RequestError, match="no such results folder"):
        run(tmp_path / "none", backends=("toy",), resume=True)
    assert {file: file.read_bytes() for file in sorted(folder.iterdir())} == content
    run(folder, backends=("toy",), resume=True)  # and nothing holds the folder


@pytest.mark.parametrize(
    ("where", "then", "said"),
    [
        (("rnnbench",), "0.0.1", "rnnbench was 0.0.1, is"),
        (("machine", "python"), "3.1.4", "Python was 3.1.4, is"),
        (("machine", "cpu"), "Abacus", "the processor was Abacus, is"),
        (("tasks_digest",), "0123456789abcdef", "tasks that the suite declares have changed"),
        (("environments", "toy", "versions", "numpy"), "0.1", "toy is not what .*numpy 0.1 then"),
    ],
)
def test_on_other_terms_a_run_does_not_go_on(
    where: tuple[str, ...], then: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    monkeypatch.setattr("rnnbench.running.conduct", _stopped)
    with pytest.raises(KeyboardInterrupt):
        run(folder, "measure=forward", backends=("toy",))
    monkeypatch.undo()
    fields = json.loads((folder / "run.json").read_text())
    fields["environments"] = {"toy": {"versions": {"numpy": np.__version__}}}
    inner = fields
    for name in where[:-1]:
        inner = inner[name]
    assert inner[where[-1]]
    inner[where[-1]] = then
    (folder / "run.json").write_text(json.dumps(fields))
    with pytest.raises(RequestError, match=said):
        run(folder, "measure=forward", backends=("toy",), resume=True)
    results = read(folder)
    assert (results.blocks, results.records) == ((), ())


def _stopped(*arguments: object, **options: object) -> None:
    raise KeyboardInterrupt


def test_the_digest_is_of_what_the_tasks_say() -> None:
    the_plan, _ = planned(backends=("toy",))
    one, two = TaskDeclaration("a", "csv", {"path": "a.csv"}), TaskDeclaration("b", "csv", {"path": "b.csv"})

    def digest(tasks: dict[str, TaskDeclaration]) -> str:
        return digest_tasks(replace(the_plan, suite=replace(the_plan.suite, tasks=tasks)))

    assert digest({"a": one, "b": two}) == digest({"b": two, "a": one})
    assert len({digest({}), digest({"a": one}), digest({"a": replace(one, options={"path": "c.csv"})})}) == 3


def test_asking_for_devices_leaves_no_process(tmp_path: Path) -> None:
    found = discover(PLUGINS)
    asked = Plugins(backends={"toy": found.backends["toy"], "absent": _Absent()})  # type: ignore[dict-item]
    before = set(psutil.Process().children())  # a browser of other tests
    devices, reasons = ask_devices(asked, PLUGINS)
    assert devices == {"toy": ("cpu",)}
    assert "not-a-distribution" in reasons["absent"]
    assert set(psutil.Process().children()) <= before


def test_a_backend_that_does_not_open_has_a_reason_and_no_devices(tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path, opening="raise ImportError('no libtoy.so')")
    found = discover([plugin])
    devices, reasons = ask_devices(Plugins(backends={"mine": found.backends["mine"]}), [plugin])
    assert devices == {}
    assert reasons == {"mine": "ImportError: no libtoy.so"}


class _Absent:
    name = "absent"
    distributions = ("not-a-distribution",)


FRAMEWORKS = ("torch", "jax", "tensorflow", "keras", "flax")


def test_the_parent_imports_no_framework(tmp_path: Path) -> None:
    """Planning for all installed backends, and a whole run on the toy."""
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(HERE)!r})
from test_conductor import planned, run
planned("backend=numpy,torch,jax,tensorflow")
run(Path({str(tmp_path / "run")!r}), "measure=forward", backends=("toy",))
import rnnbench.report.page
print([name for name in {FRAMEWORKS!r} if name in sys.modules])
"""
    assert _python(code) == "[]"


@pytest.mark.parametrize("module", ["rnnbench.report.page", "rnnbench.results.tidy", "rnnbench.results"])
def test_results_and_report_need_no_plugin(module: str) -> None:
    code = f"""
import sys, {module}
reached = ("rnnbench.plugins", "rnnbench.measuring", "rnnbench_")
print([name for name in sys.modules if name.startswith(reached)])
"""
    assert _python(code) == "[]"


def test_help_imports_next_to_nothing() -> None:
    code = """
import sys, rnnbench.cli
print([name for name in ("numpy", "pandas", "rich", "pydantic", "rnnbench.plugins") if name in sys.modules])
"""
    assert _python(code) == "[]"


def _python(code: str) -> str:
    asked = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    return asked.stdout.strip().splitlines()[-1]


def _wait_for_blocks(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    for _ in range(600):
        blocks = folder / "blocks.jsonl"
        if blocks.exists() and len(blocks.read_bytes().splitlines()) >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("nothing was measured within 30 s")
