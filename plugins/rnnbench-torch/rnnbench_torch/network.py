"""A built network: what the harness calls, around a model that knows its layout and its kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from rnnbench.contracts import Batch, NetworkSpec, TrainingSpec
from rnnbench.errors import RequestError
from rnnbench_torch.compiled import pay_once, read_compile_times
from rnnbench_torch.optimizer import make_update


class Model(Protocol):
    """The function that a network computes, its parameters in whatever layout suits its kernels."""

    @property
    def path(self) -> str:
        """As in Network."""
        ...

    @property
    def compilations(self) -> int:
        """As in Network."""
        ...

    @property
    def compiled(self) -> bool:
        """Whether its steps are compiled, before anything has been too."""
        ...

    @property
    def leaves(self) -> Sequence[Tensor]:
        """What is trained."""
        ...

    def put(self, batch: Batch) -> Any:
        """Host -> device."""
        ...

    def outputs(self, data: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Batch-major outputs and the final state, called without autograd."""
        ...

    @property
    def step_path(self) -> str:
        """As in Network."""
        ...

    def put_steps(self, batch: Batch) -> tuple[Sequence[Tensor], Any]:
        """As in Network."""
        ...

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """As in Network, called without autograd."""
        ...

    def loss(self, data: Any) -> tuple[Tensor, Mapping[str, Tensor]]:
        """A scalar, called with autograd, and the running statistics after the batch by canonical name."""
        ...

    def keep(self, running: Mapping[str, Tensor]) -> None:
        """Write running statistics into their leaves, called without autograd."""
        ...

    def zero_frozen(self) -> None:
        """Zero the part of the leaves' ``.grad`` that belongs to no canonical parameter."""
        ...

    def canonical(self, values: Sequence[Tensor]) -> dict[str, Tensor]:
        """Values in the order and layout of ``leaves`` (or gradients) -> by canonical name and shape."""
        ...


class TorchNetwork:
    """See ``rnnbench.contracts.Network``."""

    def __init__(self, model: Model, spec: NetworkSpec, training: TrainingSpec, device: torch.device) -> None:
        self._model = model
        self._leaves = list(model.leaves)
        self._lengths = spec.lengths
        self._device = device
        self._update = make_update(self._leaves, training)
        if model.compiled:
            pay_once(device)

    @property
    def path(self) -> str:
        """Found out by watching one forward pass."""
        return self._model.path

    def put(self, batch: Batch) -> Any:
        """Raises RequestError where the batch has lengths and the spec has not, or the reverse."""
        if (batch.lengths is not None) != self._lengths:
            given, built = ("no", "with") if self._lengths else ("", "without")
            raise RequestError(f"the batch has {given} lengths, but the network was built {built} them")
        return self._model.put(batch)

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """See Network."""
        # not inference_mode, which is no faster here and hides from kernel.py what runs
        with torch.no_grad():
            return self._model.outputs(batch)

    def gradients(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """See Network."""
        loss, _ = self._model.loss(batch)
        gradients = torch.autograd.grad(loss, self._leaves, materialize_grads=True)
        return loss.detach(), self._model.canonical(gradients)

    def train_step(self, batch: Any) -> Tensor:
        """See Network."""
        for leaf in self._leaves:
            leaf.grad = None
        loss, running = self._model.loss(batch)
        # backward() and not grad(): it gives .grad the layout of its leaf, which fused kernels rely on
        torch.autograd.backward(loss)
        self._model.zero_frozen()
        self._update()
        if running:
            with torch.no_grad():
                self._model.keep(running)
        return loss.detach()

    @property
    def step_path(self) -> str:
        """See Network."""
        return self._model.step_path

    def put_steps(self, batch: Batch) -> tuple[Sequence[Tensor], Any]:
        """See Network."""
        return self._model.put_steps(batch)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """See Network."""
        with torch.no_grad():
            return self._model.step(x, state)

    def sync(self, value: Any) -> None:
        """See Network."""
        synchronize(self._device)

    def fetch(self, value: Any) -> Any:
        """See Network."""
        if isinstance(value, Tensor):
            return value.detach().cpu().numpy()
        if isinstance(value, dict):
            return {name: self.fetch(item) for name, item in value.items()}
        return tuple(self.fetch(item) for item in value)

    def parameters(self) -> dict[str, np.ndarray]:
        """Copies: later updates, which are in place, do not reach them."""
        values = self._model.canonical([leaf.detach() for leaf in self._leaves])
        return {name: np.array(value.cpu().numpy()) for name, value in values.items()}

    def compilations(self) -> int:
        """Graphs that were compiled; eager torch has none."""
        return self._model.compilations

    def compile_times(self) -> Mapping[str, float]:
        """What dynamo has clocked of all that this process compiled; nothing for eager torch."""
        return read_compile_times() if self._model.compiled else {}

    def memory(self) -> int | None:
        """CUDA's allocator keeps a peak; the one of MPS does not, and shares the host's memory anyway."""
        if self._device.type != "cuda":
            return None
        peak = torch.cuda.max_memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        return peak


def synchronize(device: torch.device) -> None:
    """Wait for a device; on the CPU nothing is pending."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def place_dropout(batch: Batch, dtype: torch.dtype, device: torch.device) -> dict[str, Tensor] | None:
    """The batch's masks with time first, (T,B,F) or (1,B,F)."""
    if batch.dropout is None:
        return None
    return {name: tensor(mask, dtype, device, swap=True) for name, mask in batch.dropout.items()}


def tensor(values: np.ndarray, dtype: torch.dtype, device: torch.device, *, swap: bool = False) -> Tensor:
    """A contiguous copy on the device; ``swap`` exchanges the first two axes on the way."""
    host = np.swapaxes(values, 0, 1) if swap else values
    return torch.from_numpy(np.array(host, order="C")).to(device=device, dtype=dtype)
