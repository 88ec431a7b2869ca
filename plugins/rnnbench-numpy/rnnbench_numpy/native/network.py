"""A network of layers derived by hand: embedding, directions, stacking, readout, head, loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from rnnbench.cells.composing import running_of
from rnnbench.cells.network import part, split_directions, state_shapes
from rnnbench.cells.penalty import is_kernel
from rnnbench.cells.streaming import network_step, split_steps
from rnnbench.contracts import Batch, Cell, NetworkSpec, Parameters, TrainingSpec
from rnnbench.numpy_ops import NumpyOps
from rnnbench_numpy.fetching import copy_values
from rnnbench_numpy.native.composing import Composition
from rnnbench_numpy.native.kernel import Kernel
from rnnbench_numpy.native.layer import Layer
from rnnbench_numpy.native.losses import LOSSES
from rnnbench_numpy.native.optimizer import Optimizer
from rnnbench_numpy.native.rows import Rows, rows_of
from rnnbench_numpy.native.space import Space

OPS = NumpyOps()
# a network that diverges says so by its loss; and exp(-z) overflows where σ(z) is rightly 0
quietly = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True, slots=True, eq=False)
class PackedBatch:
    """inputs (N,I) or tokens (N,), targets (N,...) or (B,...), state {name: (B,H)} sorted by length.

    ``dropout`` {"layers.1": (N,F)}, empty where nothing is dropped.

    ``occurrences`` (V,N) has a one where a row's token is the word: its product with gradients of
    embedded rows is the gradient of the table, twenty times faster than np.add.at.
    """

    rows: Rows
    inputs: np.ndarray
    targets: np.ndarray
    state: Mapping[str, np.ndarray]
    occurrences: csr_array | None
    dropout: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """What a forward pass leaves: every layer's input (N,I), features read (M,F), outputs (M,O), states."""

    xs: list[np.ndarray]
    features: np.ndarray
    outputs: np.ndarray
    final: dict[str, np.ndarray]


