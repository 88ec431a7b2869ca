"""An example plugin: a cell of one's own, a backend that runs every cell, and a kernel for one of them.

Install it (``pip install -e tests/example-plugin``) or load it as a file
(``rnnbench --plugin tests/example-plugin/rnnbench_example.py``).
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnbench.cells.gates import gated_shapes, linear
from rnnbench.cells.network import Stack, stack_layers
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.cells.placing import DeviceBatch, batch_loss, batch_outputs, place
from rnnbench.cells.streaming import network_step, split_steps
from rnnbench.contracts import (
    Backend,
    Batch,
    Cell,
    Implementation,
    Network,
    NetworkSpec,
    Parameters,
    Session,
    Settings,
    Sizes,
    TrainingSpec,
)
from rnnbench.errors import Unavailable, Unsupported
from rnnbench.hookspecs import hookimpl
from rnnbench.numpy_ops import NumpyOps
from rnnbench.training import start_slots, update

RNNBENCH_API = 1


# docs: cell
@dataclass(frozen=True, slots=True)
class LeakyRNN:
    """h_t = (1 - α) h_{t-1} + α tanh(x_t W_x + h_{t-1} W_h + b), with a fixed leak α = 1/2; y_t = h_t."""

    name: str = "leaky_rnn"
    gates: tuple[str, ...] = ("h",)
    paper: str = "Jaeger et al. 2007, Optimization and applications of leaky-integrator networks"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,1,H), W_h (H,1,H), b (1,H)."""
        return gated_shapes(sizes, self.gates)

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """One state, h (H)."""
        return {"h": (sizes.hidden,)}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """x_t W_x + b for all t at once: it needs no state, so it is hoisted out of the loop."""
        return {"u": linear(ops, x, p["W_x"]) + p["b"]}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        z = u["u"] + linear(ops, state["h"], p["W_h"])
        h = 0.5 * state["h"] + 0.5 * ops.tanh(z[:, 0])
        return {"h": h}, h


# docs: network
class ToyNetwork:
    """Every cell's own ``step``, in a Python loop over NumPy; gradients by HIPS autograd."""

    path = "Python loop, autograd tape"

    def __init__(
        self,
        cell: Cell,
        spec: NetworkSpec,
        parameters: Parameters,
        training: TrainingSpec,
        dtype: str,
        stack: Stack = stack_layers,
    ) -> None:
        self._cell, self._spec, self._training, self._stack = cell, spec, training, stack
        self._dtype = np.dtype(dtype)
        self._ops = NumpyOps()
        self._values = {name: np.asarray(p, self._dtype) for name, p in parameters.items()}
        self._slots = start_slots(self._ops, training, self._values)
        self._step = 0

    def put(self, batch: Batch) -> DeviceBatch:
        """Time first, and in the network's dtype: all that should not be timed."""
        return place(self._spec, batch, self._copy)

    def forward(self, batch: DeviceBatch) -> tuple[Any, Any]:
        """Outputs, batch first, and final states."""
        y, state = batch_outputs(self._ops, self._cell, self._spec, self._values, batch, self._stack)
        return (np.swapaxes(y, 0, 1) if self._spec.readout == "each" else y), state

    def gradients(self, batch: DeviceBatch) -> tuple[Any, Any]:
        """Loss and gradients by canonical name."""
        return self._differentiate(batch)[:2]

    def train_step(self, batch: DeviceBatch) -> Any:
        """One update; the loss before it."""
        loss, gradients, running = self._differentiate(batch)
        self._step += 1
        step = np.asarray(self._step, self._dtype)
        updated, self._slots = update(self._ops, self._training, self._values, gradients, self._slots, step)
        self._values = updated | running
        return loss

    def sync(self, value: Any) -> None:
        """NumPy has nothing to wait for."""

    step_path = "the cell's step"

    def put_steps(self, batch: Batch) -> tuple[Sequence[Any], Any]:
        """Inputs one by one, and the state before the first."""
        inputs, state = split_steps(self._cell, self._spec, batch)
        xs = list(self._copy(inputs, integers=self._spec.vocab is not None))
        return xs, {name: self._copy(value, integers=False) for name, value in state.items()}

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """One time step: outputs (B,O), and the state for the next."""
        return network_step(self._ops, self._cell, self._spec, self._values, x, state)

    def fetch(self, value: Any) -> Any:
        """Already on the host."""
        return value

    def parameters(self) -> dict[str, np.ndarray]:
        """Present values by canonical name."""
        return dict(self._values)

    def compilations(self) -> int:
        """Nothing is compiled."""
        return 0

    def compile_times(self) -> Mapping[str, float]:
        """Nothing is compiled."""
        return {}

    def memory(self) -> int | None:
        """The device is the host."""
        return None

    def _differentiate(self, batch: DeviceBatch) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Loss, gradients, and the running statistics of batch norms after the batch."""
        from autograd import value_and_grad

        running: dict[str, Any] = {}

        def loss_of(values: Arrays) -> Array:
            loss, found = batch_loss(
                self._ops, self._cell, self._spec, self._training, values, batch, self._stack
            )
            running.update(found)
            return loss

        return *value_and_grad(loss_of)(self._values), running

    def _copy(self, values: np.ndarray, integers: bool) -> np.ndarray:
        return np.array(values, np.int32 if integers else self._dtype)


# docs: backend
@dataclass(frozen=True)
class ToySession:
    """The toy framework, opened."""

    settings: Settings
    cells: Mapping[str, Cell]

    def devices(self) -> tuple[str, ...]:
        """NumPy knows one."""
        return ("cpu",)

    def versions(self) -> dict[str, str]:
        """What decides the numbers."""
        return {"numpy": np.__version__, "python": platform.python_version()}

    def environment(self) -> dict[str, str]:
        """Nothing can be set."""
        return {}

    def product(self, size: int) -> Callable[[], None]:
        """What the network's speed is held against: the best that a large product gives."""
        a = np.ones((size, size), self.settings.dtype)

        def multiply() -> None:
            np.dot(a, a)

        return multiply

    def build(
        self, spec: NetworkSpec, parameters: Parameters, training: TrainingSpec, implementation: str
    ) -> Network:
        """Raises ``Unsupported`` for any other implementation than portable."""
        if implementation != "portable":
            raise Unsupported(f'toy has no implementation "{implementation}", only portable')
        return ToyNetwork(self.cells[spec.cell], spec, parameters, training, self.settings.dtype)


