"""How backends provide cells: which implementation, on which device, or why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rnnbench.errors import PluginError
from rnnbench.plugins import Plugins, availability
from rnnbench.records import Status

IMPLEMENTATIONS = ("native", "portable", "compiled", "scan")
"""Names that a suite may use although no plugin at hand offers them."""

Devices = Mapping[str, tuple[str, ...]]
"""Backend -> the devices that it reports."""

_Refusal = tuple[Status, str]


@dataclass(frozen=True, slots=True)
class Provision:
    """One way to compute a cell; ``status`` other than ok: it cannot be run, for ``reason``."""

    backend: str
    implementation: str
    device: str
    status: Status = "ok"
    reason: str = ""


class Provider:
    """Answers once for each backend and cell, and remembers: plans ask the same thousands of times."""

    def __init__(self, plugins: Plugins, devices: Devices) -> None:
        self._plugins = plugins
        self._devices = devices
        self._answers: dict[tuple[object, ...], tuple[Provision, ...]] = {}
        self._assumed: dict[str, None] = {}

    @property
    def assumed(self) -> tuple[str, ...]:
        """The device words that were read as cpu because the backend's devices are not known."""
        return tuple(self._assumed)

    def provide(
        self, backend: str, cell: str, implementations: tuple[str, ...], devices: tuple[str, ...]
    ) -> tuple[Provision, ...]:
        """Every named implementation (none named: the preferred one) on every named device or word."""
        key = backend, cell, implementations, devices
        if key not in self._answers:
            self._answers[key] = tuple(
                Provision(backend, name, device, *(refusal or no_device or ("ok", "")))
                for name, refusal in self._implementations(backend, cell, implementations)
                for device, no_device in self._resolve(backend, devices)
            )
        return self._answers[key]

    def _implementations(
        self, backend: str, cell: str, asked: tuple[str, ...]
    ) -> Iterator[tuple[str, _Refusal | None]]:
        absent = self._absence(backend)
        unknown = asked or IMPLEMENTATIONS[:1]
        if backend not in self._plugins.backends:
            yield from ((name, absent) for name in unknown)
            return
        try:
            offered = self._plugins.implementations_of(backend, cell)
        except PluginError as error:
            yield from ((name, ("failed", str(error))) for name in unknown)
            return
        for name in asked or offered[:1] or ("portable",):
            if name in offered:
                yield name, absent
            else:
                has = ", ".join(offered) or "none"
                yield (
                    name,
                    ("unsupported", f"{backend} has no {name} implementation of {cell}; it has: {has}"),
                )

    def _absence(self, backend: str) -> _Refusal | None:
        if backend in self._plugins.backends:
            version, reason = availability(self._plugins.backends[backend])
            return None if version is not None else ("skipped", reason)
        broken = self._plugins.broken_for(backend)
        if broken is not None:
            return "failed", f"plugin {broken.distribution} is broken: {broken.reason}"
        return "skipped", f'"{backend}" is not installed. Install it with: pip install rnnbench-{backend}'

    def _resolve(self, backend: str, asked: tuple[str, ...]) -> Iterator[tuple[str, _Refusal | None]]:
        known = self._devices.get(backend)
        resolved: dict[str, _Refusal | None] = {}
        for word in asked:
            if word in ("auto", "all") and known is None:
                self._assumed[word] = None
                resolved["cpu"] = None
            elif known is None or word in known:
                resolved[word] = None
            elif word == "auto":
                resolved[next((device for device in known if device != "cpu"), "cpu")] = None
            elif word == "all":
                resolved.update(dict.fromkeys(known))
            else:
                has = ", ".join(known)
                resolved[word] = "skipped", f"{backend} has no device {word} here; it has: {has}"
        yield from resolved.items()
