"""Discovery: what is found, what is broken and stops nothing else, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, EntryPoint, entry_points, version
from pathlib import Path
from typing import Any

import pytest

from rnnbench.errors import PluginError, RequestError
from rnnbench.offers import offers_of
from rnnbench.plugins import BrokenPlugin, Origin, Plugins, availability, discover

PRELUDE = """
from dataclasses import dataclass
from rnnbench.contracts import Implementation
from rnnbench.hookspecs import hookimpl

@dataclass(frozen=True)
class Backend:
    name: str
    distributions: tuple = ("numpy",)
    own: tuple = ("native", "portable")
    def implementations(self, cell):
        return self.own
    def open(self, settings, cells): ...

@dataclass(frozen=True)
class Cell:
    name: str
    gates = ("n",)
    paper = ""
    def shapes(self, sizes): ...
    def state_shapes(self, sizes): ...
    def output_size(self, sizes): ...
    def project(self, ops, p, x): ...
    def step(self, ops, p, u, state): ...

@dataclass(frozen=True)
class Task:
    name: str
    about: str = ""
    ranked: bool = True
    def prepare(self, length): ...
"""
BACKEND = "@hookimpl\ndef rnnbench_backends():\n    return [Backend({!r})]\n"
CELL = "@hookimpl\ndef rnnbench_cells():\n    return [Cell({!r})]\n"
TASK = "@hookimpl\ndef rnnbench_tasks():\n    return [Task({!r})]\n"
MINE = "@hookimpl\ndef rnnbench_implementations():\n    return [Implementation({!r}, {!r}, {!r}, print)]\n"


class FakeDistribution(Distribution):
    def __init__(self, name: str, version: str) -> None:
        self._text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"

    def read_text(self, filename: str) -> str | None:
        return self._text if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        return path


class Installed:
    """Writes modules and pretends that distributions with entry points for them are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[EntryPoint] = []

    def add(self, name: str, code: str, *, prelude: str = PRELUDE) -> None:
        module = f"rnnbench_test_{name}"
        (self.folder / f"{module}.py").write_text(prelude + code)
        entry = EntryPoint(name, module, "rnnbench")
        vars(entry)["dist"] = FakeDistribution(f"rnnbench-{name}", "1.2")
        self.entries.append(entry)

    def discover(self, *files: Path) -> Plugins:
        return discover(files, entries=self.entries)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Installed(tmp_path)
    for name in [name for name in sys.modules if name.startswith(("rnnbench_test_", "rnnbench_file_"))]:
        del sys.modules[name]


def test_all_four_hooks_are_collected_with_their_origin(installed: Installed) -> None:
    installed.add("one", BACKEND.format("fast") + CELL.format("mgu"))
    installed.add("two", TASK.format("sort") + MINE.format("fast", "mgu", "mine"))
    plugins = installed.discover()
    assert list(plugins.backends) == ["fast"]
    assert list(plugins.cells) == ["mgu"]
    assert list(plugins.tasks) == ["sort"]
    assert list(plugins.implementations) == [("fast", "mgu", "mine")]
    assert plugins.origins == {
        ("backend", "fast"): Origin("rnnbench-one", "1.2"),
        ("cell", "mgu"): Origin("rnnbench-one", "1.2"),
        ("task", "sort"): Origin("rnnbench-two", "1.2"),
        ("implementation", "fast/mgu/mine"): Origin("rnnbench-two", "1.2"),
    }
    assert plugins.broken == ()
    assert plugins.implementations_of("fast", "mgu") == ("native", "portable", "mine")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import not_there_at_all\n", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("def (\n", "SyntaxError: invalid syntax"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("", "implements none of the hooks rnnbench_backends, "),
        ("RNNBENCH_API = 2\n" + CELL.format("x"), "is written for plugin API 2, and this rnnbench has 1; "),
        ("@hookimpl\ndef rnnbench_cells():\n    raise OSError('no disk')\n", "OSError: no disk"),
        ("@hookimpl\ndef rnnbench_cells():\n    return 5\n", "TypeError: 'int' object is not iterable"),
        ("@hookimpl\ndef rnnbench_cells():\n    return [5]\n", "gives a cell without name, gates, paper"),
        # of one that computes all steps at once it would only be said that it has no project
        (CELL.format("x").replace("[Cell('x')]", "[type('C', (), {'name': 'x', 'gates': (), 'shapes': 0, "
         "'state_shapes': 0, 'output_size': 0, 'over': 0})()]"), "gives a cell without paper: "),
        (CELL.format(""), "gives a cell whose name is not a word: ('',)"),
        (CELL.format("a\nb"), "gives a cell whose name is not a word: ('a\\nb',)"),
        (CELL.format(7), "gives a cell whose name is not a word: (7,)"),
        ("@hookimpl\ndef rnnbench_cell():\n    return []\n",
         'implements rnnbench_cell, which is no hook. Did you mean "rnnbench_cells"?'),
        ("@hookimpl\ndef rnnbench_cells(extra):\n    return []\n", "PluginValidationError: "),
    ],
)  # fmt: skip
def test_a_broken_plugin_is_kept_with_its_reason_and_stops_no_other(
    installed: Installed, code: str, reason: str
) -> None:
    installed.add("bad", code)
    installed.add("good", CELL.format("mgu"))
    plugins = installed.discover()
    assert list(plugins.cells) == ["mgu"]
    (broken,) = plugins.broken
    assert (broken.name, broken.distribution) == ("bad", "rnnbench-bad")
    assert broken.reason.startswith(reason)
    assert offers_of(plugins).broken_for("bad") == broken
    assert offers_of(plugins).broken_for("good") is None


