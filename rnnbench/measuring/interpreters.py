"""``--env NAME=PYTHON``: other interpreters, held to what a worker needs before anything is planned."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import rnnbench
from rnnbench.errors import RequestError
from rnnbench.measuring.launch import Environment
from rnnbench.records import PRESENT

OLDEST, NEWEST = (3, 11), (3, 13)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._]{0,39}")
_ASK = (
    "import importlib.util as u, json, sys; "
    "print(json.dumps({'version': list(sys.version_info[:3]), 'found': u.find_spec('rnnbench') is not None}))"
)
_LIMIT_S = 60.0


def read_environments(
    texts: Sequence[str], plugin_files: Sequence[str], revision: Mapping[str, Any]
) -> tuple[Environment, ...]:
    """The environments of ``--env``, each "NAME=PYTHON", in their order.

    Raises ``RequestError`` for a name that cannot be one or is given twice, and for what is no Python that
    could run a worker: no such file, a version that rnnbench does not know, no rnnbench.
    """
    found: dict[str, Environment] = {}
    for text in texts:
        where = f"--env {text}"
        name, separator, given = text.partition("=")
        if not separator or not given.strip():
            raise RequestError("is not NAME=PYTHON, such as old=../old-venv/bin/python", where=where)
        if not _NAME.fullmatch(name):
            allowed = "Give letters, digits, dots and underscores, at most 40"
            raise RequestError(f'"{name:.60}" cannot be the name of an environment. {allowed}.', where=where)
        if name == PRESENT:
            message = f'"{PRESENT}" is the environment that rnnbench runs in, which is always measured'
            raise RequestError(f"{message}. Choose another name.", where=where)
        if name in found:
            raise RequestError(f'a second environment "{name}". Choose another name.', where=where)
        found[name] = Environment(
            name, _python(given.strip(), where), plugin_files=tuple(plugin_files), revision=revision
        )
    return tuple(found.values())


def _python(given: str, where: str) -> str:
    """The path of an interpreter, links unresolved: a virtual environment is known by where its link lies."""
    path = shutil.which(os.path.expanduser(given))
    if path is None:
        below = os.path.join(given, "Scripts" if os.name == "nt" else "bin", "python")
        hint = f' Did you mean "{below}"?' if shutil.which(below) else " Give the path of a python."
        raise RequestError(f'no program "{given}".{hint}', where=where)
    path = os.path.abspath(path)
    asked = _ask(path)
    if asked is None:
        raise RequestError(
            f'"{path}" does not answer as a Python does. Give the path of a python.', where=where
        )
    version = tuple(asked["version"])
    if not OLDEST <= version[:2] <= NEWEST:
        raise RequestError(
            f'"{path}" is Python {".".join(map(str, version))}. rnnbench needs {_shown(OLDEST)} to '
            f"{_shown(NEWEST)}.",
            where=where,
        )
    if not asked["found"]:
        raise RequestError(
            f"has no rnnbench. Install it, and the plugins to be measured: {path} -m pip install "
            f"rnnbench=={rnnbench.__version__} rnnbench-numpy",
            where=where,
        )
    return path


def _ask(python: str) -> dict[str, Any] | None:
    try:
        # from a folder where no file of the user's can stand in for a package
        asked = subprocess.run(
            [python, "-c", _ASK], capture_output=True, text=True, timeout=_LIMIT_S, check=True,
            stdin=subprocess.DEVNULL, cwd=tempfile.gettempdir(),
        )  # fmt: skip
        answer = json.loads(asked.stdout.strip().splitlines()[-1])
        return {"version": [int(part) for part in answer["version"]], "found": bool(answer["found"])}
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError, IndexError):
        return None


def _shown(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