@dataclass(frozen=True)
class Toy:
    """Describes the backend; the framework would be imported in ``open``, never before."""

    name: str = "toy"
    distributions: tuple[str, ...] = ("numpy",)

    def implementations(self, cell: Cell) -> tuple[str, ...]:
        """The preferred one first."""
        return ("portable",)

    def open(self, settings: Settings, cells: Mapping[str, Cell]) -> Session:
        """Raises ``Unavailable`` for a device that is not there."""
        if settings.device != "cpu":
            raise Unavailable(f'toy has no device "{settings.device}", only cpu')
        return ToySession(settings, cells)


# docs: implementation
def whole_sequence_layer(
    ops: Ops, cell: Cell, p: Arrays, x: Array, mask: Array | None, state: Arrays
) -> tuple[Array, dict[str, Array]]:
    """A kernel of one's own for ``leaky_rnn``: one layer in one direction, written without ``step``."""
    W, b = ops.reshape(p["W_h"], (-1, p["W_h"].shape[2])), p["b"][0]
    projected = ops.matmul(x, ops.reshape(p["W_x"], (-1, W.shape[1]))) + b

    def body(state: dict[str, Array], u: dict[str, Array]) -> tuple[dict[str, Array], Array]:
        h = state["h"] + 0.5 * (ops.tanh(u["u"] + ops.matmul(state["h"], W)) - state["h"])
        if "mask" not in u:
            return {"h": h}, h
        return {"h": ops.where(u["mask"], h, state["h"])}, ops.where(u["mask"], h, 0.0)

    last, y = ops.scan(body, state, {"u": projected} if mask is None else {"u": projected, "mask": mask})
    return y, last


def build_whole_sequence(
    session: Session, spec: NetworkSpec, parameters: Parameters, training: TrainingSpec
) -> Network:
    """The factory of the implementation."""
    assert isinstance(session, ToySession)

    def stack(*arguments: Any) -> tuple[list[Array], dict[str, Array]]:
        return stack_layers(*arguments, layer=whole_sequence_layer)

    network = ToyNetwork(LeakyRNN(), spec, parameters, training, session.settings.dtype, stack)
    network.path = "whole sequence, autograd tape"
    return network


# docs: hooks
@hookimpl
def rnnbench_cells() -> Sequence[Cell]:
    """Cells of one's own."""
    return [LeakyRNN()]


@hookimpl
def rnnbench_backends() -> Sequence[Backend]:
    """Backends of one's own."""
    return [Toy()]


@hookimpl
def rnnbench_implementations() -> Sequence[Implementation]:
    """Kernels of one's own."""
    return [Implementation("toy", "leaky_rnn", "whole_sequence", build_whole_sequence)]
