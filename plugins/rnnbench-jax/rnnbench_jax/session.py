"""JAX, imported and configured in a worker."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnbench.cells import scanning
from rnnbench.cells.decoding import check_decoder
from rnnbench.cells.handling import refuse_unknown
from rnnbench.cells.network import stack_layers
from rnnbench.contracts import Cell, NetworkSpec, Parameters, SequenceCell, Settings, TrainingSpec
from rnnbench.errors import Unavailable, Unsupported, nearest
from rnnbench_jax import IMPLEMENTATIONS

if TYPE_CHECKING:
    import jax

    from rnnbench_jax.network import JaxNetwork

HANDLED = frozenset(
    {
        "layers", "bidirectional", "vocab", "lengths", "window", "projection", "residual", "norm", "dropout",
        "dropout_kind",
    }
)  # fmt: skip
"""Of a network's structure, what ``native`` follows."""

ACCELERATORS = ("cuda", "rocm", "tpu", "METAL")
"""Platforms that JAX is asked for, beside the CPU."""


def open_session(settings: Settings, cells: Mapping[str, Cell]) -> JaxSession:
    """Configure JAX for this process and find the device.

    x64 is switched on for float64 and never off: float32 arrays stay float32 under x64. Raises
    Unavailable where JAX or the device is not here.
    """
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    if not settings.optimize:
        os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *hasty_flags()]).strip()
    try:
        import jax
    except ImportError as error:
        raise Unavailable(f"jax cannot be imported: {error}") from error
    config: Any = jax.config
    if settings.dtype == "float64":
        config.update("jax_enable_x64", True)
    # JAX would use TF32 on a recent GPU
    config.update("jax_default_matmul_precision", "highest")
    config.update("jax_enable_compilation_cache", False)
    devices = _devices()
    name = settings.device.lower()
    if name not in devices:
        raise Unavailable(f'jax has no device "{settings.device}" here. {nearest(settings.device, devices)}')
    config.update("jax_default_device", devices[name])
    return JaxSession(settings, cells, devices)


def hasty_flags() -> list[str]:
    """For XLA: compile what is not timed in less than half of the time."""
    flags = ["--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true"]
    # XLA ends the process for a flag that it does not know, and nobody promises this one
    if version("jaxlib").startswith("0.10."):
        flags.append("--xla_cpu_use_fusion_emitters=false")
    return flags


def _devices() -> dict[str, jax.Device]:
    import jax

    found = {"cpu": jax.devices("cpu")[0]}
    for platform in ACCELERATORS:
        try:
            found[platform.lower()] = jax.devices(platform)[0]
        except RuntimeError:
            continue
    return found


@dataclass(frozen=True, slots=True)
class JaxSession:
    """See ``rnnbench.contracts.Session``. ``device`` is JAX's own, for implementations of one's own."""

    settings: Settings
    cells: Mapping[str, Cell]
    found: Mapping[str, jax.Device]

    @property
    def device(self) -> jax.Device:
        """The device that networks are built on."""
        return self.found[self.settings.device.lower()]

    def devices(self) -> tuple[str, ...]:
        """Devices of this machine that this JAX can use, the CPU first."""
        return tuple(self.found)

    def versions(self) -> dict[str, str]:
        """JAX, jaxlib and, off the CPU, the platform under them."""
        versions = {name: version(name) for name in ("jax", "jaxlib")}
        if self.device.platform != "cpu":
            versions["platform"] = str(self.device.client.platform_version)
        return versions

    def environment(self) -> dict[str, str]:
        """What else decides speed."""
        import jax

        config: Any = jax.config
        return {
            "device": f"{self.device.platform}: {self.device.device_kind}",
            # JAX has no supported knob: it starts as many threads as the affinity mask has cores
            "threads": f"{_usable_cores()} by affinity",
            "matmul precision": str(config.jax_default_matmul_precision),
            "x64": str(bool(config.jax_enable_x64)).lower(),
            "compilation cache": str(bool(config.jax_enable_compilation_cache)).lower(),
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
            "XLA_PYTHON_CLIENT_PREALLOCATE": os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"],
        }

    def product(self, size: int) -> Callable[[], None]:
        """See Session."""
        import jax

        halves = np.random.default_rng(0).uniform(-1, 1, (2, size, size)).astype(self.settings.dtype)
        a, b = (jax.device_put(half, self.device) for half in halves)
        product: Any = jax.jit(lambda a, b: a @ b)

        def multiply() -> None:
            product(a, b).block_until_ready()

        return multiply

    def build(
        self, spec: NetworkSpec, parameters: Parameters, training: TrainingSpec, implementation: str
    ) -> JaxNetwork:
        """See Session. Raises Unsupported for an unknown implementation or a cell without a native form."""
        from rnnbench_jax.cudnn import cudnn_stack, cudnn_takes
        from rnnbench_jax.native import native_layer
        from rnnbench_jax.network import JaxNetwork
        from rnnbench_jax.recurrences import recurrence_of

        cell, dtype = self.cells[spec.cell], self.settings.dtype
        check_decoder(spec, implementation)
        make = partial(JaxNetwork, cell, spec, parameters, training, self.device, dtype)
        if implementation == "portable":
            at_once = isinstance(cell, SequenceCell)
            return make(stack=stack_layers, path="all steps at once" if at_once else "lax.scan")
        if implementation == "scan":
            scanning.check_affine(cell)
            stack = partial(stack_layers, layer=scanning.scan_layer)
            return make(stack=stack, path="lax.associative_scan, custom VJP")
        if implementation == "compiled":
            raise Unsupported("jax has no compiled implementation: XLA compiles portable and native already")
        if implementation != "native":
            raise Unsupported(
                f'jax has no implementation "{implementation}". {nearest(implementation, IMPLEMENTATIONS)}'
            )
        if recurrence_of(cell) is None:
            raise Unsupported(f"jax has no native form of cell {cell.name}; use portable")
        refuse_unknown(spec, HANDLED, by="derivations by hand")
        if cudnn_takes(cell, spec, self.settings.device.lower(), dtype):
            return make(stack=cudnn_stack, path="cuDNN")
        return make(stack=partial(stack_layers, layer=native_layer), path="lax.scan, custom VJP")


def _usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity masks here
        return os.cpu_count() or 1
