"""Keras on torch: eager, as ``fit`` and ``predict`` have it, whose ``jit_compile="auto"`` means no there."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rnnbench.cells.ops import Array
from rnnbench.contracts import Parameters, Settings
from rnnbench.errors import Unavailable
from rnnbench.training import start_slots, update
from rnnbench_keras.forms import a_step
from rnnbench_keras.layers import OPS, KerasStack

PRECISIONS = (
    "cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.conv", "mkldnn.matmul", "mkldnn.rnn",
)  # fmt: skip
"""Below torch.backends: everything that may compute float32 with fewer bits."""

FUSED = {"aten::_cudnn_rnn": "cuDNN", "aten::mkldnn_rnn_layer": "oneDNN", "aten::miopen_rnn": "MIOpen"}
"""Operators that do all time steps of a layer in one call."""

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm")


def open_framework(name: str, settings: Settings) -> TorchFramework:
    """Configure torch. Raises Unavailable for an absent device."""
    present = list_devices()
    if settings.device not in present:
        raise Unavailable(f'backend "{name}": no device "{settings.device}". Here is: {", ".join(present)}.')
    torch.set_num_threads(settings.threads)
    if torch.get_num_interop_threads() != settings.threads:
        # allowed only before the first parallel work of a process; environment() tells what holds
        with contextlib.suppress(RuntimeError):
            torch.set_num_interop_threads(settings.threads)
    # TF32 is off by default for products, and on for cuDNN's recurrent layers
    for part in PRECISIONS:
        _backend(part).fp32_precision = "ieee"
    return TorchFramework(torch.device(settings.device), present)


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


@dataclass(frozen=True, slots=True)
class TorchFramework:
    """See ``rnnbench_keras.network.Framework``."""

    device: torch.device
    present: tuple[str, ...]

    def devices(self) -> tuple[str, ...]:
        """See Session."""
        return self.present

    def versions(self) -> dict[str, str]:
        """torch and, on a GPU, what it was built with."""
        found = {"torch": str(torch.__version__)}
        if self.device.type == "cuda":
            found["CUDA"] = str(torch.version.cuda or torch.version.hip)
            found["cuDNN"] = str(_backend("cudnn").version())
        return found

    def environment(self) -> dict[str, str]:
        """What holds now, read back from torch."""
        return {
            "threads": str(torch.get_num_threads()),
            "interop_threads": str(torch.get_num_interop_threads()),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            **{f"{name}.fp32_precision": _backend(name).fp32_precision for name in PRECISIONS},
        }

    def multiply(self, a: Array, b: Array) -> None:
        """See Framework."""
        torch.mm(a, b)
        self.synchronize()

    def place(self, value: np.ndarray) -> Array:
        """See Runner."""
        return torch.from_numpy(value).to(self.device)

    def turn(self, x: Array, lengths: Array | None) -> Array:
        """Its padding comes first then: with a mask Keras takes no fused kernel here anyway."""
        return x.flip(1)

    def run(self, stack: KerasStack, parameters: Parameters) -> TorchRunner:
        """See Framework."""
        return TorchRunner(self, stack, parameters)

    def synchronize(self) -> None:
        """Wait for the device; on the CPU nothing is pending."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


class TorchRunner:
    """See ``rnnbench_keras.network.Runner``."""

    mode = "eager"

    def __init__(self, framework: TorchFramework, stack: KerasStack, parameters: Parameters) -> None:
        self._framework, self._stack = framework, stack
        self.place = framework.place
        self._parameters = {
            name: framework.place(np.array(value)).requires_grad_() for name, value in parameters.items()
        }
        self._slots = start_slots(OPS, stack.training, self._parameters)
        self._count = framework.place(np.zeros((), next(iter(parameters.values())).dtype))

    def forward(self, data: Any) -> tuple[Array, Any]:
        """See Runner."""
        with torch.no_grad():
            return self._stack.outputs(self._parameters, data)

    def gradients(self, data: Any) -> tuple[Array, Any]:
        """See Runner."""
        return self._differentiate(data)[:2]

    def train_step(self, data: Any) -> Array:
        """See Runner."""
        loss, gradients, running = self._differentiate(data)
        with torch.no_grad():
            self._count = self._count + 1
            updated, self._slots = update(
                OPS, self._stack.training, self._parameters, gradients, self._slots, self._count
            )
        self._parameters = {name: value.requires_grad_() for name, value in (updated | running).items()}
        return loss

    def _differentiate(self, data: Any) -> tuple[Array, dict[str, Array], dict[str, Array]]:
        """Loss, gradients, and the running statistics after the batch."""
        loss, running = self._stack.loss(self._parameters, data)
        found = torch.autograd.grad(loss, list(self._parameters.values()), materialize_grads=True)
        return loss.detach(), dict(zip(self._parameters, found, strict=True)), running

    def step(self, x: Array, state: Any) -> tuple[Array, Any]:
        """See Runner."""
        with torch.no_grad():
            return self._stack.step(self._parameters, x, state)

    def watch(self, small: Any, longer: Any) -> str:
        """From the operators of two forward passes, of which the second is one step longer."""
        watches = Watch(), Watch()
        for watch, data in zip(watches, (small, longer), strict=True):
            with watch:
                self.forward(data)
        small_seen, longer_seen = (watch.operators for watch in watches)
        seen = name_path(small_seen, longer_seen, layers=len(self._stack.layers))
        return f"{seen}, {self.mode}"

    def trained(self) -> Mapping[str, Array]:
        """See Runner."""
        return {name: value.detach() for name, value in self._parameters.items()}

    def sync(self, value: Any) -> None:
        """See Runner."""
        self._framework.synchronize()

    def compilations(self) -> int:
        """Nothing is compiled."""
        return 0

    def compile_times(self) -> Mapping[str, float]:
        """Nothing is compiled."""
        return {}

    def memory(self) -> int | None:
        """CUDA's allocator keeps a peak; the one of MPS does not, and shares the host's memory anyway."""
        device = self._framework.device
        if device.type != "cuda":
            return None
        peak = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return peak


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators that reach a device, e.g. "aten::mm"."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the name, without its overload, and go on."""
        self.operators[func.name().partition(".")[0]] += 1
        return func(*args, **(kwargs or {}))


def name_path(small: Counter[str], longer: Counter[str], *, layers: int) -> str:
    """Words for the operators of two passes, one a step longer, through so many layers and directions.

    "Python loop over T (1 matrix product a step, 13 operators)", "cuDNN".
    """
    fused = sorted(library for operator, library in FUSED.items() if operator in small)
    added = longer - small
    if not added:
        return " and ".join(fused) or "no loop"
    products = sum(added[operator] for operator in PRODUCTS)
    loop = f"Python loop over T ({a_step(products / layers)}, {added.total() / layers:.0f} operators)"
    return " and ".join([*fused, loop])


def _backend(name: str) -> Any:
    return attrgetter(name)(torch.backends)
