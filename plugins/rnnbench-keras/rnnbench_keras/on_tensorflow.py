"""Keras on TensorFlow: every phase in a tf.function, as ``fit`` and ``predict`` have it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras  # type: ignore[import-untyped]
import numpy as np
import tensorflow as tf  # type: ignore[import-untyped]

from rnnbench.cells.ops import Array
from rnnbench.cells.placing import DeviceBatch
from rnnbench.contracts import Parameters, Settings
from rnnbench.errors import Unavailable
from rnnbench.training import start_slots, update
from rnnbench_keras.forms import a_step
from rnnbench_keras.layers import OPS, KerasStack

PRODUCTS = frozenset({"MatMul", "BatchMatMulV2"})


def open_framework(name: str, settings: Settings) -> TensorflowFramework:
    """Configure TensorFlow. Raises Unavailable for an absent device, and where it already computes."""
    tf.get_logger().setLevel("ERROR")
    kind = "cuda" if tf.test.is_built_with_cuda() else "gpu"
    gpus = tf.config.list_physical_devices("GPU")
    present = {"cpu": None} | {kind if n == 0 else f"{kind}:{n}": gpu for n, gpu in enumerate(gpus)}
    if settings.device not in present:
        raise Unavailable(f'backend "{name}": no device "{settings.device}". Here is: {", ".join(present)}.')
    gpu = present[settings.device]
    try:
        tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
        tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
        # with a GPU in sight Keras tries cuDNN, and TensorFlow takes all of its memory
        tf.config.set_visible_devices([] if gpu is None else [gpu], "GPU")
        if gpu is not None:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:
        raise Unavailable(
            f'backend "{name}": TensorFlow already computes in this process. Open it in one of its own.'
        ) from error
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if not settings.optimize:
        # what rewrites graphs takes longer than a probe runs
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    return TensorflowFramework("CPU:0" if gpu is None else "GPU:0", tuple(present))


@dataclass(frozen=True, slots=True)
class TensorflowFramework:
    """See ``rnnbench_keras.network.Framework``. ``placement`` is TensorFlow's own name of the device."""

    placement: str
    present: tuple[str, ...]

    def devices(self) -> tuple[str, ...]:
        """See Session."""
        return self.present

    def versions(self) -> dict[str, str]:
        """TensorFlow, and what a GPU build was made with."""
        build = tf.sysconfig.get_build_info()
        libraries = {
            name: str(build[f"{name}_version"]) for name in ("cuda", "cudnn") if f"{name}_version" in build
        }
        return {"tensorflow": str(tf.__version__), **libraries}

    def environment(self) -> dict[str, str]:
        """Threads, precision and flags as TensorFlow has them now."""
        tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
        return {
            "intra_op_threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
            "inter_op_threads": str(tf.config.threading.get_inter_op_parallelism_threads()),
            "matmul_precision": "tf32" if tf32 else "highest",
            "jit_compile": "as Keras resolves auto",
            "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "unset"),
        }

    def multiply(self, a: Array, b: Array) -> None:
        """See Framework."""
        with tf.device(self.placement):
            # a barrier that copies nothing but one number
            tf.matmul(a, b)[0, 0].numpy()

    def place(self, value: np.ndarray) -> Array:
        """See Runner."""
        with tf.device(self.placement):
            return tf.constant(value)

    def turn(self, x: Array, lengths: Array | None) -> Array:
        """Padding stays on the right, where cuDNN must have it."""
        return tf.reverse(x, [1]) if lengths is None else tf.reverse_sequence(x, lengths, seq_axis=1)

    def run(self, stack: KerasStack, parameters: Parameters) -> TensorflowRunner:
        """See Framework."""
        return TensorflowRunner(self, stack, parameters)


