"""Two revisions of a real repository: what is planted is found, nothing else, and nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ci_project import COST, PLUGIN, SUITE, TOY, Project

from rnnbench.ci.gating import Effort
from rnnbench.ci.overlay import lay_over, project_folders
from rnnbench.ci.revising import Revisions, both_sides
from rnnbench.cli import ci as gate
from rnnbench.cli.measuring import Request
from rnnbench.errors import RequestError
from rnnbench.measuring.replication import Replication
from rnnbench.measuring.stations import Protocol
from rnnbench.results.reading import read
from rnnbench.revisions import checked_out, git, resolve
from rnnbench.suite.loading import parse_suite
from rnnbench.suite.overrides import Overrides, override

# one process that the machine held up must not decide: more are measured then
QUICK = Effort(Replication(3, 9), Protocol(rounds=6, block_s=5e-3, warm_s=1e-3, case_limit_s=60.0))


EXTRA = """

@hookimpl
def rnnbench_implementations():
    def build(session, *arguments):
        return session.build(*arguments, "portable")

    return [toy.Implementation("mine", "gru", "extra", build)]
"""


@pytest.fixture
def project(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Project:
    # what is left over is looked for there, and other runs leave theirs elsewhere; sockets need short names
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("t")))
    made = Project((tmp_path / "project").resolve())
    monkeypatch.chdir(made.folder)
    return made


def leftovers() -> set[Path]:
    return {
        *Path(tempfile.gettempdir()).glob("rnnbench-ci-*"),
        *Path(tempfile.gettempdir()).glob("rnnbench-target-*"),
    }


def ci(
    project: Project,
    base: str = "main",
    head: str = "",
    install: str = "",
    plugin: Path | None = None,
    **asked: Any,
) -> tuple[int, Any]:
    """(exit status, verdict.json)."""
    out = project.folder.parent / "out"
    request = Request(Overrides(), (str(plugin or project.plugin),))
    options = gate.Asked(Revisions(base), out=out, **asked)
    before = leftovers()
    try:
        code = gate.ci(
            str(project.folder / "bench/suite.yaml"), request, options, command=["ci"], effort=QUICK
        )
    finally:
        assert leftovers() <= before
        assert project.worktrees() == 1
    return code, json.loads((out / "verdict.json").read_text())


@pytest.mark.slow
def test_a_planted_slowdown_is_named_and_nothing_else(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    project.write("src/myproject/cost.py", COST.replace('"gru": 0.002', '"gru": 0.0026'))
    slow = project.commit("gru does 30 % more work")
    code, verdict = ci(project)
    assert code == verdict["exit"] == 3
    found = {row["case"].split("-")[2]: row for row in verdict["rows"] if row["kind"] == "time"}
    assert set(found) == {"elman", "gru"}
    assert found["gru"]["verdict"] == "regression"
    assert found["gru"]["ratio"]["value"] == pytest.approx(1.3, abs=0.05)
    assert found["gru"]["text"] == "found again by fresh processes"
    # three short processes on a busy machine may leave open by how little it changed
    assert found["elman"]["verdict"] in ("unchanged", "inconclusive")
    assert verdict["confirmed"] is True
    assert verdict["live"] is True
    assert verdict["base"]["source"] == f"main ({project.git('rev-parse', 'main')[:12]})"
    assert verdict["head"]["source"] == f"working tree ({slow[:12]})"
    results = read(project.folder.parent / "out")
    revisions = {facts["env"]: facts["revision"] for facts in results.run.environments.values()}
    assert revisions["base"]["commit"] == project.git("rev-parse", "main")
    assert revisions["head"] == {"commit": slow, "revision": "", "dirty": False}
    assert "gru" in summary.read_text().split("elman")[0], "what changed stands first"
    again = read(project.folder.parent / "out" / "again")
    assert {record.case.cell for record in again.records} == {"gru"}, "only what was flagged"
    assert {record.case.env for record in again.records} == {"base", "head"}


@pytest.mark.slow
def test_a_comment_changes_nothing(project: Project) -> None:
    project.write("src/myproject/cost.py", "# a remark\n" + COST)
    project.commit("a remark")
    code, verdict = ci(project)
    assert code == verdict["exit"] == 0
    times = {row["verdict"] for row in verdict["rows"] if row["kind"] == "time"}
    assert times <= {"unchanged", "inconclusive"}


@pytest.mark.slow
def test_a_head_that_does_not_import_fails(project: Project) -> None:
    project.write("src/myproject/cost.py", "import no_such_module_of_mine\n")
    code, verdict = ci(project)
    assert code == verdict["exit"] == 6
    assert verdict["head"]["source"].endswith(", with changes)")
    failing = verdict["newly_failing"]
    assert {each["case"].split("-")[2] for each in failing} == {"elman", "gru"}
    assert all("no_such_module_of_mine" in each["reason"] for each in failing)
    assert {each["base"] for each in failing} == {"ok"}


@pytest.mark.slow
def test_a_base_that_does_not_import_proves_nothing(project: Project) -> None:
    project.write("src/myproject/cost.py", "import no_such_module_of_mine\n")
    broken = project.commit("broken")
    project.write("src/myproject/cost.py", COST)
    project.commit("mended")
    code, verdict = ci(project, base=broken)
    assert code == verdict["exit"] == 5
    assert "no case is ok on both sides" in verdict["notes"][0]
    assert "no_such_module_of_mine" in verdict["notes"][1]


@pytest.mark.slow
def test_an_implementation_that_vanished(project: Project) -> None:
    project.write("bench/plugin.py", PLUGIN + EXTRA)
    had = project.commit("an implementation more")
    project.write("bench/plugin.py", PLUGIN)
    project.write("bench/suite.yaml", SUITE + "include: [{cell: gru, implementation: [extra]}]\n")
    project.commit("gone again")
    code, verdict = ci(project, base=had)
    assert code == verdict["exit"] == 5
    (gone,) = verdict["vanished"]
    assert "-gru-H2-mine-extra-" in gone["case"]
    assert gone["reason"].startswith("in environment head: mine has no extra implementation of gru")


@pytest.mark.slow
def test_a_base_that_imports_the_working_tree_is_refused(project: Project) -> None:
    # as an editable installation does whose finder comes before the path
    hook = f"""import sys