def test_a_plugin_breaks_as_a_whole(installed: Installed) -> None:
    installed.add("half", CELL.format("mgu") + "@hookimpl\ndef rnnbench_tasks():\n    raise OSError('x')\n")
    plugins = installed.discover()
    assert plugins.cells == {}
    assert plugins.broken == (BrokenPlugin("half", "rnnbench-half", "OSError: x"),)


def test_the_api_version_may_be_stated(installed: Installed) -> None:
    installed.add("one", "RNNBENCH_API = 1\n" + CELL.format("mgu"))
    assert list(installed.discover().cells) == ["mgu"]


@pytest.mark.parametrize(
    ("code", "kind", "name"),
    [
        (BACKEND.format("x"), "backend", "x"),
        (CELL.format("x"), "cell", "x"),
        (TASK.format("x"), "task", "x"),
        (MINE.format("b", "c", "x"), "implementation", "b/c/x"),
    ],
)
def test_one_name_from_two_plugins_is_an_error_that_names_both(
    installed: Installed, code: str, kind: str, name: str
) -> None:
    installed.add("one", code)
    installed.add("two", code)
    with pytest.raises(PluginError) as error:
        installed.discover()
    message = f'rnnbench-one 1.2 and rnnbench-two 1.2 both give {kind} "{name}"; uninstall one, or rename'
    assert str(error.value) == message


def test_one_name_may_be_of_two_kinds(installed: Installed) -> None:
    installed.add("one", CELL.format("copy"))
    installed.add("two", TASK.format("copy"))
    assert installed.discover().cells.keys() == installed.discover().tasks.keys()


def test_a_name_given_twice_by_one_plugin_is_an_error(installed: Installed) -> None:
    installed.add("one", "@hookimpl\ndef rnnbench_cells():\n    return [Cell('x'), Cell('x')]\n")
    with pytest.raises(PluginError, match=r'^rnnbench-one 1.2 gives cell "x" twice$'):
        installed.discover()


def test_an_implementation_must_not_take_a_name_that_the_backend_has(installed: Installed) -> None:
    installed.add("one", BACKEND.format("fast") + CELL.format("mgu"))
    installed.add("two", MINE.format("fast", "mgu", "native"))
    with pytest.raises(PluginError, match=r'one 1.2 and rnnbench-two 1.2 both give .*"fast/mgu/native"'):
        installed.discover()


