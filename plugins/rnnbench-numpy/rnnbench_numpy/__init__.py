"""The NumPy backend: what plain arrays and one BLAS can do."""

from __future__ import annotations

from collections.abc import Sequence

from rnnbench.contracts import Backend
from rnnbench.hookspecs import hookimpl

RNNBENCH_API = 1


@hookimpl
def rnnbench_backends() -> Sequence[Backend]:
    """One backend, "numpy"."""
    from rnnbench_numpy.backend import NumpyBackend

    return (NumpyBackend(),)