from importlib.util import spec_from_file_location
class Finder:
    def find_spec(name, path=None, target=None):
        if name == "myproject.cost":
            return spec_from_file_location(name, {str(project.cost)!r})
sys.meta_path.insert(0, Finder)
"""
    project.write("bench/plugin.py", hook + PLUGIN)
    project.commit("hooked")
    with pytest.raises(RequestError, match=r"base imports the working tree's .*cost\.py.*--install"):
        ci(project, base="work")
    assert json.loads((project.folder.parent / "out" / "verdict.json").read_text())["exit"] == 2


def test_a_gate_that_measures_nothing_of_the_project_proves_nothing(
    project: Project,
) -> None:
    """The plugin lies outside, so both sides are the same code, whatever the project's commits say."""
    project.write("bench/suite.yaml", SUITE.replace("mine", "toy"))
    project.write("src/myproject/cost.py", COST.replace('"gru": 0.002', '"gru": 0.2'))
    project.commit("gru does much more work")
    code, verdict = ci(project, plugin=TOY)
    assert code == verdict["exit"] == 5
    assert verdict["rows"] == []
    assert "neither side imported anything of the project" in " ".join(verdict["notes"])


def test_an_unknown_revision_has_neighbours(project: Project) -> None:
    project.git("branch", "feature")
    with pytest.raises(
        RequestError, match=r'--base faeture: no revision "faeture". Did you mean "feature"\?'
    ):
        ci(project, base="faeture")
    verdict = json.loads((project.folder.parent / "out" / "verdict.json").read_text())
    assert verdict["exit"] == 2
    assert "feature" in verdict["error"]
    assert resolve(project.folder, "feature", where="") == project.git("rev-parse", "main")
    with pytest.raises(RequestError, match='no revision "--all"'):
        resolve(project.folder, "--all", where="--base --all")
    with pytest.raises(RequestError, match=r"holds a verdict\.json already"):
        ci(project, base="main")


