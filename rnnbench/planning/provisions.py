"""How backends provide cells: which implementation, on which device, or why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rnnbench.offers import Offers
from rnnbench.plugins import distribution_of
from rnnbench.records import PRESENT, Status

IMPLEMENTATIONS = ("native", "portable", "compiled", "scan")
"""Names that a suite may use although no plugin at hand offers them."""

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
    """Answers for an environment, once for each backend and cell: plans ask the same thousands of times."""

    def __init__(self, offers: Offers, env: str = PRESENT) -> None:
        self._offers = offers
        self._where = "" if env == PRESENT else f"in environment {env}: "
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
                Provision(backend, name, device, *self._located(refusal or no_device))
                for name, refusal in self._implementations(backend, cell, implementations)
                for device, no_device in self._resolve(backend, devices)
            )
        return self._answers[key]

    def preferred(self, backend: str, cell: str) -> tuple[str, ...]:
        """What is taken of a backend for a cell where nobody names an implementation; () for nothing."""
        offer = self._offers.backends.get(backend)
        return offer.implementations.get(cell, ())[:1] if offer else ()

    def _implementations(
        self, backend: str, cell: str, asked: tuple[str, ...]
    ) -> Iterator[tuple[str, _Refusal | None]]:
        absent = self._absence(backend)
        unknown = asked or IMPLEMENTATIONS[:1]
        if backend not in self._offers.backends:
            yield from ((name, absent) for name in unknown)
            return
        offer = self._offers.backends[backend]
        offered = offer.implementations.get(cell, ())
        if cell in offer.errors:
            yield from ((name, ("failed", offer.errors[cell])) for name in unknown)
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
        if backend in self._offers.backends:
            offer = self._offers.backends[backend]
            return None if offer.version is not None else ("skipped", offer.reason)
        broken = self._offers.broken_for(backend)
        if broken is not None:
            return "failed", f"plugin {broken.distribution} is broken: {broken.reason}"
        plugin = distribution_of(backend)
        return "skipped", f'"{backend}" is not installed. Install it with: pip install {plugin}'

    def _located(self, refusal: _Refusal | None) -> _Refusal:
        if refusal is None:
            return "ok", ""
        return refusal[0], self._where + refusal[1]

    def _resolve(self, backend: str, asked: tuple[str, ...]) -> Iterator[tuple[str, _Refusal | None]]:
        known = self._offers.devices.get(backend)
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
