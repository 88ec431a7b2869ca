"""A network under jit: forward, gradients and the training step, one compiled function each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from rnnbench.cells.network import Stack, stack_layers
from rnnbench.cells.ops import Array
from rnnbench.cells.placing import DeviceBatch, batch_loss, batch_outputs, place
from rnnbench.cells.streaming import network_step, split_steps
from rnnbench.contracts import Batch, Cell, NetworkSpec, Parameters, TrainingSpec
from rnnbench.numpy_ops import NumpyOps
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
        self._trained = jax.tree.map(self._place, (start, slots, np.zeros((), dtype)))

        def forward(parameters: Any, batch: Any) -> tuple[Array, Any]:
            y, final = batch_outputs(OPS, cell, spec, parameters, batch, stack)
            return (OPS.swap(y, 0, 1) if spec.readout == "each" else y), final

        def loss(parameters: Any, batch: Any) -> tuple[Array, dict[str, Array]]:
            return batch_loss(OPS, cell, spec, training, parameters, batch, stack)

        differentiate = jax.value_and_grad(loss, has_aux=True)

        def gradients(parameters: Any, batch: Any) -> tuple[Array, Any]:
            (value, _), found = differentiate(parameters, batch)
            return value, found

        def step(trained: Any, batch: Any) -> tuple[Any, Array]:
            parameters, slots, count = trained
            (before, running), found = differentiate(parameters, batch)
            count = count + 1.0
            updated, slots = update(OPS, training, parameters, found, slots, count)
            return (updated | running, slots, count), before

        self._forward: Any = jax.jit(forward)
        self._gradients: Any = jax.jit(gradients)
        self._step: Any = jax.jit(step, donate_argnums=0)
        self._one_step: Any = jax.jit(partial(network_step, OPS, cell, spec))
        self._last: tuple[Any, tuple[Any, ...]] | None = None

    def put(self, batch: Batch) -> tuple[DeviceBatch, DeviceBatch]:
        """Time-major copies on the device; numbers in the network's dtype, tokens and classes as int32.

        Once without and once with dropout, for which ``forward``, which has none, must not be traced again.
        """
        data = place(self._spec, batch, self._place)
        return data._replace(dropout=None), data

    def forward(self, batch: Any) -> tuple[Any, Any]:
        """See Network."""
        self._last = self._forward, (self._trained[0], batch[0])
        outputs: tuple[Any, Any] = self._forward(self._trained[0], batch[0])
        return outputs

    def gradients(self, batch: Any) -> tuple[Any, Any]:
        """See Network."""
        self._last = self._gradients, (self._trained[0], batch[1])
        gradients: tuple[Any, Any] = self._gradients(self._trained[0], batch[1])
        return gradients

    def train_step(self, batch: Any) -> Any:
        """See Network. The old parameters' memory is given to the new ones."""
        self._last = self._step, (self._trained, batch[1])
        self._trained, loss = self._step(self._trained, batch[1])
        return loss

    @property
    def step_path(self) -> str:
        """No kernel of whole sequences gains anything over one step."""
        return "jitted step"

    def put_steps(self, batch: Batch) -> tuple[Sequence[Any], Any]:
        """See Network."""
        inputs, state = split_steps(self._cell, self._spec, batch)
        xs = [self._place(x, integers=self._spec.vocab is not None) for x in inputs]
        return xs, {name: self._place(value) for name, value in state.items()}

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

    def _place(self, value: np.ndarray, integers: bool = False) -> Any:
        # a copy of our own: on the CPU JAX may otherwise keep reading the caller's memory
        host = np.array(value, dtype="int32" if integers else self._dtype, order="C")
        return jax.device_put(host, self._device)


def planned_bytes(jitted: Any, arguments: tuple[Any, ...]) -> int:
    """Arguments, results and scratch of a compiled function; what it may reuse counts once."""
    shape: Any = jax.ShapeDtypeStruct
    shapes = jax.tree.map(lambda value: shape(value.shape, value.dtype), arguments)
    plan = jitted.lower(*shapes).compile().memory_analysis()
    parts = (plan.argument_size_in_bytes, plan.output_size_in_bytes, plan.temp_size_in_bytes)
    return int(sum(parts) - plan.alias_size_in_bytes)