def test_a_shallow_clone_is_told_what_to_do(project: Project, tmp_path: Path) -> None:
    project.git("commit", "-q", "--allow-empty", "-m", "second")
    project.git("clone", "-q", "--depth", "1", f"file://{project.folder}", str(tmp_path / "clone"))
    with pytest.raises(RequestError, match=r"this clone is shallow.*fetch-depth: 0.*GIT_DEPTH: 0"):
        resolve(tmp_path / "clone", "origin/main", where="--base origin/main")


def test_outside_a_repository(tmp_path: Path) -> None:
    with (
        pytest.raises(RequestError, match=r"is no git repository that can be used.*fatal: not a git"),
        both_sides(Revisions("main"), (), tmp_path),
    ):
        pass


def test_an_unknown_word_of_fail_on_is_refused_at_once(project: Project) -> None:
    with pytest.raises(RequestError, match=r'no verdict "inconclusve". Did you mean "inconclusive"'):
        ci(project, fail_on=("inconclusve",))


def test_a_checkout_is_gone_however_it_ends(project: Project) -> None:
    before = leftovers()
    with pytest.raises(KeyboardInterrupt), checked_out(project.folder, "main", "base") as folder:  # noqa: PT012 - Ctrl-C
        assert (folder / "bench/plugin.py").exists()
        assert project.worktrees() == 2
        raise KeyboardInterrupt
    assert leftovers() == before
    assert project.worktrees() == 1


def test_a_worktree_of_the_user_that_is_away_just_now_stays_known(project: Project, tmp_path: Path) -> None:
    project.git("worktree", "add", "--detach", str(tmp_path / "mine"))
    (tmp_path / "mine").rename(tmp_path / "away")
    with checked_out(project.folder, "main", "base"):
        assert project.worktrees() == 3
    assert project.worktrees() == 2
    (tmp_path / "away").rename(tmp_path / "mine")
    assert git(tmp_path / "mine", "status").returncode == 0


@pytest.mark.parametrize("spoil", [".git/worktrees/base/HEAD", ""], ids=["half made", "folder gone"])
def test_a_checkout_whose_making_was_interrupted_leaves_nothing(project: Project, spoil: str) -> None:
    before = leftovers()
    with checked_out(project.folder, "main", "base") as folder:
        (project.folder / ".git/worktrees/base/locked").write_text("initializing")
        (folder / ".git").unlink()
        if spoil:
            (project.folder / spoil).unlink()
        else:
            shutil.rmtree(folder)
    assert not (project.folder / ".git/worktrees/base").exists()
    assert leftovers() == before


def test_what_is_imported_from_the_project_comes_from_the_checkout(project: Project, tmp_path: Path) -> None:
    root, checkout = project.folder, tmp_path / "checkout"
    for name in ("lib", "src"):
        (checkout / name).mkdir(parents=True)
    (root / "lib").mkdir()
    inside_venv = Path(sys.prefix) / "lib"
    search = [str(root / "lib"), str(inside_venv), "/usr/lib", str(root / "venv/lib/site-packages")]
    folders = project_folders(root, search)
    assert folders == ("lib", "src", ".")
    (checkout / "bench").mkdir()
    (checkout / "bench/plugin.py").write_text("")
    files = [str(root / "bench/plugin.py"), str(root / "bench/new.py"), "/elsewhere/plugin.py"]
    found = lay_over("base", root, checkout, (*folders, "gone"), files, target=tmp_path, revision={"a": 1})
    assert found.paths == (str(tmp_path), str(checkout / "lib"), str(checkout / "src"), str(checkout))
    assert found.plugin_files == (str(checkout / "bench/plugin.py"), "/elsewhere/plugin.py")
    assert found.python == sys.executable


