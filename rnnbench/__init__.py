"""rnnbench: which recurrent network, in which framework, on this machine, for these sequences."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnbench.results.tidy import load

__version__ = version("rnnbench")
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    # pandas takes most of a second to import; `rnnbench --help` does not need it
    if name == "load":
        from rnnbench.results.tidy import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
