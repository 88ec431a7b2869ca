"""The two sides of ``ci``: revisions resolved, checked out, built, and laid over the present environment."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnbench.ci.overlay import lay_over, project_folders
from rnnbench.errors import RequestError
from rnnbench.measuring.launch import Environment
from rnnbench.revisions import checked_out, describe, is_ancestor, repository, resolve, why_none

BASE, HEAD = "base", "head"
_INSTALL_LIMIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Revisions:
    """What is compared: ``head`` "" is the working tree, changes that are not committed included."""

    base: str
    head: str = ""
    install: str = ""


@dataclass(frozen=True, slots=True)
class Sides:
    """Both environments, what each is called in a verdict, and what a reader should know of the two."""

    base: Environment
    head: Environment
    sources: tuple[str, str]
    notes: tuple[str, ...] = ()

    @property
    def environments(self) -> tuple[Environment, Environment]:
        """Base first."""
        return self.base, self.head


@contextmanager
def both_sides(revisions: Revisions, plugin_files: Sequence[str], folder: Path) -> Iterator[Sides]:
    """The sides of the project around ``folder``; their checkouts are gone at the end, also on Ctrl-C.

    Raises ``RequestError`` for an unknown revision, where there is no repository and where ``--install``
    fails, ``RnnbenchError`` where a revision cannot be checked out.
    """
    root = repository(folder)
    if root is None:
        message = f"is no git repository that can be used; run ci inside the project. {why_none(folder)}"
        raise RequestError(message, where=str(folder))
    folders, state = project_folders(root), describe(root)
    base = resolve(root, revisions.base, where=f"--base {revisions.base}")
    head = resolve(root, revisions.head, where=f"--head {revisions.head}") if revisions.head else ""
    tip = head or state["commit"]
    with ExitStack() as open_until_done:
        made = []
        for name, given, commit in ((BASE, revisions.base, base), (HEAD, revisions.head, head)):
            checkout = open_until_done.enter_context(checked_out(root, commit, name)) if commit else root
            told = {"commit": commit or tip, "revision": given, "dirty": not commit and state["dirty"]}
            target = None
            if revisions.install:
                scratch = tempfile.TemporaryDirectory(prefix="rnnbench-target-", ignore_cleanup_errors=True)
                target = Path(open_until_done.enter_context(scratch)).resolve()
                _install(revisions.install, checkout, target, name, told)
            made.append(lay_over(name, root, checkout, folders, plugin_files, target=target, revision=told))
        yield Sides(made[0], made[1], (_called(made[0]), _called(made[1])), tuple(_notes(root, made)))


def _install(command: str, checkout: Path, target: Path, name: str, told: Mapping[str, Any]) -> None:
    variables = {
        **os.environ,
        "RNNBENCH_REVISION": name,
        "RNNBENCH_COMMIT": str(told["commit"]),
        "RNNBENCH_TARGET": str(target),
    }
    where = f"--install {command}"
    process = subprocess.Popen(
        command, shell=True, cwd=checkout, env=variables, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        # the shell's children have to end with it: they write into folders that are about to go
        start_new_session=True,
    )  # fmt: skip
    try:
        output = process.communicate(timeout=_INSTALL_LIMIT_S)[0]
    except BaseException as error:
        _end(process)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        message = f"took over {_INSTALL_LIMIT_S:.0f} s in the {name} checkout"
        raise RequestError(message, where=where) from None
    if process.returncode != 0:
        said = " ".join(output.split())[-500:]
        message = f"ended with {process.returncode} in the {name} checkout: {said}"
        raise RequestError(message, where=where)


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a command and all that it has started, also where the shell itself has ended."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _called(side: Environment) -> str:
    told = side.revision
    commit = str(told["commit"])[:12]
    if told["revision"]:
        return f"{told['revision']} ({commit})"
    return f"working tree ({commit}{', with changes' if told['dirty'] else ''})"


def _notes(root: Path, sides: Sequence[Environment]) -> Iterator[str]:
    base, head = (str(side.revision["commit"]) for side in sides)
    if base == head and not sides[1].revision["dirty"]:
        yield "base and head are the same commit: any difference is noise"
    elif base != head and not is_ancestor(root, base, head):
        yield (
            "the base has commits that the head lacks, and what they changed counts as the head's doing; "
            "to leave them out: --base $(git merge-base BASE HEAD)"
        )
