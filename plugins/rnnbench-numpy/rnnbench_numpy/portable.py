"""The cell's own step in a Python loop, or its affine states by a scan; differentiated by autograd's tape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from autograd import value_and_grad

from rnnbench.cells.composing import running_of
from rnnbench.cells.decoding import target_of
from rnnbench.cells.network import network_loss, network_outputs, stack_layers, unroll
from rnnbench.cells.penalty import l2_penalty
from rnnbench.cells.scanning import scan_layer
from rnnbench.cells.streaming import network_step, split_steps
from rnnbench.contracts import Batch, Cell, NetworkSpec, Parameters, TrainingSpec
from rnnbench.numpy_ops import NumpyOps
from rnnbench.reference import time_major
from rnnbench.training import start_slots, update
from rnnbench_numpy.fetching import copy_values

OPS = NumpyOps()
# a network that diverges says so by its loss
quietly = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True, slots=True, eq=False)
class TimeMajorBatch:
    """inputs (T,B,I) or (T,B), targets (B,...) or (T,B,...), dropout (T,B,F), in the network's dtype."""

    inputs: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray | None
    state: Mapping[str, np.ndarray] | None
    dropout: Mapping[str, np.ndarray] | None
    target_lengths: np.ndarray | None
    decoder_inputs: np.ndarray | None


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

    def put(self, batch: Batch) -> TimeMajorBatch:
        """Time first, in this network's dtype, contiguous."""
        data = time_major(self._spec, batch)
        state, dropout = (
            None if given is None else {name: self._own(value) for name, value in given.items()}
            for given in (data.state, data.dropout)
        )
        return TimeMajorBatch(
            self._own(data.inputs),
            self._own(data.targets),
            data.lengths,
            state,
            dropout,
            data.target_lengths,
            data.decoder_inputs,
        )

    @quietly
    def forward(self, batch: TimeMajorBatch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """See Network."""
        outputs, state = self._outputs(self._parameters, batch)
        return (np.swapaxes(outputs, 0, 1) if self._spec.readout == "each" else outputs), state

    @quietly
    def gradients(self, batch: TimeMajorBatch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """See Network."""
        return self._differentiate(batch)[:2]

    @quietly
    def train_step(self, batch: TimeMajorBatch) -> np.ndarray:
        """See Network."""
        loss, gradients, running = self._differentiate(batch)
        self._updates += 1
        step = self._dtype.type(self._updates)
        updated, self._slots = update(OPS, self._training, self._parameters, gradients, self._slots, step)
        self._parameters = updated | running
        return loss

    def _differentiate(
        self, batch: TimeMajorBatch
    ) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Loss, gradients, and the running statistics after the batch."""
        running: dict[str, np.ndarray] = {}

        def loss_of(parameters: Mapping[str, np.ndarray]) -> Any:
            outputs, final = self._outputs(parameters, batch, training=True)
            running.update(running_of(final))
            lengths = batch.lengths if batch.target_lengths is None else batch.target_lengths
            loss = network_loss(OPS, self._spec, outputs, batch.targets, lengths)
            if self._training.l2:
                loss = loss + l2_penalty(OPS, self._training, parameters, self._cell)
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
        return list(self._own(inputs)), {name: np.array(h, self._dtype) for name, h in state.items()}

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

    def _outputs(
        self,
        parameters: Mapping[str, np.ndarray],
        batch: TimeMajorBatch,
        *,
        training: bool = False,
    ) -> tuple[Any, Any]:
        return network_outputs(
            OPS,
            self._cell,
            self._spec,
            parameters,
            batch.inputs,
            batch.lengths,
            batch.state,
            stack=self._stack,
            dropout=batch.dropout if training else None,
            target=target_of(batch.targets, batch.target_lengths, batch.decoder_inputs),
            training=training,
        )

    def _own(self, values: np.ndarray) -> np.ndarray:
        dtype = values.dtype if np.issubdtype(values.dtype, np.integer) else self._dtype
        return np.array(values, dtype, order="C")