class TensorflowRunner:
    """Parameters in variables; see ``rnnbench_keras.network.Runner``."""

    def __init__(
        self,
        framework: TensorflowFramework,
        stack: KerasStack,
        parameters: Parameters,
    ) -> None:
        self._framework, self._stack = framework, stack
        self.place = framework.place
        with tf.device(framework.placement):
            self._parameters = {name: tf.Variable(value) for name, value in parameters.items()}
            slots = start_slots(OPS, stack.training, self._parameters)
            self._slots = tf.nest.map_structure(tf.Variable, slots)
            dtype = next(iter(self._parameters.values())).dtype
            self._count = tf.Variable(tf.zeros((), dtype))
        self._xla = jit_compiles(stack)
        self._forward = self._compiled(lambda data: stack.outputs(self.trained(), data))
        self._gradients = self._compiled(self._trace_gradients)
        self._train = self._compiled(self._trace_train_step)
        self._step = self._compiled(lambda data: stack.step(self.trained(), data["x"], data["state"]))
        self._traces: dict[tuple[Any, ...], Any] = {}
        self._trace_s = 0.0

    def forward(self, data: Any) -> tuple[Array, Any]:
        """See Runner."""
        return self._call(self._forward, data, _shape(data))  # type: ignore[no-any-return]

    def gradients(self, data: Any) -> tuple[Array, Any]:
        """See Runner."""
        loss, gradients, _ = self._call(self._gradients, data, _shape(data))
        return loss, gradients

    def train_step(self, data: Any) -> Array:
        """See Runner."""
        return self._call(self._train, data, _shape(data))

    def step(self, x: Array, state: Any) -> tuple[Array, Any]:
        """See Runner."""
        return self._call(self._step, {"x": x, "state": state}, x.shape[0])  # type: ignore[no-any-return]

    @property
    def mode(self) -> str:
        """Whether XLA compiles is Keras' own choice."""
        return "tf.function with XLA" if self._xla else "tf.function"

    def watch(self, small: Any, longer: Any) -> str:
        """From the graph of a forward pass, traced outside of what ``compilations`` counts."""
        function = tf.function(lambda data: self._stack.outputs(self.trained(), data), autograph=False)
        with tf.device(self._framework.placement):
            graph = function.get_concrete_function(small).graph.as_graph_def()
        return f"{name_path(graph)}, {self.mode}"

    def trained(self) -> dict[str, Array]:
        """See Runner."""
        return {name: variable.read_value() for name, variable in self._parameters.items()}

    def sync(self, value: Any) -> None:
        """All devices: what was enqueued before is done. On the CPU a call returns when it is done."""
        if not self._framework.placement.startswith("CPU"):
            tf.test.experimental.sync_devices()

    def compilations(self) -> int:
        """Traces: each makes a graph of its own for one shape of batch."""
        return len(self._traces)

    def compile_times(self) -> Mapping[str, float]:
        """Tracing alone; XLA compiles inside the first run of a trace, and does not tell for how long."""
        return {"trace": self._trace_s}

    def memory(self) -> int | None:
        """See Network."""
        placement = self._framework.placement
        if placement.startswith("CPU"):
            return None
        peak = int(tf.config.experimental.get_memory_info(placement)["peak"])
        tf.config.experimental.reset_memory_stats(placement)
        return peak

    def _compiled(self, function: Callable[[Any], Any]) -> Any:
        return tf.function(function, autograph=False, jit_compile=self._xla)

    def _call(self, function: Any, inputs: Any, shape: Any) -> Any:
        # to find the trace by type, as tf.function does, takes as long as to call it
        key = (id(function), shape)
        if key not in self._traces:
            start = time.perf_counter()
            self._traces[key] = function.get_concrete_function(inputs)
            self._trace_s += time.perf_counter() - start
        return self._traces[key](inputs)

    def _trace_gradients(self, data: Any) -> tuple[Array, dict[str, Array], dict[str, Array]]:
        """Loss, gradients, and the running statistics after the batch."""
        values = self.trained()
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            loss, running = self._stack.loss(values, data)
        gradients = tape.gradient(loss, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        # an embedding's gradient comes as IndexedSlices; clipping and Adam need all of its rows
        return loss, {name: tf.convert_to_tensor(value) for name, value in gradients.items()}, running

    def _trace_train_step(self, data: Any) -> Array:
        # the function itself, not its body: TensorFlow inlines the trace that is already there
        loss, gradients, running = self._gradients(data)
        slots = tf.nest.map_structure(lambda variable: variable.read_value(), self._slots)
        count = self._count.read_value() + 1
        self._count.assign(count)
        updated, slots = update(OPS, self._stack.training, self.trained(), gradients, slots, count)
        tf.nest.map_structure(
            lambda variable, value: variable.assign(value),
            [self._parameters, self._slots],
            [updated | running, slots],
        )
        return loss


def jit_compiles(stack: KerasStack) -> bool:
    """What ``jit_compile="auto"``, the default of ``fit`` and ``predict``, means for a model of these layers.

    Keras says no on a machine with CPUs alone, and for layers that may take cuDNN.
    """
    model = keras.Sequential(list(stack.layers.values()))
    model.compile()
    return bool(model.jit_compile)


def name_path(graph: Any) -> str:
    """Words for what a GraphDef runs: "tf.while_loop (2 matrix products a step)", "CudnnRNNV3"."""
    bodies = {function.signature.name: function.node_def for function in graph.library.function}
    kernels = {node.op for node in graph.node if node.op.startswith("CudnnRNN")}
    for node in graph.node:
        if node.op in ("While", "StatelessWhile"):
            count = sum(inner.op in PRODUCTS for inner in bodies[node.attr["body"].func.name])
            kernels.add(f"tf.while_loop ({a_step(count)})")
    return " and ".join(sorted(kernels)) or "unrolled graph"


def _shape(data: DeviceBatch) -> tuple[Any, ...]:
    return data.inputs.shape, data.targets.shape, tuple(value is None for value in data)
