"""Finding what plugins give: backends, cells, tasks and implementations, by name.

A plugin that does not import, or whose hook raises, is kept with its reason and stops only what
needs it. Nothing here imports a framework.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from rnnbench import hookspecs
from rnnbench.contracts import API_VERSION, Backend, Cell, Implementation, Task
from rnnbench.errors import PluginError, RequestError, nearest

GROUP = "rnnbench"
FIRST_PARTY = ("numpy", "torch", "jax", "tensorflow")
"""Backends that compute every cell, each by a plugin of its own."""

KNOWN = (*FIRST_PARTY, "keras-tensorflow", "keras-jax", "keras-torch")
"""Backends of which the plugin's distribution is known, so that it can be offered for installation."""

ImplementationKey = tuple[str, str, str]
"""(backend, cell, name)."""

_GIVES = {  # hook -> (kind, what an object of this kind must have)
    "rnnbench_backends": ("backend", ("name", "distributions", "implementations", "open")),
    "rnnbench_cells": ("cell", ("name", "gates", "paper", "shapes", "state_shapes", "output_size")),
    "rnnbench_tasks": ("task", ("name", "about", "ranked", "prepare")),
    "rnnbench_implementations": ("implementation", ("backend", "cell", "name", "factory")),
}


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """A plugin that was found and cannot be used; ``name`` is that of its entry point."""

    name: str
    distribution: str
    reason: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Who gives a name. For a file of ``--plugin`` the distribution is its path, without a version."""

    distribution: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip()


@dataclass(frozen=True, slots=True)
class Plugins:
    """All that was found. ``origins`` has keys (kind, name), kind being backend, cell, task or
    implementation; an implementation's name there is "backend/cell/name".
    """

    backends: Mapping[str, Backend] = field(default_factory=dict)
    cells: Mapping[str, Cell] = field(default_factory=dict)
    tasks: Mapping[str, Task] = field(default_factory=dict)
    implementations: Mapping[ImplementationKey, Implementation] = field(default_factory=dict)
    origins: Mapping[tuple[str, str], Origin] = field(default_factory=dict)
    broken: tuple[BrokenPlugin, ...] = ()

    def implementations_of(self, backend: str, cell: str) -> tuple[str, ...]:
        """The backend's own implementations of a cell, the preferred one first, then those of plugins.

        Raises ``PluginError`` if the backend cannot say.
        """
        try:
            own = tuple(self.backends[backend].implementations(self.cells[cell]))
        except Exception as error:
            raise PluginError(
                f'{self.origins.get(("backend", backend), "?")}: implementations("{cell}") of backend '
                f'"{backend}" raised {_said(error)}'
            ) from error
        added = (name for b, c, name in self.implementations if (b, c) == (backend, cell))
        return (*own, *sorted(added))


def discover(files: Sequence[str | Path] = (), *, entries: Iterable[EntryPoint] | None = None) -> Plugins:
    """Load every entry point of group ``rnnbench`` and the files of ``--plugin``.

    ``entries`` stands in for the installed entry points. Raises ``PluginError`` where one name is given
    twice, and ``RequestError`` for a file that is missing or is no plugin: it was asked for by name.
    """
    found = entry_points(group=GROUP) if entries is None else entries
    given: list[_Given] = []
    broken: list[BrokenPlugin] = []
    for entry in sorted(found, key=lambda entry: (entry.name != "cells", entry.name != "tasks", entry.name)):
        origin = Origin(entry.dist.name, entry.dist.version) if entry.dist else Origin(entry.value)
        try:
            given.extend(_collect(entry.load(), origin))
        except (Exception, SystemExit) as error:
            broken.append(BrokenPlugin(entry.name, origin.distribution, _said(error)))
    for file in files:
        where = f"--plugin {file}"
        try:
            given.extend(_collect(_load_file(Path(file)), Origin(str(file))))
        except RequestError as error:
            raise RequestError(error.message, where=where) from None
        except (Exception, SystemExit) as error:
            raise RequestError(f"is not a plugin: {_said(error)}", where=where) from error
    return _merge(given, tuple(broken))


def distribution_of(backend: str) -> str:
    """The distribution whose plugin gives a backend of this name, as plugins are named."""
    return "rnnbench-keras" if backend.startswith("keras-") else f"rnnbench-{backend}"


def availability(backend: Backend) -> tuple[str | None, str]:
    """(version, "") of the backend's framework where it is installed, else (None, reason).

    Reads the metadata of distributions; imports nothing.
    """
    for distribution in backend.distributions:
        try:
            return version(distribution), ""
        except PackageNotFoundError:
            continue
    names = backend.distributions
    if not names:
        return None, f'backend "{backend.name}" names no distribution'
    return None, f"{' or '.join(names)} is not installed. Install it with: pip install {names[0]}"


@dataclass(frozen=True, slots=True)
class _Given:
    kind: str
    name: str
    value: Any
    origin: Origin


def _collect(plugin: Any, origin: Origin) -> list[_Given]:
    """What one plugin gives, asked for on its own, so that its mistakes are only its own."""
    api = getattr(plugin, "RNNBENCH_API", API_VERSION)
    if api != API_VERSION:
        raise PluginError(
            f"is written for plugin API {api!r}, and this rnnbench has {API_VERSION}; "
            "install versions of the two that fit"
        )
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    callers = manager.get_hookcallers(plugin) or []
    if not callers:
        raise PluginError(f"implements none of the hooks {', '.join(_GIVES)}")
    given: list[_Given] = []
    for caller in callers:
        if not caller.has_spec():
            raise PluginError(f"implements {caller.name}, which is no hook. {nearest(caller.name, _GIVES)}")
        kind, members = _GIVES[caller.name]
        for values in caller():
            given.extend(_named(kind, value, members, origin) for value in values)
    return given


def _named(kind: str, value: Any, members: tuple[str, ...], origin: Origin) -> _Given:
    if kind == "cell" and not hasattr(value, "over"):
        members = (*members, "project", "step")
    missing = [member for member in members if not hasattr(value, member)]
    if missing:
        raise PluginError(f"gives a {kind} without {', '.join(missing)}: {value!r:.80}")
    parts = (value.backend, value.cell, value.name) if kind == "implementation" else (value.name,)
    if not all(isinstance(part, str) and part.isprintable() and part.strip() for part in parts):
        raise PluginError(f"gives a {kind} whose name is not a word: {parts!r:.80}")
    return _Given(kind, "/".join(parts), value, origin)


def _merge(given: list[_Given], broken: tuple[BrokenPlugin, ...]) -> Plugins:
    first: dict[tuple[str, str], _Given] = {}
    for item in given:
        other = first.setdefault((item.kind, item.name), item)
        if other is not item:
            raise PluginError(_clash(item.kind, item.name, other.origin, item.origin))
    plugins = Plugins(
        backends=dict(_of_kind("backend", first.values())),
        cells=dict(_of_kind("cell", first.values())),
        tasks=dict(_of_kind("task", first.values())),
        implementations={
            (value.backend, value.cell, value.name): value
            for _, value in _of_kind("implementation", first.values())
        },
        origins={key: item.origin for key, item in first.items()},
        broken=broken,
    )
    for key in plugins.implementations:
        _refuse_own_name(plugins, key)
    return plugins


def _refuse_own_name(plugins: Plugins, key: ImplementationKey) -> None:
    """Raise if a plugin's implementation takes a name that the backend itself has for the cell."""
    backend, cell, name = key
    if backend not in plugins.backends or cell not in plugins.cells:
        return
    try:
        names = plugins.implementations_of(backend, cell)
    except PluginError:
        return  # reported for every case that needs this backend
    if names.count(name) > 1:
        whole = "/".join(key)
        origins = plugins.origins["backend", backend], plugins.origins["implementation", whole]
        raise PluginError(_clash("implementation", whole, *origins))


def _of_kind(kind: str, given: Iterable[_Given]) -> Iterator[tuple[str, Any]]:
    return ((item.name, item.value) for item in given if item.kind == kind)


def _clash(kind: str, name: str, one: Origin, other: Origin) -> str:
    if one.distribution == other.distribution:
        return f'{one} gives {kind} "{name}" twice'
    return f'{one} and {other} both give {kind} "{name}"; uninstall one, or rename'


def _load_file(file: Path) -> ModuleType:
    if file.is_dir():
        raise RequestError("is a directory; give a Python file")
    if not file.is_file():
        raise RequestError("no such file")
    if file.suffix != ".py":
        raise RequestError("is not a Python file (.py)")
    # two files mine.py of two folders must not become one module
    digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
    name = f"rnnbench_file_{file.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _said(error: BaseException) -> str:
    if isinstance(error, PluginError):
        return str(error)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__
