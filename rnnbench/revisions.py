"""What git knows of the project that is measured: where it stands, and any commit in a folder of its own.

Everything is asked of the ``git`` command; where there is none, or no repository, nothing is known and
nothing fails until a commit is needed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TOLD_BY_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")
"""Set while a hook runs; they would make every question one about the hook's repository."""

_LIMIT_S = 120.0


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Ask git about the repository around ``folder``. Raises ``OSError`` where there is no git."""
    variables = {name: value for name, value in os.environ.items() if name not in _TOLD_BY_HOOKS}
    return subprocess.run(
        # hooks of the project are not ours to run
        ["git", "-c", f"core.hooksPath={os.devnull}", *words],
        cwd=folder, env=variables, capture_output=True, text=True, errors="replace", timeout=_LIMIT_S,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def repository(folder: Path) -> Path | None:
    """The top of the working tree around ``folder``; None where there is none, or no git."""
    try:
        asked = git(folder, "rev-parse", "--show-toplevel")
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Path(asked.stdout.rstrip("\n")).resolve() if asked.returncode == 0 else None


def describe(folder: Path) -> Mapping[str, Any]:
    """commit, branch ("" where none is checked out) and dirty of the project around ``folder``; {} for none.

    Dirty: a tracked file differs from the commit, or there is one that git neither tracks nor ignores.
    """
    root = repository(folder)
    if root is None:
        return {}
    commit = git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    branch = git(root, "symbolic-ref", "--short", "--quiet", "HEAD")
    status = git(root, "status", "--porcelain")
    return {
        "commit": commit.stdout.strip(),
        "branch": branch.stdout.strip(),
        "dirty": bool(status.stdout.strip()),
    }
