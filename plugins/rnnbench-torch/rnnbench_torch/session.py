"""torch, imported and configured for one device, dtype and number of threads."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from rnnbench.cells.at_once import check_recurrent
from rnnbench.cells.decoding import check_decoder
from rnnbench.cells.handling import refuse_unknown
from rnnbench.cells.scanning import check_affine
from rnnbench.contracts import Cell, Network, NetworkSpec, Parameters, Settings, TrainingSpec
from rnnbench.errors import Unavailable, Unsupported, nearest
from rnnbench_torch.layout import NATIVE, NO_NATIVE

try:
    import torch
except (ImportError, OSError) as error:
    raise Unavailable(f"torch cannot be imported: {error}. Install it with: pip install torch") from error

from rnnbench_torch.compiled import Compiler, check_compiler
from rnnbench_torch.native import NativeModel
from rnnbench_torch.network import Model, TorchNetwork, synchronize
from rnnbench_torch.portable import PortableModel

PRECISIONS = (
    "cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.conv", "mkldnn.matmul", "mkldnn.rnn",
)  # fmt: skip
"""Below torch.backends: everything that may compute float32 with fewer bits."""

DTYPES = {"float32": torch.float32, "float64": torch.float64}
HANDLED = frozenset(
    {
        "layers", "bidirectional", "vocab", "lengths", "window", "projection", "residual", "norm", "dropout",
        "dropout_kind",
    }
)  # fmt: skip
"""Of a network's structure, what ``native`` follows."""


def open_session(settings: Settings, cells: Mapping[str, Cell]) -> TorchSession:
    """Configure the whole process. Raises ``Unavailable`` for a device that is not here."""
    names = list_devices()
    if settings.device not in names:
        raise Unavailable(
            f'torch {torch.__version__} has no device "{settings.device}" here. It has: {", ".join(names)}'
        )
    _set_threads(settings.threads)
    _set_full_precision()
    # the first optimiser of a process imports torch's compiler, seconds that belong to the import
    torch.optim.SGD([torch.zeros(1)], lr=1.0)
    return TorchSession(settings, cells)


def list_devices() -> tuple[str, ...]:
    """ "cpu", then "cuda" (and "cuda:0", "cuda:1", ... where there are several) and "mps"."""
    names = ["cpu"]
    if torch.cuda.is_available():
        names.append("cuda")
        if torch.cuda.device_count() > 1:
            names.extend(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    if torch.backends.mps.is_available():
        names.append("mps")
    return tuple(names)


class TorchSession:
    """See ``rnnbench.contracts.Session``."""

    def __init__(self, settings: Settings, cells: Mapping[str, Cell]) -> None:
        self._settings = settings
        self._cells = cells
        self._device = torch.device(settings.device)

    def devices(self) -> tuple[str, ...]:
        """What torch can use here."""
        return list_devices()

    def versions(self) -> dict[str, str]:
        """torch and the libraries it was built with."""
        build = torch.__config__.show()
        found = {
            "torch": torch.__version__,
            "oneDNN": _search(r"MKL-DNN v([\w.]+)", build),
            "MKL": _search(r"Math Kernel Library Version ([\w.]+)", build),
            "BLAS": _search(r"BLAS_INFO=(\w+)", build),
        }
        if self._device.type == "cuda":
            found["CUDA"] = str(torch.version.cuda or torch.version.hip)
            found["cuDNN"] = str(_backend("cudnn").version())
        return {name: value for name, value in found.items() if value}

    def environment(self) -> dict[str, str]:
        """What holds now, read back from torch."""
        onednn, cudnn = _backend("mkldnn"), _backend("cudnn")
        held = {
            "threads": str(torch.get_num_threads()),
            "interop_threads": str(torch.get_num_interop_threads()),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "onednn": str(onednn.is_available() and onednn.enabled),
            **{f"{name}.fp32_precision": _backend(name).fp32_precision for name in PRECISIONS},
        }
        if self._device.type == "cuda":
            held["gpu"] = torch.cuda.get_device_name(self._device)
            held["cudnn"] = str(cudnn.is_available() and cudnn.enabled)
            held["cudnn_benchmark"] = str(cudnn.benchmark)
            held["cublas_workspace"] = os.environ.get("CUBLAS_WORKSPACE_CONFIG", "default")
        return held

    def product(self, size: int) -> Callable[[], None]:
        """See Session."""
        options: Any = {"dtype": DTYPES[self._settings.dtype], "device": self._device}
        a, b = (torch.empty(size, size, **options).uniform_(-1, 1) for _ in range(2))
        c = torch.empty_like(a)

        def multiply() -> None:
            torch.mm(a, b, out=c)
            synchronize(self._device)

        return multiply

    def build(
        self, spec: NetworkSpec, parameters: Parameters, training: TrainingSpec, implementation: str
    ) -> Network:
        """Raises ``Unsupported`` for what torch.nn has not, and for a name that is not of this backend."""
        if spec.cell not in self._cells:
            raise Unsupported(f'no cell "{spec.cell}". {nearest(spec.cell, self._cells)}')
        cell = self._cells[spec.cell]
        dtype = DTYPES[self._settings.dtype]
        if self._device.type == "mps" and dtype == torch.float64:
            raise Unsupported("the mps device has no float64; use dtype float32")
        check_decoder(spec, implementation)
        model: Model
        if implementation == "portable":
            model = PortableModel(cell, spec, parameters, training, dtype, self._device)
        elif implementation == "scan":
            check_affine(cell)
            model = PortableModel(cell, spec, parameters, training, dtype, self._device, scan=True)
        elif implementation == "compiled":
            check_recurrent(cell, "compiled")
            check_compiler(self._device)
            model = PortableModel(cell, spec, parameters, training, dtype, self._device, Compiler())
        elif implementation == "native":
            if spec.cell not in NATIVE:
                reason = NO_NATIVE.get(spec.cell, "torch.nn has no such recurrent module")
                raise Unsupported(f'cell "{spec.cell}" has no native form in torch: {reason}. Use portable.')
            refuse_unknown(spec, HANDLED, by="torch's modules")
            if spec.window is not None and (spec.lengths or spec.bidirectional != "none"):
                raise Unsupported(
                    "torch.nn truncates no gradient (window) of packed sequences or of a backward direction. "
                    "Use portable."
                )
            model = NativeModel(NATIVE[spec.cell], cell, spec, parameters, training, dtype, self._device)
        else:
            raise Unsupported(
                f'backend torch has no implementation "{implementation}". '
                "Allowed: native, portable, compiled, scan."
            )
        return TorchNetwork(model, spec, training, self._device)


def _set_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != threads:
        # allowed only before the first parallel work of a process; environment() tells what holds
        with contextlib.suppress(RuntimeError):
            torch.set_num_interop_threads(threads)


def _set_full_precision() -> None:
    # TF32 is off by default for products, and on for cuDNN's recurrent layers
    for name in PRECISIONS:
        _backend(name).fp32_precision = "ieee"


def _backend(name: str) -> Any:
    return attrgetter(name)(torch.backends)


def _search(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""
