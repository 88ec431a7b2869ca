"""rnnbench: which recurrent network, in which framework, on this machine, for these sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnbench.notebook import load

    __version__: str

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    # pandas takes most of a second to import, and metadata a tenth; `rnnbench --help` needs neither
    if name == "load":
        from rnnbench.notebook import load

        return load
    if name == "__version__":
        from importlib.metadata import version

        return version("rnnbench")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
