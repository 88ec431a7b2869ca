"""The cell's own step in a Python loop, or its affine states by a scan; differentiated by autograd's tape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from autograd import value_and_grad

from rnnbench.cells.network import stack_layers, unroll
from rnnbench.cells.placing import DeviceBatch, batch_loss, batch_outputs, place
from rnnbench.cells.scanning import scan_layer
from rnnbench.cells.streaming import network_step, split_steps
from rnnbench.contracts import Batch, Cell, NetworkSpec, Parameters, TrainingSpec
from rnnbench.numpy_ops import NumpyOps
from rnnbench.training import start_slots, update
from rnnbench_numpy.fetching import copy_values

OPS = NumpyOps()
# a network that diverges says so by its loss
quietly = np.errstate(over="ignore", invalid="ignore")


class PortableNetwork:
    """See ``rnnbench.contracts.Network``. Everything it returns is freshly allocated."""

    def __init__(
        self,
        cell: Cell,
        spec: NetworkSpec,
        parameters: Parameters,
        training: TrainingSpec,
        dtype: Any,
        *,
        scan: bool = False,
    ) -> None:
        self._scan = scan
        self._stack = partial(stack_layers, layer=scan_layer if scan else unroll)
        self._cell, self._spec, self._training = cell, spec, training
        self._dtype = np.dtype(dtype)
        self._parameters = {name: np.array(value, self._dtype) for name, value in parameters.items()}
        self._slots = start_slots(OPS, training, self._parameters)
        self._updates = 0

    @property
    def path(self) -> str:
        """NumPy's scan is a loop too, but over the states alone: nothing of the cell is inside."""
        return "affine states one after the other, in place" if self._scan else "autograd tape"

    def put(self, batch: Batch) -> DeviceBatch:
        """Time first, in this network's dtype, contiguous."""
        return place(self._spec, batch, self._own)

    @quietly
    def forward(self, batch: DeviceBatch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """See Network."""
        outputs, state = batch_outputs(OPS, self._cell, self._spec, self._parameters, batch, self._stack)
        return (np.swapaxes(outputs, 0, 1) if self._spec.readout == "each" else outputs), state

    @quietly
    def gradients(self, batch: DeviceBatch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """See Network."""
        return self._differentiate(batch)[:2]

    @quietly
    def train_step(self, batch: DeviceBatch) -> np.ndarray:
        """See Network."""
        loss, gradients, running = self._differentiate(batch)
        self._updates += 1
        step = self._dtype.type(self._updates)
        updated, self._slots = update(OPS, self._training, self._parameters, gradients, self._slots, step)
        self._parameters = updated | running
        return loss

    def _differentiate(
        self, batch: DeviceBatch
    ) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Loss, gradients, and the running statistics after the batch."""
        running: dict[str, np.ndarray] = {}

        def loss_of(parameters: Mapping[str, np.ndarray]) -> Any:
            loss, found = batch_loss(
                OPS, self._cell, self._spec, self._training, parameters, batch, self._stack
            )
            running.update(found)
            return loss

        loss, gradients = value_and_grad(loss_of)(self._parameters)
        return loss, gradients, running

    @property
    def step_path(self) -> str:
        """Nothing is recorded without gradients."""
        return "the cell's step"

    def put_steps(self, batch: Batch) -> tuple[Sequence[np.ndarray], dict[str, np.ndarray]]:
        """See Network."""
        inputs, state = split_steps(self._cell, self._spec, batch)
        xs = list(self._own(inputs, integers=self._spec.vocab is not None))
        return xs, {name: self._own(value, integers=False) for name, value in state.items()}

    @quietly
    def step(self, x: np.ndarray, state: Mapping[str, np.ndarray]) -> tuple[Any, dict[str, Any]]:
        """See Network."""
        return network_step(OPS, self._cell, self._spec, self._parameters, x, state)

    def sync(self, value: Any) -> None:
        """NumPy has computed when it returns."""

    def fetch(self, value: Any) -> Any:
        """Copies."""
        return copy_values(value)

    def parameters(self) -> dict[str, np.ndarray]:
        """Copies."""
        return {name: value.copy() for name, value in self._parameters.items()}

    def compilations(self) -> int:
        """NumPy does not compile."""
        return 0

    def compile_times(self) -> Mapping[str, float]:
        """Nothing is compiled."""
        return {}

    def memory(self) -> int | None:
        """The device is the host."""
        return None

    def _own(self, values: np.ndarray, integers: bool) -> np.ndarray:
        return np.array(values, np.int32 if integers else self._dtype, order="C")
