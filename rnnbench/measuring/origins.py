"""Which files a process has imported: whether what it measures is what it is said to measure."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path


def installed(path: Path) -> bool:
    """Whether a path is of an interpreter's installation, wherever that lies, and so of no revision."""
    if {"site-packages", "dist-packages"} & set(path.parts):
        return True
    # the prefix of a system's own Python is /usr, where a container may well have the project too
    own = {sys.prefix} if sys.prefix != sys.base_prefix else set()
    own |= {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    return is_below(path, (*own, *(Path(folder).resolve() for folder in own)))


def is_below(path: Path, folders: Iterable[str | Path]) -> bool:
    """Whether a path is in one of the folders, or is one of them."""
    return any(path.is_relative_to(folder) for folder in folders)


def imported_below(folder: str, but: Sequence[str]) -> list[str]:
    """Files that this process has imported from ``folder``, links followed; not those below ``but``.

    What is installed is left out: a virtual environment often lies in the project.
    """
    found = []
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and _strange(file, folder, tuple(but)):
            found.append(file)
    return sorted(set(found))


def count_imported(folders: Sequence[str]) -> int:
    """How many files this process has imported from ``folders``, which may be files themselves."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return sum(isinstance(file, str) and _is_own(file, tuple(folders)) for file in files)


@cache
def _is_own(file: str, folders: tuple[str, ...]) -> bool:
    # not as it is installed: what --install has put into a folder of its own has no such name
    path = Path(os.path.abspath(file))
    return is_below(path, folders) and not {"site-packages", "dist-packages"} & set(path.parts)


@cache
def _strange(file: str, folder: str, but: tuple[str, ...]) -> bool:
    places = {Path(os.path.abspath(file)), Path(os.path.realpath(file))}
    return any(
        place.is_relative_to(folder) and not installed(place) and not is_below(place, but) for place in places
    )