class NativeNetwork:
    """See ``rnnbench.contracts.Network``.

    Scratch arrays are kept from call to call, but nothing that is returned lies in them: results
    stay what they were whatever is called afterwards.
    """

    def __init__(
        self,
        cell: Cell,
        kernel: Kernel,
        spec: NetworkSpec,
        parameters: Parameters,
        training: TrainingSpec,
        dtype: Any,
    ) -> None:
        self._cell, self._spec = cell, spec
        self._dtype = np.dtype(dtype)
        self._space = Space(dtype)
        self._layers = {
            f"layers.{index}.{direction}.": Layer(kernel, cell.gates, dtype)
            for index in range(spec.layers)
            for direction in spec.directions
        }
        self._parameters = {name: np.array(value, self._dtype) for name, value in parameters.items()}
        self._composition = Composition(spec)
        self._l2 = training.l2
        self._optimizer = Optimizer(training, self._parameters)
        self._load_layers()

    @property
    def path(self) -> str:
        """Always the same."""
        return "hand-derived BPTT"

    def put(self, batch: Batch) -> PackedBatch:
        """Valid steps only, time-major, the longest sequence first, in this network's dtype."""
        spec = self._spec
        size, steps = batch.inputs.shape[:2]
        rows = rows_of(size, steps, batch.lengths)
        inputs = rows.pack(batch.inputs)
        targets = rows.pack(batch.targets) if spec.readout == "each" else batch.targets
        state = {
            name: np.zeros((size, *shape), self._dtype)
            if batch.state is None
            else batch.state[name][rows.order].astype(self._dtype)
            for name, shape in state_shapes(self._cell, spec).items()
        }
        occurrences = None
        if spec.vocab is not None:
            where = (inputs, np.arange(rows.size))
            occurrences = csr_array((np.ones(rows.size, self._dtype), where), (spec.vocab, rows.size))
        return PackedBatch(
            rows=rows,
            inputs=inputs if spec.vocab is not None else inputs.astype(self._dtype),
            targets=np.array(targets, np.int64 if spec.loss == "cross_entropy" else self._dtype),
            state=state,
            occurrences=occurrences,
            dropout={
                name: rows.pack(np.broadcast_to(mask, (size, steps, mask.shape[2]))).astype(self._dtype)
                for name, mask in (batch.dropout or {}).items()
            },
        )

    @quietly
    def forward(self, batch: PackedBatch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """See Network."""
        done = self._forward(batch)
        if self._spec.readout == "last":
            return done.outputs, done.final
        return batch.rows.unpack(done.outputs, self._parameters["head.b"]), done.final

    @quietly
    def gradients(self, batch: PackedBatch) -> tuple[np.floating, dict[str, np.ndarray]]:
        """See Network."""
        done = self._forward(batch, training=True)
        loss, d_outputs = LOSSES[self._spec.loss](done.outputs, batch.targets)
        gradients = {"head.W": done.features.T @ d_outputs, "head.b": d_outputs.sum(axis=0)}
        d_read, passed = self._composition.backward(
            self._parameters,
            self._spec.layers - 1,
            d_outputs @ self._parameters["head.W"].T,
            {},
            gradients,
        )
        dys = self._spread(batch.rows, d_read)
        if passed is not None and self._spec.readout == "last":
            passed = self._spread_passed(batch.rows, passed)
        for index in reversed(range(self._spec.layers)):
            x = done.xs[index]
            dx = passed
            if dx is None and (index > 0 or self._spec.vocab is not None):
                dx = np.zeros(x.shape, self._dtype)
            for direction, dy in zip(self._spec.directions, dys, strict=True):
                prefix = f"layers.{index}.{direction}."
                found = self._layers[prefix].backward(x, dy, batch.rows.walk(direction), dx)
                gradients.update({prefix + name: value for name, value in found.items()})
            if dx is not None and index > 0:
                d_y, passed = self._composition.backward(
                    self._parameters, index - 1, dx, batch.dropout, gradients
                )
                dys = self._split(d_y)
            elif dx is not None:
                dys = [dx]
        if batch.occurrences is not None:
            gradients["embed.E"] = batch.occurrences @ dys[0]
        if self._l2:
            loss = loss + self._penalise(gradients)
        for name, value in running_of(self._parameters).items():
            gradients[name] = np.zeros_like(value)
        return loss, {name: gradients[name] for name in self._parameters}

    @quietly
    def train_step(self, batch: PackedBatch) -> np.floating:
        """See Network."""
        loss, gradients = self.gradients(batch)
        self._optimizer.update(self._parameters, gradients)
        self._parameters.update(self._composition.running)
        self._load_layers()
        return loss

    @property
    def step_path(self) -> str:
        """The loops by hand are made for many steps; around a single one they take longer than the cell's."""
        return "the cell's step"

    def put_steps(self, batch: Batch) -> tuple[Sequence[np.ndarray], dict[str, np.ndarray]]:
        """See Network."""
        inputs, state = split_steps(self._cell, self._spec, batch)
        dtype = np.dtype(np.int32) if self._spec.vocab is not None else self._dtype
        xs = list(np.array(inputs, dtype, order="C"))
        return xs, {name: value.astype(self._dtype) for name, value in state.items()}

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

    def _load_layers(self) -> None:
        for prefix, layer in self._layers.items():
            layer.load(part(self._parameters, prefix))

    def _penalise(self, gradients: dict[str, np.ndarray]) -> Any:
        """(λ/2) Σ ‖W‖²; its gradient is added to those given."""
        total: Any = self._dtype.type(0)
        for name, value in self._parameters.items():
            if is_kernel(name):
                gradients[name] += self._l2 * value
                total += np.vdot(value, value)
        return total * self._dtype.type(0.5 * self._l2)

    def _forward(self, batch: PackedBatch, *, training: bool = False) -> Pass:
        spec, rows = self._spec, batch.rows
        compose = partial(self._composition.forward, self._parameters, training=training)
        x = self._parameters["embed.E"][batch.inputs] if spec.vocab is not None else batch.inputs
        xs: list[np.ndarray] = []
        final: dict[str, np.ndarray] = {}
        for index in range(spec.layers):
            xs.append(x)
            y = self._space.take(f"y.{index}", (rows.size, len(spec.directions) * spec.hidden))
            ys = np.split(y, len(spec.directions), axis=1)
            for direction, y_of in zip(spec.directions, ys, strict=True):
                prefix = f"layers.{index}.{direction}."
                layer = self._layers[prefix]
                states = layer.forward(x, part(batch.state, prefix), rows.walk(direction), y_of)
                ends = rows.first if direction == "backward" else rows.last
                final.update({prefix + name: value[ends] for name, value in states.items()})
            y = np.add(*ys) if spec.bidirectional == "sum" else y
            if index < spec.layers - 1:
                x = compose(index, y, x, batch.dropout if training else {})
        if spec.readout == "last":
            y = self._read_last(rows, ys)
            x = self._read_passed(rows, x)
        features = compose(spec.layers - 1, y, x, {})
        outputs = features @ self._parameters["head.W"] + self._parameters["head.b"]
        return Pass(xs, features, outputs, final)

    def _read_last(self, rows: Rows, ys: list[np.ndarray]) -> np.ndarray:
        parts = [y[ends] for y, ends in zip(ys, (rows.last, rows.first), strict=False)]
        return np.add(*parts) if self._spec.bidirectional == "sum" else np.concatenate(parts, axis=1)

    def _read_passed(self, rows: Rows, x: np.ndarray) -> np.ndarray:
        """Of what the top layer read (N,F), what stands beside its last outputs (B,F)."""
        if not (self._spec.residual and self._spec.layers > 1):
            return x
        parts = zip(split_directions(self._spec, x), (rows.last, rows.first), strict=False)
        return np.concatenate([half[ends] for half, ends in parts], axis=1)

    def _spread_passed(self, rows: Rows, d_passed: np.ndarray) -> np.ndarray:
        """The transpose of ``_read_passed``."""
        dx = np.zeros((rows.size, d_passed.shape[1]), self._dtype)
        halves = zip(
            split_directions(self._spec, dx),
            split_directions(self._spec, d_passed),
            (rows.last, rows.first),
            strict=False,
        )
        for half, d_half, ends in halves:
            half[ends] = d_half
        return dx

    def _split(self, d_features: np.ndarray) -> list[np.ndarray]:
        if self._spec.bidirectional == "concat":
            return np.split(d_features, 2, axis=1)
        return [d_features] * len(self._spec.directions)

    def _spread(self, rows: Rows, d_features: np.ndarray) -> list[np.ndarray]:
        """Gradients of the top layer's y (N,H) of each direction from those of the features read."""
        parts = self._split(d_features)
        if self._spec.readout == "each":
            return parts
        dys = []
        for d_last, ends in zip(parts, (rows.last, rows.first), strict=False):
            dy = np.zeros((rows.size, self._spec.hidden), self._dtype)
            dy[ends] = d_last
            dys.append(dy)
        return dys
