"""A built network: host arrays in and out, around a ``Runner`` that knows its framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import keras  # type: ignore[import-untyped]
import numpy as np

from rnnbench.cells.network import state_shapes
from rnnbench.cells.ops import Array
from rnnbench.cells.placing import DeviceBatch, place
from rnnbench.cells.streaming import split_steps
from rnnbench.contracts import Batch, Parameters
from rnnbench_keras.layers import KerasStack


class Runner(Protocol):
    """A ``KerasStack`` with parameters on a device, run as Keras' users run it on this framework."""

    def place(self, value: np.ndarray) -> Array:
        """A copy on the device, of the same dtype."""
        ...

    def forward(self, data: Any) -> tuple[Array, Any]:
        """Outputs and final states."""
        ...

    def gradients(self, data: Any) -> tuple[Array, Any]:
        """Loss, and the gradient of every canonical parameter."""
        ...

    def train_step(self, data: Any) -> Array:
        """One update; the loss before it."""
        ...

    def step(self, x: Array, state: Any) -> tuple[Array, Any]:
        """One time step."""
        ...

    @property
    def mode(self) -> str:
        """How a step runs, in words: "jit", "tf.function", "eager"."""
        ...

    def watch(self, small: Any, longer: Any) -> str:
        """What the forward pass really does, found by watching it; two batches, one of one step more."""
        ...

    def trained(self) -> Mapping[str, Array]:
        """The present parameters."""
        ...

    def sync(self, value: Any) -> None:
        """As in Network."""
        ...

    def compilations(self) -> int:
        """As in Network."""
        ...

    def compile_times(self) -> Mapping[str, float]:
        """As in Network."""
        ...

    def memory(self) -> int | None:
        """As in Network."""
        ...


class Framework(Protocol):
    """What a session asks of the framework that Keras runs on."""

    def devices(self) -> tuple[str, ...]:
        """As in Session."""
        ...

    def versions(self) -> dict[str, str]:
        """Of the framework alone."""
        ...

    def environment(self) -> dict[str, str]:
        """As in Session."""
        ...

    def multiply(self, a: Array, b: Array) -> None:
        """The product of two matrices on the device, and the wait for it."""
        ...

    def place(self, value: np.ndarray) -> Array:
        """As in Runner."""
        ...

    def turn(self, x: Array, lengths: Array | None) -> Array:
        """As ``rnnbench_keras.layers.Turn``."""
        ...

    def run(self, stack: KerasStack, parameters: Parameters) -> Runner:
        """Parameters are of the session's dtype."""
        ...


class KerasNetwork:
    """See ``rnnbench.contracts.Network``. ``where``: the framework, as the path names it."""

    def __init__(self, stack: KerasStack, runner: Runner, dtype: str, where: str) -> None:
        self._stack, self._runner, self._dtype, self._where = stack, runner, dtype, where
        self._spec = stack.spec
        self._state_shapes = state_shapes(stack.cell, stack.spec)

    @cached_property
    def path(self) -> str:
        """The layer, and what was seen to run: Keras chooses its kernels, and falls back, in silence."""
        seen = self._runner.watch(*(self.put(self._sample(length))[0] for length in (2, 3)))
        return f"{self._stack.form.words} on {self._where}, {seen}"

    def put(self, batch: Batch) -> tuple[DeviceBatch, DeviceBatch]:
        """Inputs batch-major, as Keras has them; targets of every step with time first, as the loss does.

        Once without and once with dropout, for which ``forward``, which has none, must not be traced again.
        """
        full = replace(batch, state=self._zeros(len(batch.inputs)) | dict(batch.state or {}))
        data = place(self._spec, full, self._place, batch_major=True)
        return data._replace(dropout=None), data

    def forward(self, batch: Any) -> tuple[Any, Any]:
        """See Network."""
        return self._runner.forward(batch[0])

    def gradients(self, batch: Any) -> tuple[Any, Any]:
        """See Network."""
        return self._runner.gradients(batch[1])

    def train_step(self, batch: Any) -> Any:
        """See Network."""
        return self._runner.train_step(batch[1])

    @property
    def step_path(self) -> str:
        """The layers' cells alone: a layer would run its loop around one step."""
        return f"{self._stack.form.words}'s cell on {self._where}, {self._runner.mode}"

    def put_steps(self, batch: Batch) -> tuple[Sequence[Any], Any]:
        """See Network."""
        inputs, state = split_steps(self._stack.cell, self._spec, batch)
        xs = [self._place(x, integers=self._spec.vocab is not None) for x in inputs]
        return xs, {name: self._place(value) for name, value in state.items()}

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """See Network."""
        return self._runner.step(x, state)

    def sync(self, value: Any) -> None:
        """See Network."""
        self._runner.sync(value)

    def fetch(self, value: Any) -> Any:
        """See Network."""
        # a copy: what Keras hands out may be the device's own memory
        return keras.tree.map_structure(lambda array: np.array(keras.ops.convert_to_numpy(array)), value)

    def parameters(self) -> dict[str, np.ndarray]:
        """See Network."""
        return dict(self.fetch(dict(self._runner.trained())))

    def compilations(self) -> int:
        """See Network."""
        return self._runner.compilations()

    def compile_times(self) -> Mapping[str, float]:
        """See Network."""
        return self._runner.compile_times()

    def memory(self) -> int | None:
        """See Network."""
        return self._runner.memory()

    def _sample(self, length: int) -> Batch:
        """Zeros: two sequences of so many steps."""
        spec = self._spec
        inputs = np.zeros((2, length) if spec.vocab is not None else (2, length, spec.input_size))
        rows = (2,) if spec.readout == "last" else (2, length)
        targets = np.zeros(rows if spec.loss == "cross_entropy" else (*rows, spec.output_size))
        return Batch(inputs, targets, np.full(2, length) if spec.lengths else None)

    def _zeros(self, size: int) -> dict[str, np.ndarray]:
        return {name: np.zeros((size, *shape)) for name, shape in self._state_shapes.items()}

    def _place(self, value: np.ndarray, integers: bool = False) -> Any:
        # always a copy: a framework may otherwise keep reading the caller's memory
        return self._runner.place(np.array(value, "int32" if integers else self._dtype, order="C"))
