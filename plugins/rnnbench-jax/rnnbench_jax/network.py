"""A network under jit: forward, gradients and the training step, one compiled function each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from rnnbench.cells.composing import running_of
from rnnbench.cells.decoding import target_of
from rnnbench.cells.network import Stack, network_loss, network_outputs, stack_layers
from rnnbench.cells.ops import Array
from rnnbench.cells.penalty import l2_penalty
from rnnbench.cells.streaming import network_step, split_steps
from rnnbench.contracts import Batch, Cell, NetworkSpec, Parameters, TrainingSpec
from rnnbench.numpy_ops import NumpyOps
from rnnbench.reference import time_major
from rnnbench.training import start_slots, update
from rnnbench_jax.clocks import COMPILING, TRACING
from rnnbench_jax.ops import JaxOps

OPS = JaxOps()


class JaxNetwork:
    """Any ``stack`` of recurrent layers with the embedding, head, loss and optimiser of rnnbench.

    An implementation of one's own passes its stack and names its kernel ``path``; see
    ``rnnbench.cells.network.stack_layers`` for what a stack computes. Arrays are of ``dtype``, on
    ``device``.
    """

    def __init__(
        self,
        cell: Cell,
        spec: NetworkSpec,
        parameters: Parameters,
        training: TrainingSpec,
        device: jax.Device,
        dtype: str,
        *,
        stack: Stack = stack_layers,
        path: str = "lax.scan",
    ) -> None:
        self.path = path
        self._cell, self._spec, self._device, self._dtype = cell, spec, device, dtype
        start = {name: np.asarray(value, dtype) for name, value in parameters.items()}
        # on the host, where zeros need no compilation
        slots = start_slots(NumpyOps(), training, start)
        self._trained = jax.tree.map(self._place_own, (start, slots, np.zeros((), dtype)))
        outputs = partial(_outputs, cell, spec, stack)

        def forward(parameters: Any, data: Any) -> tuple[Array, Any]:
            y, final = outputs(parameters, data)
            return (OPS.swap(y, 0, 1) if spec.readout == "each" else y), final

        def loss(parameters: Any, data: Any, dropout: Any) -> tuple[Array, dict[str, Array]]:
            y, final = outputs(parameters, data, dropout, training=True)
            lengths = data["lengths"] if data["target_lengths"] is None else data["target_lengths"]
            loss = network_loss(OPS, spec, y, data["targets"], lengths)
            if training.l2:
                loss = loss + l2_penalty(OPS, training, parameters, cell)
            return loss, running_of(final)

        differentiate = jax.value_and_grad(loss, has_aux=True)

        def gradients(parameters: Any, data: Any, dropout: Any) -> tuple[Array, Any]:
            (value, _), found = differentiate(parameters, data, dropout)
            return value, found

        def step(trained: Any, data: Any, dropout: Any) -> tuple[Any, Array]:
            parameters, slots, count = trained
            (before, running), found = differentiate(parameters, data, dropout)
            count = count + 1.0
            updated, slots = update(OPS, training, parameters, found, slots, count)
            return (updated | running, slots, count), before

        self._forward: Any = jax.jit(forward)
        self._gradients: Any = jax.jit(gradients)
        self._step: Any = jax.jit(step, donate_argnums=0)
        self._one_step: Any = jax.jit(partial(network_step, OPS, cell, spec))
        self._last: tuple[Any, tuple[Any, ...]] | None = None

    def put(self, batch: Batch) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Time-major copies on the device; numbers in the network's dtype, tokens and classes as int32.

        Dropout stands apart: ``forward``, which has none, must not be traced again for it.
        """
        data = time_major(self._spec, batch)
        tokens, classes = self._spec.vocab is not None, self._spec.loss == "cross_entropy"
        state, dropout = (
            None
            if given is None
            else {name: self._place(value, self._dtype) for name, value in given.items()}
            for given in (data.state, data.dropout)
        )
        placed = {
            "inputs": self._place(data.inputs, "int32" if tokens else self._dtype),
            "targets": self._place(data.targets, "int32" if classes else self._dtype),
            "state": state,
            **{
                name: None if whole is None else self._place(whole, "int32")
                for name, whole in (
                    ("lengths", data.lengths),
                    ("target_lengths", data.target_lengths),
                    ("decoder_inputs", data.decoder_inputs),
                )
            },
        }
        return placed, dropout

    def forward(self, batch: Any) -> tuple[Any, Any]:
        """See Network."""
        self._last = self._forward, (self._trained[0], batch[0])
        outputs: tuple[Any, Any] = self._forward(self._trained[0], batch[0])
        return outputs

    def gradients(self, batch: Any) -> tuple[Any, Any]:
        """See Network."""
        self._last = self._gradients, (self._trained[0], *batch)
        gradients: tuple[Any, Any] = self._gradients(self._trained[0], *batch)
        return gradients

    def train_step(self, batch: Any) -> Any:
        """See Network. The old parameters' memory is given to the new ones."""
        self._last = self._step, (self._trained, *batch)
        self._trained, loss = self._step(self._trained, *batch)
        return loss

    @property
    def step_path(self) -> str:
        """No kernel of whole sequences gains anything over one step."""
        return "jitted step"

    def put_steps(self, batch: Batch) -> tuple[Sequence[Any], Any]:
        """See Network."""
        inputs, state = split_steps(self._cell, self._spec, batch)
        dtype = "int32" if self._spec.vocab is not None else self._dtype
        xs = [self._place(x, dtype) for x in inputs]
        return xs, {name: self._place(value, self._dtype) for name, value in state.items()}

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """See Network."""
        self._last = self._one_step, (self._trained[0], x, state)
        after: tuple[Any, Any] = self._one_step(self._trained[0], x, state)
        return after

    def sync(self, value: Any) -> None:
        """See Network. A device runs what it is given in order, so the last value comes last."""
        jax.block_until_ready(value)  # type: ignore[no-untyped-call]

    def fetch(self, value: Any) -> Any:
        """See Network."""
        return jax.tree.map(np.array, value)

    def parameters(self) -> dict[str, np.ndarray]:
        """See Network."""
        return {name: np.array(value) for name, value in self._trained[0].items()}

    def compilations(self) -> int:
        """Entries in the caches of the compiled functions: one for every shape that they have met."""
        functions = (self._forward, self._gradients, self._step, self._one_step)
        return sum(jitted._cache_size() for jitted in functions)

    def compile_times(self) -> Mapping[str, float]:
        """See Network; lowering to XLA's input is part of tracing."""
        return {"trace": TRACING.seconds, "compile": COMPILING.seconds}

    def memory(self) -> int | None:
        """Bytes of the last call, as XLA has planned it; None on the CPU.

        JAX keeps a peak too, but of the whole life of the process: it cannot be reset.
        """
        if self._device.platform == "cpu" or self._last is None:
            return None
        return planned_bytes(*self._last)

    def _place_own(self, value: np.ndarray) -> Any:
        return self._place(value, self._dtype)

    def _place(self, value: np.ndarray, dtype: str) -> Any:
        # a copy of our own: on the CPU JAX may otherwise keep reading the caller's memory
        return jax.device_put(np.array(value, dtype=dtype, order="C"), self._device)


def planned_bytes(jitted: Any, arguments: tuple[Any, ...]) -> int:
    """Arguments, results and scratch of a compiled function; what it may reuse counts once."""
    shape: Any = jax.ShapeDtypeStruct
    shapes = jax.tree.map(lambda value: shape(value.shape, value.dtype), arguments)
    plan = jitted.lower(*shapes).compile().memory_analysis()
    parts = (plan.argument_size_in_bytes, plan.output_size_in_bytes, plan.temp_size_in_bytes)
    return int(sum(parts) - plan.alias_size_in_bytes)


def _outputs(
    cell: Cell,
    spec: NetworkSpec,
    stack: Stack,
    parameters: Any,
    data: Any,
    dropout: Any = None,
    *,
    training: bool = False,
) -> tuple[Array, dict[str, Array]]:
    return network_outputs(
        OPS,
        cell,
        spec,
        parameters,
        data["inputs"],
        data["lengths"],
        data["state"],
        stack=stack,
        dropout=dropout,
        target=target_of(data["targets"], data["target_lengths"], data["decoder_inputs"]),
        training=training,
    )
