"""Keras 3 as three backends of rnnbench, one for each framework that it runs on.

Importing this package imports neither Keras nor a framework. Which framework Keras runs on is decided
once for a process, before its import; so each backend opens in a worker of its own.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from rnnbench.contracts import Backend, Cell, Session, Settings
from rnnbench.errors import Unavailable
from rnnbench.hookspecs import hookimpl
from rnnbench_keras.forms import keras_form

RNNBENCH_API = 1


@dataclass(frozen=True, slots=True)
class KerasBackend:
    """Keras on one ``framework``; ``distributions`` are those that bring the framework."""

    framework: str
    distributions: tuple[str, ...]

    @property
    def name(self) -> str:
        """``keras-tensorflow``, ``keras-jax`` or ``keras-torch``."""
        return f"keras-{self.framework}"

    def implementations(self, cell: Cell) -> tuple[str, ...]:
        """``native`` for the cells that Keras ships a layer for, nothing for the others."""
        return () if keras_form(cell) is None else ("native",)

    def open(self, settings: Settings, cells: Mapping[str, Cell]) -> Session:
        """Import Keras on this framework, and configure both for the whole process.

        Raises Unavailable where a package or the device is absent, and where Keras already runs on
        another framework in this process.
        """
        for package in ("keras", self.framework):
            if importlib.util.find_spec(package) is None:
                raise Unavailable(
                    f'backend "{self.name}": package "{package}" is not installed. '
                    f"Install it with: pip install {package}"
                )
        running = sys.modules.get("keras")
        if running is not None and running.backend.backend() != self.framework:
            raise Unavailable(
                f'backend "{self.name}": Keras already runs on {running.backend.backend()} in this process. '
                "Open it in a process of its own."
            )
        os.environ.update(import_variables(self.framework, settings))
        from rnnbench_keras.session import open_session

        return open_session(self.name, self.framework, settings, cells)


def import_variables(framework: str, settings: Settings) -> dict[str, str]:
    """Environment variables that are read while packages are imported or first compute, never later."""
    wanted = {"KERAS_BACKEND": framework}
    match framework:
        case "tensorflow":
            wanted["TF_CPP_MIN_LOG_LEVEL"] = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3")
        case "jax":
            wanted["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
            if not settings.optimize:
                wanted["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *hasty_flags()]).strip()
        case "torch":
            wanted["KERAS_TORCH_DEVICE"] = settings.device
    return wanted


def hasty_flags() -> list[str]:
    """For XLA: compile what is not timed in less than half of the time."""
    flags = ["--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true"]
    # XLA ends the process for a flag that it does not know, and nobody promises this one
    if version("jaxlib").startswith("0.10."):
        flags.append("--xla_cpu_use_fusion_emitters=false")
    return flags


BACKENDS = (
    KerasBackend(
        "tensorflow",
        (
            "tensorflow",
            "tensorflow-cpu",
            "tensorflow-macos",
            "tensorflow-intel",
            "tensorflow-rocm",
            "tf-nightly",
            "tf-nightly-cpu",
        ),
    ),
    KerasBackend("jax", ("jax",)),
    KerasBackend("torch", ("torch",)),
)


@hookimpl
def rnnbench_backends() -> Sequence[Backend]:
    """Three backends of one distribution."""
    return BACKENDS
