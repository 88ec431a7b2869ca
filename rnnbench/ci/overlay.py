"""A checkout laid over the present environment: what would be imported from the project comes from it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnnbench.measuring.launch import Environment
from rnnbench.measuring.origins import installed, is_below


def project_folders(root: Path, search: Sequence[str] | None = None) -> tuple[str, ...]:
    """Folders of the project at ``root`` that Python imports from, relative to it, in their order.

    They are those of ``search`` (by default ``sys.path`` and what editable installations add) that lie in
    the project, then ``src`` and the root itself. A virtual environment inside the project is none of them.
    """
    found: dict[str, None] = {}
    for entry in (*sys.path, *_editable()) if search is None else search:
        path = Path(entry).resolve()
        if path.is_relative_to(root) and not installed(path):
            found[path.relative_to(root).as_posix()] = None
    return tuple({**found, "src": None, ".": None})


def lay_over(
    name: str,
    root: Path,
    checkout: Path,
    folders: Iterable[str],
    plugin_files: Iterable[str],
    *,
    target: Path | None = None,
    revision: Mapping[str, Any],
) -> Environment:
    """The environment in which the project at ``root`` is that of ``checkout``.

    ``target``: what ``--install`` has put there comes first of all. A plugin file of the project is the
    checkout's; one that the checkout lacks is left out, for it does not exist in that revision. Not every way
    of installing lets itself be laid over, so that what is imported from ``root`` all the same is refused.
    """
    laid = [checkout / folder for folder in folders]
    first = [target] if target is not None else []
    return Environment(
        name,
        paths=tuple(str(path) for path in (*first, *laid) if path.is_dir()),
        plugin_files=tuple(_files(root, checkout, plugin_files)),
        revision=revision,
        not_from="" if checkout == root else str(root),
    )


@contextmanager
def imported_from(environment: Environment) -> Iterator[None]:
    """This process imports what that environment would; at the end it forgets what came from there.

    Cells and tasks of a project are needed here too, for the reference and the data. What was imported
    before is kept, and so is what is installed: a virtual environment often lies in the project.
    """
    before, had = list(sys.path), set(sys.modules)
    sys.path[:0] = environment.paths
    try:
        yield
    finally:
        sys.path[:] = before
        for name in set(sys.modules) - had:
            file = getattr(sys.modules[name], "__file__", None)
            # an extension module cannot be loaded twice: what both sides share must stay
            if file and not installed(Path(file)) and is_below(Path(file), environment.paths):
                del sys.modules[name]


def _files(root: Path, checkout: Path, files: Iterable[str]) -> Iterator[str]:
    for file in files:
        # not where a link leads: that one revision has a link there is a part of it
        path = Path(os.path.abspath(file))
        if not path.is_relative_to(root):
            path = path.parent.resolve() / path.name  # the project may be reached by a link above it
        if not path.is_relative_to(root):
            yield str(path)
        elif (checkout / path.relative_to(root)).exists():
            yield str(checkout / path.relative_to(root))


def _editable() -> Iterator[str]:
    """What setuptools' editable installations import from: they hook the import instead of the path."""
    for name, module in list(sys.modules.items()):
        mapping = getattr(module, "MAPPING", None) if name.startswith("__editable__") else None
        if isinstance(mapping, dict):
            yield from (str(Path(path).parent) for path in mapping.values())
