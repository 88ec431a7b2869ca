"""Keras on JAX: every phase under jit, as ``fit`` and ``predict`` have it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
from jax import monitoring

from rnnbench.cells.ops import Array
from rnnbench.contracts import Parameters, Settings
from rnnbench.errors import Unavailable
from rnnbench.numpy_ops import NumpyOps
from rnnbench.training import start_slots, update
from rnnbench_keras.forms import a_step
from rnnbench_keras.layers import OPS, KerasStack

ACCELERATORS = ("cuda", "rocm", "tpu", "METAL")
"""Platforms that JAX is asked for, beside the CPU."""

CLOCKS = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "trace",
    "/jax/core/compile/backend_compile_duration": "compile",
}
"""JAX's own events of what it takes to compile; lowering to XLA's input is part of tracing."""


def open_framework(name: str, settings: Settings) -> JaxFramework:
    """Configure JAX. Raises Unavailable for an absent device."""
    config: Any = jax.config
    # JAX would use TF32 on a recent GPU
    config.update("jax_default_matmul_precision", "highest")
    config.update("jax_enable_compilation_cache", False)
    present = {"cpu": jax.devices("cpu")[0]}
    for platform in ACCELERATORS:
        try:
            present[platform.lower()] = jax.devices(platform)[0]
        except RuntimeError:
            continue
    if settings.device not in present:
        raise Unavailable(f'backend "{name}": no device "{settings.device}". Here is: {", ".join(present)}.')
    config.update("jax_default_device", present[settings.device])
    return JaxFramework(present[settings.device], tuple(present))


@dataclass(frozen=True, slots=True)
class JaxFramework:
    """See ``rnnbench_keras.network.Framework``."""

    device: Any
    present: tuple[str, ...]

    def devices(self) -> tuple[str, ...]:
        """See Session."""
        return self.present

    def versions(self) -> dict[str, str]:
        """JAX, jaxlib and, off the CPU, the platform under them."""
        versions = {name: version(name) for name in ("jax", "jaxlib")}
        if self.device.platform != "cpu":
            versions["platform"] = str(self.device.client.platform_version)
        return versions

    def environment(self) -> dict[str, str]:
        """What else decides speed. JAX takes its threads from the process's affinity."""
        config: Any = jax.config
        return {
            "device": f"{self.device.platform}: {self.device.device_kind}",
            "matmul precision": str(config.jax_default_matmul_precision),
            "compilation cache": str(bool(config.jax_enable_compilation_cache)).lower(),
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
            "XLA_PYTHON_CLIENT_PREALLOCATE": os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"],
        }

    def multiply(self, a: Array, b: Array) -> None:
        """See Framework."""
        (a @ b).block_until_ready()

    def place(self, value: np.ndarray) -> Array:
        """See Runner."""
        return jax.device_put(value, self.device)

    def turn(self, x: Array, lengths: Array | None) -> Array:
        """Its padding comes first then: with a mask Keras takes no fused kernel here anyway."""
        return jax.numpy.flip(x, 1)

    def run(self, stack: KerasStack, parameters: Parameters) -> JaxRunner:
        """See Framework."""
        return JaxRunner(self, stack, parameters)


