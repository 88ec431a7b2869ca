"""What a side imports: the project's own code from its checkout, all else as it is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rnnbench.ci.overlay import imported_from, lay_over, project_folders
from rnnbench.measuring.launch import Environment
from rnnbench.measuring.origins import imported_below


def module(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text("")


def test_a_virtual_environment_inside_the_project_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / ".venv" / "lib" / "python3" / "site-packages"
    own = tmp_path / ".venv" / "lib" / "python3"
    module(packages, "overlay_before")
    module(packages, "overlay_during")
    module(own, "overlay_own")
    module(tmp_path, "overlay_early")
    module(tmp_path, "overlay_mine")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(packages), str(own), str(tmp_path)])
    assert project_folders(tmp_path) == (".", "src")
    early = [__import__("overlay_before"), __import__("overlay_early")]
    with imported_from(Environment("head", paths=(str(tmp_path),))):
        late = [__import__(f"overlay_{name}") for name in ("during", "own", "mine")]
    kept = [name for name in ("before", "early", "during", "own", "mine") if f"overlay_{name}" in sys.modules]
    assert kept == ["before", "early", "during", "own"]
    for each in (*early, *late):
        sys.modules.pop(each.__name__, None)


def test_a_plugin_file_that_is_a_link_out_of_the_project_is_the_checkouts(tmp_path: Path) -> None:
    root, checkout = tmp_path / "root", tmp_path / "checkout"
    module(checkout, "plugin")
    module(tmp_path / "shared", "plugin")
    root.mkdir()
    (root / "plugin.py").symlink_to(tmp_path / "shared" / "plugin.py")
    (tmp_path / "link").symlink_to(root)
    files = [str(each / "plugin.py") for each in (root, tmp_path / "link", tmp_path / "shared")]
    laid = lay_over("base", root, checkout, (".",), files, revision={})
    assert laid.plugin_files == (*[str(checkout / "plugin.py")] * 2, files[2])


def test_what_is_imported_from_elsewhere_in_the_project_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, checkout, links = tmp_path / "root", tmp_path / "checkout", tmp_path / "links"
    module(root / "python", "overlay_renamed")
    module(root / ".venv" / "lib" / "site-packages", "overlay_installed")
    module(root / "base", "overlay_laid")
    module(checkout, "overlay_checked_out")
    links.mkdir()
    (links / "overlay_link.py").symlink_to(root / "python" / "overlay_renamed.py")
    folders = [root / "python", root / ".venv/lib/site-packages", root / "base", checkout, links]
    monkeypatch.setattr(sys, "path", [*sys.path, *map(str, folders)])
    names = [f"overlay_{name}" for name in ("renamed", "installed", "laid", "checked_out", "link")]
    for name in names:
        __import__(name)
    told = imported_below(str(root), [str(checkout), str(root / "base")])
    for name in names:
        del sys.modules[name]
    assert told == [str(links / "overlay_link.py"), str(root / "python/overlay_renamed.py")]


def test_only_a_side_in_a_worktree_must_not_import_the_working_tree(tmp_path: Path) -> None:
    assert lay_over("head", tmp_path, tmp_path, (".",), (), revision={}).not_from == ""
    assert lay_over("base", tmp_path, tmp_path / "x", (".",), (), revision={}).not_from == str(tmp_path)
