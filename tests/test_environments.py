"""Other interpreters beside the present one: asked at the door, planned, timed in turns, recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from test_planning import BASE, FakeBackend, plugins

import rnnbench
from rnnbench.contracts import Settings
from rnnbench.errors import RequestError
from rnnbench.measuring.environments import Environments, name_workers
from rnnbench.measuring.interpreters import read_environments
from rnnbench.measuring.launch import Environment, launch_variables
from rnnbench.measuring.process import Worker, WorkerKey
from rnnbench.measuring.refusals import Refused
from rnnbench.measuring.workers import Workers
from rnnbench.offers import Offers, offers_of, read_offers
from rnnbench.planning.plan import Plan, plan
from rnnbench.plugins import BrokenPlugin
from rnnbench.records import PRESENT
from rnnbench.results.reading import read
from rnnbench.revisions import describe
from rnnbench.running import ask_offers
from rnnbench.stats import ratio
from rnnbench.suite.loading import parse_suite

HERE = Path(__file__).parent
TOY = str(HERE / "example-plugin" / "rnnbench_example.py")
posix = pytest.mark.skipif(os.name != "posix", reason="scripts")


def script(folder: Path, text: str, name: str = "python") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def answering(version: list[int], found: bool) -> str:
    return f"echo '{json.dumps({'version': version, 'found': found})}'"


def refused(*texts: str) -> str:
    with pytest.raises(RequestError) as error:
        read_environments(texts, (), {})
    return str(error.value)


def test_an_interpreter_is_known_by_its_link_not_by_what_it_points_to(tmp_path: Path) -> None:
    answer = script(tmp_path / "old", answering([3, 12, 1], True))
    link = tmp_path / "python"
    link.symlink_to(answer)
    (found,) = read_environments([f"old={answer}"], ("p.py",), {"commit": "abc"})
    assert found == Environment("old", answer, (), ("p.py",), {"commit": "abc"})
    (found,) = read_environments([f"new.1={link}"], (), {})
    assert (found.name, found.python) == ("new.1", str(link))


@posix
def test_what_is_no_environment_is_refused_with_what_to_do(tmp_path: Path) -> None:
    assert "is not NAME=PYTHON" in refused("python3.11")
    assert '"a-b" cannot be the name' in refused("a-b=python")
    assert '"present" is the environment that rnnbench runs in' in refused(f"present={sys.executable}")
    assert 'a second environment "old"' in refused(f"old={sys.executable}", f"old={sys.executable}")
    assert refused("old=/nonexistent/python") == (
        '--env old=/nonexistent/python: no program "/nonexistent/python". Give the path of a python.'
    )
    below = script(tmp_path / "venv" / "bin", answering([3, 12, 0], True))
    assert f'Did you mean "{below}"?' in refused(f"old={tmp_path / 'venv'}")
    ancient = script(tmp_path / "a", answering([3, 9, 1], True))
    assert "is Python 3.9.1. rnnbench needs 3.11 to 3.13." in refused(f"old={ancient}")
    bare = script(tmp_path / "b", answering([3, 11, 1], False))
    assert f"has no rnnbench. Install it, and the plugins to be measured: {bare} -m pip" in refused(
        f"o={bare}"
    )
    for text in ("exit 1", "echo hello", "echo '[]'"):
        assert "does not answer as a Python does" in refused(f"o={script(tmp_path / 'c', text)}")


def planned(offers: dict[str, Offers], text: str = BASE) -> Plan:
    return plan(parse_suite(text, name="s"), plugins(), offers=offers)


def test_every_case_is_planned_in_every_environment_and_stays_in_its_group() -> None:
    here = offers_of(plugins())
    found = planned({PRESENT: here, "old": here})
    alone = planned({PRESENT: here})
    assert len(found.cases) == 2 * len(alone.cases)
    assert [case for case in found.cases if case.env == PRESENT] == list(alone.cases)
    groups = Counter(case.group for case in found.cases)
    assert set(groups) == {case.group for case in alone.cases}
    assert set(groups.values()) == {4}, "two backends in two environments"
    old = next(case for case in found.cases if case.env == "old")
    assert "-old-" in old.key
    assert len({case.key for case in found.cases}) == len(found.cases)


def test_what_an_environment_lacks_is_skipped_there_alone() -> None:
    here = offers_of(plugins())
    lacking = offers_of(
        plugins(FakeBackend("numpy"), broken=(BrokenPlugin("torch", "mine", "ImportError: x"),))
    )
    found = planned({PRESENT: here, "old": lacking})
    assert {case.backend for case in found.cases if case.env == "old"} == {"numpy"}
    assert {(r.case.env, r.case.backend, r.status, r.reason) for r in found.refused} == {
        ("old", "torch", "failed", "in environment old: plugin mine is broken: ImportError: x")
    }
    absent = offers_of(plugins(FakeBackend("torch", distributions=("no-such-torch",))))
    reasons = {r.case.backend: r.reason for r in planned({PRESENT: here, "old": absent}).refused}
    assert reasons["torch"].startswith("in environment old: no-such-torch is not installed. Install it with")
    assert reasons["numpy"] == (
        'in environment old: "numpy" is not installed. Install it with: pip install rnnbench-numpy'
    )


def test_devices_are_those_of_the_environment() -> None:
    here = offers_of(plugins(), {"numpy": ("cpu",), "torch": ("cpu", "cuda")})
    there = offers_of(plugins(), {"numpy": ("cpu",), "torch": ("cpu",)})
    found = planned({PRESENT: here, "old": there}, BASE + "  device: cuda\n")
    assert {(case.backend, case.env) for case in found.cases} == {("torch", PRESENT)}
    assert "in environment old: torch has no device cuda here; it has: cpu" in {
        r.reason for r in found.refused
    }


def test_offers_survive_the_pipe() -> None:
    offers = offers_of(plugins(FakeBackend("numpy"), FakeBackend("buggy")))
    message = {"backends": {n: asdict(o) for n, o in offers.backends.items()}, "broken": []}
    assert read_offers(**json.loads(json.dumps(message)), python="3.12.0") == Offers(
        offers.backends, (), {}, {"python": "3.12.0"}
    )
    assert set(offers.backends["buggy"].errors) == {"elman", "gru", "lstm", "exotic"}


def test_workers_of_several_environments_are_told_apart_and_their_versions_are_kept() -> None:
    keys = [
        WorkerKey("torch", Settings()),
        WorkerKey("torch", Settings(), "old"),
        WorkerKey("jax", Settings()),
    ]
    assert list(name_workers(keys).values()) == ["torch, present", "torch, old", "jax"]
    old = Environment("old", "/old/python", revision={"commit": "abc", "branch": "main", "dirty": True})
    known = Environments(keys, {}, [old])
    known.note(keys[1], {"versions": {"torch": "2.0"}, "rnnbench": "0.1.0", "python": "3.11.2"})
    facts = known.named()["torch, old"]
    assert (facts["env"], facts["backend"], facts["executable"]) == ("old", "torch", "/old/python")
    assert facts["revision"] == {"commit": "abc", "branch": "main", "dirty": True}
    assert (facts["rnnbench"], facts["python"], facts["versions"]) == ("0.1.0", "3.11.2", {"torch": "2.0"})
    resumed = Environments(keys, known.named(), [old])
    with pytest.raises(RequestError, match=r"torch, old is not what this run was begun with: torch 2.0 then"):
        resumed.note(keys[1], {"versions": {"torch": "2.1"}})


def test_paths_of_an_environment_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/mine")
    assert launch_variables("a", b"k", 1, (), ["/base", "/base/src"])["PYTHONPATH"] == os.pathsep.join(
        ["/base", "/base/src", "/mine"]
    )
    monkeypatch.delenv("PYTHONPATH")
    assert "PYTHONPATH" not in launch_variables("a", b"k", 1, ())


def test_the_state_of_a_project(tmp_path: Path) -> None:
    assert describe(tmp_path) == {}

    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    (tmp_path / "a.py").write_text("1")
    git("add", "a.py")
    git("commit", "-q", "-m", "one")
    found = describe(tmp_path)
    assert len(found["commit"]) == 40
    assert (found["branch"], found["dirty"]) == ("main", False)
    (tmp_path / "a.py").write_text("2")
    assert describe(tmp_path)["dirty"] is True


@pytest.mark.slow
def test_a_worker_of_another_rnnbench_is_a_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnbench.measuring.process.fingerprint", lambda: "another")
    environment = Environment("old", plugin_files=(TOY,))
    with pytest.raises(Refused) as error:
        ask_offers(environment)
    assert error.value.status == "skipped"
    said = f"environment old has rnnbench {rnnbench.__version__}, whose code for measuring is not"
    assert said in error.value.reason
    with (
        Workers((), (), environments=[environment]) as workers,
        pytest.raises(Refused, match="Install the same"),
    ):
        workers.of(WorkerKey("toy", Settings(), "old"))


@pytest.mark.slow
def test_a_worker_says_what_its_interpreter_has(tmp_path: Path) -> None:
    offers = ask_offers(Environment("old", plugin_files=(TOY,)), devices=True)
    assert offers.backends["toy"].implementations["leaky_rnn"] == ("portable", "whole_sequence")
    assert offers.devices["toy"] == ("cpu",)
    assert offers.facts["rnnbench"] == rnnbench.__version__
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_module_anywhere")
    with pytest.raises(Refused, match="no_such_module_anywhere"):
        ask_offers(Environment("old", plugin_files=(str(broken),)))


@pytest.mark.slow
def test_a_module_comes_from_the_paths_of_its_environment(tmp_path: Path) -> None:
    """The whole trick of ``ci``: one interpreter, two checkouts of a module."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "planted_kernel.py").write_text(f"WHICH = {name!r}")
    plugin = tmp_path / "plugin.py"
    toy = Path(TOY).read_text().replace(
        'return {"numpy": np.__version__',
        'import planted_kernel; return {"planted": planted_kernel.WHICH, "numpy": np.__version__',
    )  # fmt: skip
    plugin.write_text(toy)
    for name in ("one", "two"):
        environment = Environment(name, paths=(str(tmp_path / name),), plugin_files=(str(plugin),))
        worker = Worker(WorkerKey("toy", Settings(), name), environment=environment)
        worker.open()
        worker.stop()
        assert worker.opened["versions"]["planted"] == name


@pytest.mark.slow
def test_run_with_a_second_interpreter_pairs_the_cases(tmp_path: Path, monkeypatch: Any) -> None:
    """The same interpreter under another name: paired in every round, and no difference of note."""
    from typer.testing import CliRunner

    from rnnbench.cli.app import app

    monkeypatch.chdir(tmp_path)
    words = ["run", str(HERE / "faulty.yaml"), "--plugin", TOY, "--env", f"again={sys.executable}"]
    words += ["--set", "measure=forward", "--set", "rounds=4", "--set", "length=3", "--out", "r"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    results = read(tmp_path / "r")
    one, other = results.records
    assert {one.case.env, other.case.env} == {PRESENT, "again"}
    assert set(results.run.environments) == {"toy, present", "toy, again"}
    assert {facts["env"] for facts in results.run.environments.values()} == {PRESENT, "again"}
    timings = results.timings
    samples = [timings[record.case.key, "forward"] for record in (one, other)]
    assert samples[0][0].keys() == samples[1][0].keys() == {0, 1, 2, 3}
    between = ratio(*samples)
    assert between is not None
    assert 0.2 < between.value < 5
