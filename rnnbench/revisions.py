"""What git knows of the project that is measured: where it stands, and any commit in a folder of its own.

Everything is asked of the ``git`` command; where there is none, or no repository, nothing is known and
nothing fails until a commit is needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rnnbench.errors import RequestError, RnnbenchError, nearest

_TOLD_BY_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")
"""Set while a hook runs; they would make every question one about the hook's repository."""

_LIMIT_S = 900.0
"""A large repository is checked out within this, or never."""


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


def why_none(folder: Path) -> str:
    """Why ``repository`` found none, in git's own words: often an owner whom it does not trust."""
    try:
        said = git(folder, "rev-parse", "--show-toplevel").stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"git could not be asked: {error}"
    return " ".join(said.split())[:300]


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


def resolve(root: Path, revision: str, *, where: str) -> str:
    """The full hash of a commit. Raises ``RequestError`` with the nearest names, or how to fetch it."""
    asked = git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    # what begins with a dash is an option to git, and never the name of a revision
    if asked.returncode == 0 and not revision.startswith("-"):
        return asked.stdout.strip()
    if git(root, "rev-parse", "--is-shallow-repository").stdout.strip() == "true":
        raise RequestError(
            f'"{revision}" is not here: this clone is shallow. In GitHub Actions give actions/checkout '
            "fetch-depth: 0, in GitLab CI set GIT_DEPTH: 0, elsewhere run: git fetch --unshallow",
            where=where,
        )
    refs = ("refs/heads", "refs/remotes", "refs/tags")
    names = git(root, "for-each-ref", "--format=%(refname:short)", *refs).stdout.split()
    hint = nearest(revision, names) if len(names) <= 20 else nearest(revision, names).partition("Allowed")[0]
    raise RequestError(f'no revision "{revision}". {hint or "See: git branch --all"}', where=where)


def is_ancestor(root: Path, older: str, newer: str) -> bool:
    """Whether everything in ``older`` is in ``newer`` too."""
    return git(root, "merge-base", "--is-ancestor", older, newer).returncode == 0


@contextmanager
def checked_out(root: Path, commit: str, name: str) -> Iterator[Path]:
    """A git worktree of ``commit`` in a temporary folder, gone at the end however that comes.

    Raises ``RnnbenchError`` where git cannot make one.
    """
    above = Path(tempfile.mkdtemp(prefix="rnnbench-ci-")).resolve()
    try:
        made = git(root, "worktree", "add", "--detach", "--force", str(above / name), commit)
        if made.returncode != 0:
            said = " ".join(made.stderr.split())[-300:]
            raise RnnbenchError(f"{commit[:12]} could not be checked out: {said}")
        yield above / name
    finally:
        try:
            _forget(root, above / name)
        finally:
            shutil.rmtree(above, ignore_errors=True)


def _forget(root: Path, worktree: Path) -> None:
    """Take one worktree out of git's list, whatever state it is in.

    ``git worktree prune`` would take out the user's too whose folder is away just now, on a disk that is
    not mounted; and it leaves one whose making was interrupted, for that is locked.
    """
    with suppress(OSError, subprocess.TimeoutExpired):
        if git(root, "worktree", "remove", "--force", "--force", str(worktree)).returncode == 0:
            return
        # git refuses one that is only half made
        common = git(root, "rev-parse", "--git-common-dir").stdout.rstrip("\n")
        for told in (root / common / "worktrees").glob("*/gitdir"):
            # a path, which git may be set to note relative to this file
            if (told.parent / told.read_text(errors="replace").rstrip("\n")).resolve() == worktree / ".git":
                shutil.rmtree(told.parent, ignore_errors=True)
