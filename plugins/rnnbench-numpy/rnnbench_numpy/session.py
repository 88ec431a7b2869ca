"""NumPy with its BLAS held to the threads of the case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from rnnbench.cells.decoding import check_decoder
from rnnbench.cells.handling import refuse_unknown
from rnnbench.cells.scanning import check_affine
from rnnbench.contracts import Cell, Network, NetworkSpec, Parameters, Settings, TrainingSpec
from rnnbench.errors import Unsupported
from rnnbench_numpy.native.kernels import kernel_of
from rnnbench_numpy.native.network import NativeNetwork
from rnnbench_numpy.portable import PortableNetwork

DEVICES = ("cpu",)
IMPLEMENTATIONS = ("native", "portable", "scan")
HANDLED = frozenset(
    {
        "layers", "bidirectional", "vocab", "lengths", "projection", "residual", "norm", "dropout",
        "dropout_kind",
    }
)  # fmt: skip
"""Of a network's structure, what gradients derived by hand follow: they flow back over all steps."""


class NumpySession:
    """See ``rnnbench.contracts.Session``."""

    def __init__(self, settings: Settings, cells: Mapping[str, Cell]) -> None:
        self._dtype = np.dtype(settings.dtype)
        self._cells = dict(cells)
        threadpool_limits(limits=settings.threads, user_api="blas")

    def devices(self) -> tuple[str, ...]:
        """The CPU."""
        return DEVICES

    def versions(self) -> dict[str, str]:
        """NumPy and its BLAS."""
        blas = _blas()
        return {"numpy": np.__version__} | ({str(blas["internal_api"]): str(blas["version"])} if blas else {})

    def environment(self) -> dict[str, str]:
        """Threads of BLAS as it reports them, and the processor that it chose its kernels for."""
        blas = _blas()
        if blas is None:
            return {"blas_threads": "not limited: threadpoolctl does not know this BLAS"}
        return {
            "blas_threads": str(blas["num_threads"]),
            "blas_architecture": str(blas.get("architecture", "unknown")),
        }

    def product(self, size: int) -> Callable[[], None]:
        """See Session."""
        a, b = np.random.default_rng(0).uniform(-1, 1, (2, size, size)).astype(self._dtype)
        c = np.empty_like(a)

        def multiply() -> None:
            np.dot(a, b, out=c)

        return multiply

    def build(
        self, spec: NetworkSpec, parameters: Parameters, training: TrainingSpec, implementation: str
    ) -> Network:
        """Raises Unsupported for a name that is not ours, or a cell without a derivation by hand."""
        if implementation not in IMPLEMENTATIONS:
            raise Unsupported(
                f'numpy has no implementation "{implementation}". It has: {", ".join(IMPLEMENTATIONS)}.'
            )
        check_decoder(spec, implementation)
        cell = self._cells[spec.cell]
        if implementation == "portable":
            return PortableNetwork(cell, spec, parameters, training, self._dtype)
        if implementation == "scan":
            check_affine(cell)
            return PortableNetwork(cell, spec, parameters, training, self._dtype, scan=True)
        refuse_unknown(spec, HANDLED, by="gradients derived by hand")
        kernel = kernel_of(cell)
        if kernel is None:
            raise Unsupported(
                f'the backward pass of cell "{cell.name}" has not been derived by hand; use "portable".'
            )
        return NativeNetwork(cell, kernel, spec, parameters, training, self._dtype)


def _blas() -> dict[str, object] | None:
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    # SciPy's wheels bring another one, and the order of what is loaded is nobody's promise
    own = [pool for pool in pools if _is_of_numpy(Path(str(pool["filepath"])))]
    return next(iter(own or pools), None)


def _is_of_numpy(file: Path) -> bool:
    # numpy.libs/ on Linux and Windows, numpy/.dylibs/ on macOS; a BLAS of the system is in neither
    return any(folder.name.startswith("numpy") for folder in list(file.parents)[:2])
