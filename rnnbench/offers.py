"""What an environment has: its backends, whether each is installed, and the implementations of every cell.

Plain values, so that another interpreter can say it on a pipe: a plan needs this of every environment,
and the parent can import the packages of its own alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rnnbench.errors import PluginError
from rnnbench.plugins import BrokenPlugin, Plugins, availability, distribution_of


@dataclass(frozen=True, slots=True)
class Offer:
    """One backend. ``version`` of its framework; None: it is not installed, for ``reason``.

    ``implementations``: cell -> names, the preferred one first; ``errors``: cell -> why it cannot say.
    """

    version: str | None
    reason: str = ""
    implementations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Offers:
    """All of an environment. ``devices``: backend -> what it reports, of those that were asked.

    ``facts`` are of the environment as a whole: the versions of rnnbench and Python.
    """

    backends: Mapping[str, Offer] = field(default_factory=dict)
    broken: tuple[BrokenPlugin, ...] = ()
    devices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def broken_for(self, backend: str) -> BrokenPlugin | None:
        """The broken plugin that would have given this backend, as far as its name tells."""
        for plugin in self.broken:
            if backend == plugin.name or plugin.distribution == distribution_of(backend):
                return plugin
        return None


def offers_of(plugins: Plugins, devices: Mapping[str, tuple[str, ...]] | None = None) -> Offers:
    """What the plugins at hand give; imports no framework."""
    backends = {name: _offer(plugins, name) for name in plugins.backends}
    return Offers(backends, plugins.broken, devices or {})


def read_offers(
    backends: Mapping[str, Mapping[str, Any]], broken: Sequence[Mapping[str, Any]], **facts: Any
) -> Offers:
    """The offers of another interpreter, from its message."""
    return Offers(
        {
            name: Offer(
                offer["version"],
                offer["reason"],
                {cell: tuple(names) for cell, names in offer["implementations"].items()},
                offer["errors"],
            )
            for name, offer in backends.items()
        },
        tuple(BrokenPlugin(**plugin) for plugin in broken),
        facts=facts,
    )


def _offer(plugins: Plugins, name: str) -> Offer:
    implementations: dict[str, tuple[str, ...]] = {}
    errors: dict[str, str] = {}
    for cell in plugins.cells:
        try:
            implementations[cell] = plugins.implementations_of(name, cell)
        except PluginError as error:
            errors[cell] = str(error)
    return Offer(*availability(plugins.backends[name]), implementations, errors)
