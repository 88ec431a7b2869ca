"""A worker's bench: the networks that are built in it, and what is done with them on request.

Everything that is decided (what, how often, in which order) comes from the conductor.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from rnnbench.cells.composing import count_parameters
from rnnbench.cells.dropout import with_dropout
from rnnbench.cells.network import parameter_shapes
from rnnbench.contracts import (
    Batch,
    Cell,
    DecoderSpec,
    Implementation,
    Network,
    NetworkSpec,
    Parameters,
    Session,
    Settings,
    Task,
    TaskData,
    TaskDeclaration,
    TrainingSpec,
)
from rnnbench.errors import PluginError
from rnnbench.flops import network_flops
from rnnbench.measuring.clocking import clock_block, clock_first, clock_warming, weigh
from rnnbench.measuring.memory import resident_bytes
from rnnbench.measuring.peak import measure_peak
from rnnbench.measuring.protocol import Message
from rnnbench.measuring.ridge import Make, Readout
from rnnbench.measuring.streaming import Stream, first_sequence
from rnnbench.plugins import Plugins, discover
from rnnbench.reference import PROBE_TRAINING, ask, ask_decoded, ask_steps, probe_batch, probe_parameters
from rnnbench.tasks.declared import declare
from rnnbench.training import initialise


@dataclass(slots=True)
class Built:
    """A network at its task. ``data`` is a training batch on the device.

    ``before_bytes``: what was resident before the network was built. ``make`` builds others like it.
    """

    network: Network
    make: Make
    cell: Cell
    spec: NetworkSpec
    task: TaskData
    size: int
    seed: int
    data: Any
    before_bytes: int
    steps: int = 0
    evaluation: list[tuple[Any, Batch]] = field(default_factory=list)
    readout: Readout | None = None
    stream: Stream | None = None

    def batch(self, step: int) -> Batch:
        """Training batch number ``step``, with what is dropped from it."""
        return with_dropout(
            self.cell, self.spec, self.task.batch(self.seed, step, self.size), self.seed, step
        )


def open_bench(
    backend: str, settings: Mapping[str, Any], plugin_files: list[str], tasks: Sequence[Mapping[str, Any]]
) -> tuple[Bench, Message]:
    """Discover plugins and open the backend; the import is timed with the opening of the session."""
    plugins = discover(plugin_files)
    if backend not in plugins.backends:
        reasons = [f"{plugin.name}: {plugin.reason}" for plugin in plugins.broken]
        raise PluginError(f'no backend "{backend}" in this environment. {" ".join(reasons)}'.strip())
    start = time.perf_counter()
    session = plugins.backends[backend].open(Settings(**settings), plugins.cells)
    import_s = time.perf_counter() - start
    peak = measure_peak(session.product)
    declared = {str(t["name"]): declare(TaskDeclaration(**t)) for t in tasks}
    bench = Bench(session, backend, plugins, {**plugins.tasks, **declared})
    return bench, {
        "import_s": import_s,
        "devices": list(session.devices()),
        "versions": session.versions(),
        "settings": session.environment(),
        **({} if peak is None else {"peak_flops_per_s": peak}),
    }


class Bench:
    """Requests of the conductor, by name. Networks are kept under the conductor's own ids."""

    def __init__(self, session: Session, backend: str, plugins: Plugins, tasks: Mapping[str, Task]) -> None:
        self._session = session
        self._backend = backend
        self._plugins = plugins
        self._tasks = tasks
        self._built: dict[str, Built] = {}
        self._settled = False

    def handlers(self) -> dict[str, Callable[..., Message]]:
        """Request name -> method; every request's keys are the method's parameters."""
        return {
            "probe": self.probe,
            "build": self.build,
            "check": self.check,
            "first": self.first,
            "warm": self.warm,
            "block": self.block,
            "settle": self.settle,
            "memory": self.memory,
            "train": self.train,
            "fit": self.fit,
            "solve": self.solve,
            "evaluate": self.evaluate,
            "parameters": self.parameters,
            "drop": self.drop,
        }

    def probe(
        self,
        spec: dict[str, Any],
        implementation: str,
        length: int,
        size: int,
        seed: int,
        steps: bool,
        l2: float = 0.0,
    ) -> Message:
        """Answers of a fresh network to the parity probe; ``steps``: also one time step after the other."""
        network_spec = _read_spec(spec)
        cell = self._plugins.cells[network_spec.cell]
        parameters = probe_parameters(cell, network_spec, seed)
        network = self._make(network_spec, parameters, replace(PROBE_TRAINING, l2=l2), implementation)
        batch = probe_batch(cell, network_spec, length, size, seed)
        further = {"stepped": ask_steps(network, batch)} if steps else {}
        if network_spec.decoder is not None:
            further["decoded"] = ask_decoded(network, batch)
        answers = ask(network, batch)
        self._settled = True
        return {
            **further,
            "path": network.path,
            "outputs": answers.outputs,
            "state": dict(answers.state),
            "loss": answers.loss,
            "gradients": dict(answers.gradients),
            "trained": dict(answers.trained),
            "trained_outputs": answers.trained_outputs,
        }

    def build(
        self,
        id: str,
        spec: dict[str, Any],
        training: dict[str, Any],
        implementation: str,
        task: str,
        length: int,
        size: int,
        init: str,
        gain: float,
        forget_bias: float,
        seed: int,
    ) -> Message:
        """Build a network from the initial parameters of ``seed`` and put its first training batch."""
        network_spec = _read_spec(spec)
        cell = self._plugins.cells[network_spec.cell]
        parameters = initialise(cell, network_spec, init, forget_bias, seed, gain)
        data = self._tasks[task].prepare(length)
        batch = with_dropout(cell, network_spec, data.batch(seed, 0, size), seed, 0)
        gc.collect()
        before_bytes = resident_bytes()
        start = time.perf_counter()
        make = partial(self._make, training=TrainingSpec(**training), implementation=implementation)
        network = make(network_spec, parameters)
        build_s = time.perf_counter() - start
        self._built[id] = Built(
            network, make, cell, network_spec, data, size, seed, network.put(batch), before_bytes
        )
        count = count_parameters(parameter_shapes(cell, network_spec))
        # the batch's own: a task may add steps to its length
        steps = batch.inputs.shape[1]
        valid = np.full(size, steps) if batch.lengths is None else batch.lengths
        answers = np.zeros(size, int) if batch.target_lengths is None else batch.target_lengths
        return {
            "build_s": build_s,
            "path": network.path,
            "parameters": count,
            "steps": steps,
            "flops": network_flops(
                cell,
                network_spec,
                size,
                int(valid.sum()),
                int(answers.sum()),
                int(valid @ answers),
                int((valid * (valid + 1) // 2).sum()),
            ),
        }

    def check(self, id: str, steps: bool) -> Message:
        """Outputs, loss and gradients of the case's own network on its own batch, at the real shape.

        ``steps``: also the outputs (1,L,O) of its first sequence, one time step after the other.
        """
        built = self._built[id]
        first = first_sequence(built.batch(0)) if steps else None
        stepped = {} if first is None else {"stepped": ask_steps(built.network, first)}
        outputs, state = built.network.fetch(built.network.forward(built.data))
        loss, gradients = built.network.fetch(built.network.gradients(built.data))
        return {
            **stepped, "outputs": outputs, "state": state, "loss": float(loss), "gradients": gradients
        }  # fmt: skip

    def first(self, id: str, phase: str) -> Message:
        """The first call of a phase, alone: it holds tracing and compilation.

        What of it was either, as far as the framework tells, is in ``trace_s`` and ``compile_s``.
        """
        network, call = self._call(id, phase)
        return {
            **clock_first(network, call),
            **({"step_path": network.step_path} if phase == "stream" else {}),
        }

    def warm(self, id: str, phase: str, at_least_s: float, at_least_calls: int, at_most_s: float) -> Message:
        """Call until ``at_least`` both hold, counted anew after each compilation; ``at_most_s`` ends it."""
        return clock_warming(*self._call(id, phase), at_least_s, at_least_calls, at_most_s)

    def block(self, id: str, phase: str, loops: int) -> Message:
        """One untimed primer call, then ``loops`` calls and one barrier under the clock.

        Of ``stream`` each of the ``loops`` time steps has its own barrier, and the median and 99th
        percentile of their times come along.
        """
        return clock_block(*self._call(id, phase), loops)

    def settle(self, spec: dict[str, Any], implementation: str) -> Message:
        """Take a tiny network through all phases, once in a process, and throw it away.

        What a framework allocates once and keeps is then there before the first network that is weighed.
        """
        if not self._settled:
            self.probe(spec, implementation, length=2, size=2, seed=0, steps=False)
        gc.collect()
        return {}

    def memory(self, id: str, phase: str) -> Message:
        """Peak bytes of one call above what was there before the network was built, alone in its process."""
        return weigh(*self._call(id, phase), self._built[id].before_bytes)

    def train(self, id: str, steps: int, at_most_s: float) -> Message:
        """Up to ``steps`` updates on the task's batches; ends early after ``at_most_s`` or at a NaN loss.

        Returns the losses of the updates that were made, before each update.
        """
        built = self._built[id]
        network = built.network

        def update() -> float:
            loss = network.train_step(network.put(built.batch(built.steps)))
            return float(network.fetch(loss))

        return _walk(built, update, steps, at_most_s)

    def fit(self, id: str, steps: int, at_most_s: float) -> Message:
        """As ``train``, for a readout that ``solve`` fits: up to ``steps`` further batches are read.

        Losses are the present readout's mean squared errors, before a batch counts.
        """
        built = self._built[id]
        if built.readout is None:
            built.readout = Readout.begin(built.spec, built.network.parameters(), built.make)
        readout = built.readout

        def read() -> float:
            return readout.read(built.task.batch(built.seed, built.steps, built.size))

        return _walk(built, read, steps, at_most_s)

    def solve(self, id: str, alpha: float) -> Message:
        """Fit the readout to all batches that ``fit`` has read, and put it into the network."""
        built = self._built[id]
        assert built.readout is not None
        head = built.readout.solve(alpha)
        built.network = built.make(built.spec, {**built.network.parameters(), **head})
        built.evaluation = []  # on the device, it was the former network's
        return {}

    def evaluate(self, id: str) -> Message:
        """The task's metric over its held-out part, with the present parameters.

        ``finite`` False: some outputs were not numbers, and the score means nothing.
        """
        built = self._built[id]
        network, finite = built.network, True
        if not built.evaluation:
            built.evaluation = [(network.put(b), b) for b in built.task.evaluation(max(built.size, 256))]

        def outputs() -> Any:
            nonlocal finite
            for data, batch in built.evaluation:
                y = network.fetch(network.forward(data)[0])
                finite = finite and bool(np.isfinite(_valid(y, batch)).all())
                yield y, batch

        return {"score": float(built.task.score(outputs())), "finite": finite}

    def parameters(self, id: str) -> Message:
        """The present parameters by their canonical names."""
        return {"values": self._built[id].network.parameters()}

    def drop(self, id: str) -> Message:
        """Forget a network and what it holds on the device."""
        self._built.pop(id, None)
        gc.collect()
        return {}

    def _make(
        self, spec: NetworkSpec, parameters: Parameters, training: TrainingSpec, implementation: str
    ) -> Network:
        plugged: Implementation | None = self._plugins.implementations.get(
            (self._backend, spec.cell, implementation)
        )
        if plugged is not None:
            return plugged.factory(self._session, spec, parameters, training)
        return self._session.build(spec, parameters, training, implementation)

    def _call(self, id: str, phase: str) -> tuple[Network, Callable[[], Any]]:
        built = self._built[id]
        network, data = built.network, built.data
        if phase == "stream":
            if built.stream is None:
                built.stream = Stream(network, built.batch(0))
            return network, built.stream
        calls: dict[str, Callable[[], Any]] = {
            "forward": lambda: network.forward(data),
            "gradients": lambda: network.gradients(data),
            "train_step": lambda: network.train_step(data),
        }
        return network, calls[phase]


def _walk(built: Built, update: Callable[[], float], steps: int, at_most_s: float) -> Message:
    """Up to ``steps`` updates, each of which says its loss."""
    losses: list[float] = []
    start = time.perf_counter()
    for _ in range(steps):
        losses.append(update())
        built.steps += 1
        if not math.isfinite(losses[-1]) or time.perf_counter() - start > at_most_s:
            break
    return {"losses": losses, "steps": built.steps, "seconds": time.perf_counter() - start}


def _read_spec(given: Mapping[str, Any]) -> NetworkSpec:
    decoder = given.get("decoder")
    return NetworkSpec(**{**given, "decoder": None if decoder is None else DecoderSpec(**decoder)})


def _valid(outputs: np.ndarray, batch: Batch) -> np.ndarray:
    """Outputs without those of padding: (B,O) as they are, (B,T,O) up to each sequence's length."""
    lengths = batch.output_lengths
    if lengths is None or outputs.ndim < 3:
        return outputs
    return outputs[np.arange(outputs.shape[1]) < np.asarray(lengths)[:, None]]