def test_a_backend_that_cannot_say_what_it_has_is_named(installed: Installed) -> None:
    code = BACKEND.format("fast") + CELL.format("mgu") + MINE.format("fast", "mgu", "mine")
    installed.add("one", code.replace("Backend('fast')", "Backend('fast', own=3)"))
    plugins = installed.discover()
    with pytest.raises(PluginError) as error:
        plugins.implementations_of("fast", "mgu")
    assert str(error.value) == (
        'rnnbench-one 1.2: implementations("mgu") of backend "fast" raised '
        "TypeError: 'int' object is not iterable"
    )


def test_a_file_is_a_plugin_too(installed: Installed, tmp_path: Path) -> None:
    installed.add("one", BACKEND.format("fast"))
    files = [tmp_path / folder / "mine.py" for folder in ("a", "b")]
    for file, cell in zip(files, ("mgu", "jordan"), strict=True):
        file.parent.mkdir()
        file.write_text(PRELUDE + CELL.format(cell))
    plugins = installed.discover(*files)
    assert list(plugins.cells) == ["mgu", "jordan"], "two files of one name are two modules"
    assert plugins.origins["cell", "mgu"] == Origin(str(files[0]))
    assert str(Origin("x")) == "x"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "no such file"),
        ("def (\n", "is not a plugin: SyntaxError: invalid syntax (mine.py, line 1)"),
        ("1 / 0\n", "is not a plugin: ZeroDivisionError: division by zero"),
        ("import sys; sys.exit()\n", "is not a plugin: SystemExit"),
        ("x = 1\n", "is not a plugin: implements none of the hooks rnnbench_backends, rnnbench_cells, "
         "rnnbench_tasks, rnnbench_implementations"),
        ("RNNBENCH_API = 9\n", "is not a plugin: is written for plugin API 9, and this rnnbench has 1; "
         "install versions of the two that fit"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_plugin_is_refused(tmp_path: Path, code: str | None, message: str) -> None:
    file = tmp_path / "mine.py"
    if code is not None:
        file.write_text(code)
    before = set(sys.modules)
    with pytest.raises(RequestError) as error:
        discover([file], entries=[])
    assert str(error.value) == f"--plugin {file}: {message}"
    assert not {name for name in set(sys.modules) - before if name.startswith("rnnbench_file_")} or code in (
        "x = 1\n",
        "RNNBENCH_API = 9\n",
    )


def test_a_folder_and_a_text_are_no_plugin_files(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"is a directory; give a Python file$"):
        discover([tmp_path], entries=[])
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(RequestError, match=r"is not a Python file \(.py\)$"):
        discover([tmp_path / "a.txt"], entries=[])


def test_a_file_clashes_with_an_installed_plugin_by_its_path(installed: Installed, tmp_path: Path) -> None:
    installed.add("one", CELL.format("mgu"))
    file = tmp_path / "mine.py"
    file.write_text(PRELUDE + CELL.format("mgu"))
    with pytest.raises(PluginError) as error:
        installed.discover(file)
    assert f"rnnbench-one 1.2 and {file} both give" in str(error.value)


class Framework:
    def __init__(self, *distributions: str) -> None:
        self.name = "x"
        self.distributions = distributions


def test_a_framework_is_available_if_one_of_its_distributions_is_installed() -> None:
    assert availability(Framework("no-such-dist", "numpy")) == (version("numpy"), "")  # type: ignore[arg-type]
    assert availability(Framework("no-such-dist", "nor-this")) == (  # type: ignore[arg-type]
        None,
        "no-such-dist or nor-this is not installed. Install it with: pip install no-such-dist",
    )
    assert availability(Framework()) == (None, 'backend "x" names no distribution')  # type: ignore[arg-type]


def test_built_in_cells_and_tasks_come_through_entry_points() -> None:
    plugins = discover(
        entries=[it for it in entry_points(group="rnnbench") if it.value.startswith("rnnbench.")]
    )
    assert plugins.broken == ()
    assert {"elman", "gru", "lstm"} <= plugins.cells.keys()
    assert {"copy", "adding", "river"} <= plugins.tasks.keys()
    assert plugins.origins["cell", "lstm"] == Origin("rnnbench", version("rnnbench"))


def test_discovering_imports_no_framework() -> None:
    code = (
        "import sys, rnnbench.plugins as p, rnnbench.planning; p.discover(); "
        "print([m for m in ('torch', 'jax', 'tensorflow', 'keras', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
