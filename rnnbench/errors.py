"""The shape of every message that a person reads: where, what was given, what is allowed, what to do.

This module words errors; it never prints and never exits (``cli`` does).
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class RnnbenchError(Exception):
    """Anything that rnnbench reports without a traceback."""


class RequestError(RnnbenchError):
    """The request is wrong: a suite, a command line, a folder. Exit status 2; nothing was written."""

    def __init__(self, message: str, *, where: str = "") -> None:
        """``where`` is a file, ``file:line``, ``file:line: dotted.key`` or a command-line option."""
        self.where = where
        self.message = message
        super().__init__(f"{where}: {message}" if where else message)


class PluginError(RnnbenchError):
    """A plugin breaks its contract, or two plugins claim one name."""


class Unsupported(RnnbenchError):
    """The backend cannot run this network; the case ends as ``unsupported`` with this reason."""


class Unavailable(RnnbenchError):
    """Something is not here (a package, a device, a data set); the case ends as ``skipped``."""


def nearest(given: object, allowed: Iterable[str]) -> str:
    """End of an error message: the nearest allowed name, or all of them where none is near.

    >>> nearest("tensorflwo", ["torch", "tensorflow"])
    'Did you mean "tensorflow"?'
    >>> nearest("zzz", ["b", "a"])
    'Allowed: a, b.'
    """
    names = sorted(allowed)
    matches = get_close_matches(str(given), names, n=1, cutoff=0.6)
    if matches:
        return f'Did you mean "{matches[0]}"?'
    return f"Allowed: {', '.join(names)}." if names else "None is available."
