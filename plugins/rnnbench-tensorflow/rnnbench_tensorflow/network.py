"""A network on TensorFlow: parameters in variables, a tf.function for each phase, a trace for each shape."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf  # type: ignore[import-untyped]

from rnnbench.cells.composing import running_of
from rnnbench.cells.network import network_loss, state_shapes
from rnnbench.cells.ops import Array
from rnnbench.cells.penalty import l2_penalty
from rnnbench.cells.placing import DeviceBatch, place
from rnnbench.cells.streaming import network_step, split_steps
from rnnbench.contracts import Batch, Cell, NetworkSpec, Parameters, SequenceCell, Settings, TrainingSpec
from rnnbench.training import start_slots, update
from rnnbench_tensorflow.ops import TensorflowOps

Outputs = Callable[..., tuple[Array, dict[str, Array]]]
"""ops, parameters, batch and the keyword training -> outputs, in the inputs' layout, and final states."""


@dataclass(frozen=True, slots=True, eq=False)
class PlacedBatch:
    """Once ``plain``, as ``forward`` has it, and once with dropout; ``shape`` decides which trace fits."""

    shape: tuple[Any, ...]
    plain: DeviceBatch
    whole: DeviceBatch


class TensorflowNetwork:
    """See ``rnnbench.contracts.Network``.

    ``time_major`` says in which layout ``outputs`` takes inputs and returns what has a time axis.
    """

    def __init__(
        self,
        cell: Cell,
        spec: NetworkSpec,
        parameters: Parameters,
        training: TrainingSpec,
        settings: Settings,
        placement: str,
        outputs: Outputs,
        words: str,
        *,
        time_major: bool,
        xla: bool = False,
    ) -> None:
        self._cell, self._spec, self._training, self._placement = cell, spec, training, placement
        self._dtype = np.dtype(settings.dtype)
        self._state_shapes = state_shapes(cell, spec)
        self._outputs, self._words, self._time_major = outputs, words, time_major
        self._ops = TensorflowOps()
        self._kernels: set[str] = set()
        with tf.device(placement):
            self._parameters = {
                name: tf.Variable(np.asarray(value, self._dtype)) for name, value in parameters.items()
            }
            slots = start_slots(self._ops, training, self._parameters)
            self._slots = {
                slot: {name: tf.Variable(value) for name, value in values.items()}
                for slot, values in slots.items()
            }
            self._step = tf.Variable(np.zeros((), self._dtype))
        traced = {
            "forward": self._trace_forward,
            "gradients": self._trace_gradients,
            "train_step": self._trace_train_step,
            "step": self._trace_step,
        }
        self._xla = xla
        self._functions = {
            name: tf.function(function, autograph=False, jit_compile=xla) for name, function in traced.items()
        }
        self._traces: dict[tuple[Any, ...], Any] = {}
        self._trace_s = 0.0

    @property
    def path(self) -> str:
        """The layer and the loop or kernel found in the graph that was traced for it."""
        if isinstance(self._cell, SequenceCell):
            return self._words
        if not self._kernels:
            self._trace_apart()
        return f"{self._words}, {' and '.join(sorted(self._kernels))}"

    def put(self, batch: Batch) -> PlacedBatch:
        """Host -> device: inputs in the layout of ``outputs``, targets time-major."""
        size = len(batch.inputs)
        zeros = {name: np.zeros((size, *shape)) for name, shape in self._state_shapes.items()}
        full = replace(batch, state={**zeros, **(batch.state or {})})
        with tf.device(self._placement):
            whole = place(self._spec, full, self._constant, batch_major=not self._time_major)
        plain = whole._replace(dropout=None)
        absent = tuple(value is None for value in plain)
        return PlacedBatch((batch.inputs.shape, batch.targets.shape, absent), plain, whole)

    def forward(self, batch: Any) -> tuple[Any, Any]:
        """See Network."""
        return self._run("forward", batch)  # type: ignore[no-any-return]

    def gradients(self, batch: Any) -> tuple[Any, Any]:
        """See Network."""
        loss, gradients, _ = self._run("gradients", batch)
        return loss, gradients

    def train_step(self, batch: Any) -> Any:
        """See Network."""
        return self._run("train_step", batch)

    @property
    def step_path(self) -> str:
        """Keras would run a while loop around one step."""
        return f"the cell's step, {'XLA' if self._xla else 'tf.function'}"

    def put_steps(self, batch: Batch) -> tuple[Sequence[Any], Any]:
        """See Network."""
        inputs, state = split_steps(self._cell, self._spec, batch)
        tokens = self._spec.vocab is not None
        with tf.device(self._placement):
            xs = [self._constant(x, integers=tokens) for x in inputs]
            return xs, {name: self._constant(value) for name, value in state.items()}

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """See Network."""
        inputs = {"x": x, "state": state}
        key = ("step", x.shape[0])
        if key not in self._traces:
            self._trace("step", key, inputs)
        return self._traces[key](inputs)  # type: ignore[no-any-return]

    def sync(self, value: Any) -> None:
        """All devices: what was enqueued before is done. On the CPU a call returns when it is done."""
        if not self._placement.startswith("CPU"):
            tf.test.experimental.sync_devices()

    def fetch(self, value: Any) -> Any:
        """See Network."""
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), value)

    def parameters(self) -> dict[str, np.ndarray]:
        """See Network."""
        return {name: variable.numpy() for name, variable in self._parameters.items()}

    def compilations(self) -> int:
        """Traces: each makes a graph of its own for one shape of batch."""
        return len(self._traces)

    def compile_times(self) -> Mapping[str, float]:
        """Tracing alone; XLA compiles inside the first run of a trace, and does not tell for how long."""
        return {"trace": self._trace_s}

    def memory(self) -> int | None:
        """See Network."""
        if self._placement.startswith("CPU"):
            return None
        peak = int(tf.config.experimental.get_memory_info(self._placement)["peak"])
        tf.config.experimental.reset_memory_stats(self._placement)
        return peak

    def _run(self, function: str, batch: PlacedBatch) -> Any:
        data = batch.plain if function == "forward" else batch.whole
        # to find the trace by type, as tf.function does, takes as long as to call it
        key = (function, batch.shape, data.dropout is None)
        if key not in self._traces:
            self._trace(function, key, data)
        return self._traces[key](data)

    def _trace(self, function: str, key: tuple[Any, ...], inputs: Any) -> None:
        start = time.perf_counter()
        self._traces[key] = self._functions[function].get_concrete_function(inputs)
        self._trace_s += time.perf_counter() - start

    def _constant(self, value: np.ndarray, integers: bool = False) -> Any:
        return tf.constant(np.ascontiguousarray(value, np.int32 if integers else self._dtype))

    def _values(self) -> dict[str, Any]:
        return {name: variable.read_value() for name, variable in self._parameters.items()}

    def _trace_forward(self, batch: DeviceBatch) -> tuple[Any, Any]:
        y, final = self._outputs(self._ops, self._values(), batch, training=False)
        if self._time_major and self._spec.readout == "each":
            y = self._ops.swap(y, 0, 1)
        self._note_kernels()
        return y, final

    def _trace_gradients(self, batch: DeviceBatch) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Loss, gradients, and the running statistics after the batch."""
        values = self._values()
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            y, final = self._outputs(self._ops, values, batch, training=True)
            if not self._time_major and self._spec.readout == "each":
                y = self._ops.swap(y, 0, 1)
            loss = network_loss(self._ops, self._spec, y, batch.targets, batch.output_lengths)
            if self._training.l2:
                loss = loss + l2_penalty(self._ops, self._training, values, self._cell)
        gradients = tape.gradient(loss, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        self._note_kernels()
        # an embedding's gradient comes as IndexedSlices; clipping and Adam need all of its rows
        dense = {name: tf.convert_to_tensor(value) for name, value in gradients.items()}
        return loss, dense, running_of(final)

    def _trace_train_step(self, batch: DeviceBatch) -> Any:
        # the function itself, not its body: TensorFlow inlines the trace that is already there
        loss, gradients, running = self._functions["gradients"](batch)
        slots = {
            slot: {name: variable.read_value() for name, variable in variables.items()}
            for slot, variables in self._slots.items()
        }
        step = self._step.read_value() + 1
        updated, slots = update(self._ops, self._training, self._values(), gradients, slots, step)
        self._step.assign(step)
        for name, variable in self._parameters.items():
            variable.assign(running.get(name, updated[name]))
        for slot, variables in self._slots.items():
            for name, variable in variables.items():
                variable.assign(slots[slot][name])
        return loss

    def _trace_step(self, inputs: Any) -> tuple[Any, dict[str, Any]]:
        x, state = inputs["x"], inputs["state"]
        return network_step(self._ops, self._cell, self._spec, self._values(), x, state)

    def _note_kernels(self) -> None:
        """What the graph being traced will run: found in it, because Keras falls back in silence."""
        types = {operation.type for operation in tf.compat.v1.get_default_graph().get_operations()}
        kernels = {kind for kind in types if kind.startswith("CudnnRNN")}
        if types & {"While", "StatelessWhile"}:
            kernels.add("tf.while_loop")
        self._kernels |= kernels or {"unrolled graph"}

    def _trace_apart(self) -> None:
        """Trace the forward pass once for a small batch, outside of what ``compilations`` counts."""
        B, T = 2, 3
        steps = (T, B) if self._time_major else (B, T)
        tokens = self._spec.vocab is not None
        full, dtype = (steps, tf.int32) if tokens else ((*steps, self._spec.input_size), self._dtype)
        lengths = tf.TensorSpec((B,), tf.int32)
        state = {name: tf.TensorSpec((B, *shape), self._dtype) for name, shape in self._state_shapes.items()}
        batch = DeviceBatch(tf.TensorSpec(full, dtype), None, lengths if self._spec.lengths else None, state)
        if self._spec.decoder is not None:
            answers = tf.TensorSpec((T, B), tf.int32)
            batch = batch._replace(targets=answers, target_lengths=lengths, decoder_inputs=answers)
        with tf.device(self._placement):
            tf.function(self._trace_forward, autograph=False).get_concrete_function(batch)