def test_an_editable_installation_that_hooks_the_import(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Finder:
        MAPPING = {"mine": str(project.folder / "python" / "mine")}  # noqa: RUF012 - as setuptools writes it

    monkeypatch.setitem(sys.modules, "__editable___mine_1_0_finder", Finder)  # type: ignore[arg-type]
    assert project_folders(project.folder)[0] == "python"


def test_install_runs_in_each_checkout_and_knows_which(project: Project, tmp_path: Path) -> None:
    project.write("src/myproject/cost.py", "# changed\n" + COST)
    note = 'echo "$RNNBENCH_REVISION $RNNBENCH_COMMIT $PWD" >> "$LOG"; touch "$RNNBENCH_TARGET/built.py"'
    log = tmp_path / "log"
    command = note.replace("$LOG", str(log))
    with both_sides(Revisions("main", "", command), (), project.folder) as sides:
        said = [line.split() for line in log.read_text().splitlines()]
        main = project.git("rev-parse", "main")
        assert [line[0] for line in said] == ["base", "head"]
        assert [line[1] for line in said] == [main, main]
        assert said[1][2] == str(project.folder)
        assert said[0][2] != said[1][2]
        assert all((Path(side.paths[0]) / "built.py").exists() for side in sides.environments)
        assert sides.head.revision["dirty"] is True
        assert sides.sources[1].endswith(", with changes)")
    with (
        pytest.raises(RequestError, match="ended with 3 in the base checkout: no compiler"),
        both_sides(Revisions("main", "", "echo no compiler; exit 3"), (), project.folder),
    ):
        pass


@pytest.mark.skipif(os.name != "posix", reason="process groups")
@pytest.mark.parametrize("then", ["wait; true", "exit 0"], ids=["shell waits", "shell has ended"])
def test_an_install_that_takes_too_long_ends_with_all_that_it_started(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    monkeypatch.setattr("rnnbench.ci.revising._INSTALL_LIMIT_S", 0.5)
    late = tmp_path / "late"
    command = f"(sleep 2; touch {late}) & {then}"
    before, begin = leftovers(), time.monotonic()
    with (
        pytest.raises(RequestError, match="took over 0 s in the base checkout"),
        both_sides(Revisions("main", "", command), (), project.folder),
    ):
        pass
    assert leftovers() <= before
    time.sleep(max(0.0, begin + 3 - time.monotonic()))
    assert not late.exists()


def test_what_a_reader_should_know_of_the_two(project: Project) -> None:
    def notes(base: str, head: str = "") -> str:
        with both_sides(Revisions(base, head), (), project.folder) as sides:
            return " ".join(sides.notes)

    assert "the same commit" in notes("main")
    project.write("a.txt", "a")
    project.commit("work")
    assert notes("main") == ""
    project.git("switch", "-q", "main")
    project.write("b.txt", "b")
    project.commit("meanwhile on main")
    assert "the base has commits that the head lacks" in notes("main", "work")


def test_how_much_is_measured() -> None:
    text = "axes: {task: [copy], length: [2], cell: [elman]}\n"
    assert Effort().rounds(parse_suite(text)) == Protocol(rounds=10, most_rounds=80, block_s=0.005)
    assert Effort().rounds(parse_suite(text + "defaults: {rounds: 7}")) == Protocol(rounds=7)
    assert Effort().processes(parse_suite(text + "defaults: {processes: 1}")) == Replication(6, 20)
    asked = override(parse_suite(text), Overrides(settings=("processes=4", "rounds=5")))
    assert Effort().processes(asked) == Replication(4, 4)
    assert Effort().rounds(asked) == Protocol(rounds=5)


def test_nothing_is_written_where_nothing_may_be(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    write: Callable[..., None] = gate._write_error
    file = project.folder / "file"
    file.write_text("")
    write(file, 2, "x")
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupted_gate_leaves_a_verdict_and_no_checkout(project: Project, tmp_path: Path) -> None:
    before, out = leftovers(), tmp_path / "out"
    words = ["ci", "bench/suite.yaml", "--base", "main", "--plugin", "bench/plugin.py", "--out", str(out)]
    code = "from rnnbench.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until = time.monotonic() + 120
    while not (out / "blocks.jsonl").exists() or not (out / "blocks.jsonl").stat().st_size:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.05)
    assert project.worktrees() == 2
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert json.loads((out / "verdict.json").read_text()) == {
        "format": 1,
        "exit": 130,
        "error": "interrupted",
    }
    assert project.worktrees() == 1
    assert leftovers() <= before
    assert read(out).run.finished == ""