class JaxRunner:
    """See ``rnnbench_keras.network.Runner``."""

    mode = "jit"

    def __init__(self, framework: JaxFramework, stack: KerasStack, parameters: Parameters) -> None:
        self.place = framework.place
        self._framework, self._stack = framework, stack
        # on the host, where zeros need no compilation
        slots = start_slots(NumpyOps(), stack.training, parameters)
        dtype = next(iter(parameters.values())).dtype
        start = (dict(parameters), slots, np.zeros((), dtype))
        self._trained = jax.tree.map(lambda value: framework.place(np.array(value)), start)

        differentiate = jax.value_and_grad(stack.loss, has_aux=True)

        def gradients(values: Any, data: Any) -> tuple[Array, Any]:
            (loss, _), found = differentiate(values, data)
            return loss, found

        def train(trained: Any, data: Any) -> tuple[Any, Array]:
            values, slots, count = trained
            (loss, running), found = differentiate(values, data)
            count = count + 1
            updated, slots = update(OPS, stack.training, values, found, slots, count)
            return (updated | running, slots, count), loss

        self._forward: Any = jax.jit(stack.outputs)
        self._gradients: Any = jax.jit(gradients)
        self._train: Any = jax.jit(train, donate_argnums=0)
        self._step: Any = jax.jit(stack.step)
        self._last: tuple[Any, tuple[Any, ...]] | None = None

    def forward(self, data: Any) -> tuple[Array, Any]:
        """See Runner."""
        return self._call(self._forward, self._trained[0], data)  # type: ignore[no-any-return]

    def gradients(self, data: Any) -> tuple[Array, Any]:
        """See Runner."""
        return self._call(self._gradients, self._trained[0], data)  # type: ignore[no-any-return]

    def train_step(self, data: Any) -> Array:
        """See Runner. The old parameters' memory is given to the new ones."""
        self._trained, loss = self._call(self._train, self._trained, data)
        return loss

    def step(self, x: Array, state: Any) -> tuple[Array, Any]:
        """See Runner."""
        return self._call(self._step, self._trained[0], x, state)  # type: ignore[no-any-return]

    def watch(self, small: Any, longer: Any) -> str:
        """From the jaxpr of a forward pass."""
        return f"{name_path(jax.make_jaxpr(self._stack.outputs)(self._trained[0], small).jaxpr)}, {self.mode}"

    def trained(self) -> Mapping[str, Array]:
        """See Runner."""
        values: Mapping[str, Array] = self._trained[0]
        return values

    def sync(self, value: Any) -> None:
        """A device runs what it is given in order, so the last value comes last."""
        jax.block_until_ready(value)  # type: ignore[no-untyped-call]

    def compilations(self) -> int:
        """Entries in the caches of the compiled functions: one for every shape that they have met."""
        functions = (self._forward, self._gradients, self._train, self._step)
        return sum(jitted._cache_size() for jitted in functions)

    def compile_times(self) -> Mapping[str, float]:
        """Of this process."""
        return CLOCK.seconds()

    def memory(self) -> int | None:
        """Bytes of the last call, as XLA has planned it: JAX's own peak cannot be reset."""
        if self._framework.device.platform == "cpu" or self._last is None:
            return None
        jitted, shapes = self._last
        plan = jitted.lower(*shapes).compile().memory_analysis()
        parts = (plan.argument_size_in_bytes, plan.output_size_in_bytes, plan.temp_size_in_bytes)
        return int(sum(parts) - plan.alias_size_in_bytes)

    def _call(self, jitted: Any, *arguments: Any) -> Any:
        if self._framework.device.platform != "cpu":
            shape: Any = jax.ShapeDtypeStruct
            # shapes, for what is donated is gone afterwards
            self._last = jitted, jax.tree.map(lambda value: shape(value.shape, value.dtype), arguments)
        return jitted(*arguments)


def name_path(jaxpr: Any) -> str:
    """Words for what a jaxpr runs: "lax.scan (1 matrix product a step)", "cuDNN"."""
    kernels = set()
    for equation, inner in _equations(jaxpr):
        if equation.primitive.name == "scan":
            count = sum(step.primitive.name == "dot_general" for step, _ in _equations(inner[0]))
            kernels.add(f"lax.scan ({a_step(count)})")
        elif equation.primitive.name.startswith("rnn"):
            kernels.add("cuDNN")
    return " and ".join(sorted(kernels)) or "unrolled"


def _equations(jaxpr: Any) -> Iterator[tuple[Any, list[Any]]]:
    """All equations of a jaxpr and of those within it, each with the jaxprs that it holds."""
    for equation in jaxpr.eqns:
        held = [getattr(value, "jaxpr", value) for value in equation.params.values()]
        inner = [value for value in held if hasattr(value, "eqns")]
        yield equation, inner
        for each in inner:
            yield from _equations(each)


class _Clock:
    """Seconds by the words of ``CLOCKS``; what is traced within another function counts once."""

    def __init__(self) -> None:
        self._spans: dict[str, list[tuple[float, float]]] = {name: [] for name in CLOCKS.values()}
        monitoring.register_event_duration_secs_listener(self._note)

    def seconds(self) -> dict[str, float]:
        """So far in this process."""
        return {name: sum(end - start for start, end in spans) for name, spans in self._spans.items()}

    def _note(self, event: str, duration_secs: float, **_: Any) -> None:
        if event in CLOCKS:
            end = time.perf_counter()
            start = end - duration_secs
            name = CLOCKS[event]
            self._spans[name] = [span for span in self._spans[name] if span[0] < start] + [(start, end)]


CLOCK = _Clock()
