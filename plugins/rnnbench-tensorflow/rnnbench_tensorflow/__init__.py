"""TensorFlow as a backend of rnnbench; importing this package does not import TensorFlow."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rnnbench.contracts import AffineCell, Backend, Cell, Session, Settings
from rnnbench.errors import Unavailable
from rnnbench.hookspecs import hookimpl
from rnnbench_tensorflow.forms import keras_form

RNNBENCH_API = 1

INSTALL = (
    'Install one: pip install "rnnbench-tensorflow[cpu]" (tensorflow-cpu, small) or '
    'pip install "rnnbench-tensorflow[tensorflow]" (tensorflow)'
)


@dataclass(frozen=True, slots=True)
class TensorflowBackend:
    """TensorFlow with Keras 3, from whichever distribution is installed."""

    name: str = "tensorflow"
    distributions: tuple[str, ...] = (
        "tensorflow",
        "tensorflow-cpu",
        "tensorflow-macos",
        "tensorflow-intel",
        "tensorflow-rocm",
        "tf-nightly",
        "tf-nightly-cpu",
    )

    def implementations(self, cell: Cell) -> tuple[str, ...]:
        """``native`` where Keras has a layer, ``scan`` for affine cells, the others for all."""
        native = () if keras_form(cell) is None else ("native",)
        scan = ("scan",) if isinstance(cell, AffineCell) else ()
        return (*native, *scan, "portable", "compiled")

    def open(self, settings: Settings, cells: Mapping[str, Cell]) -> Session:
        """Import TensorFlow and configure it, once for the whole process.

        Raises Unavailable where TensorFlow or Keras 3 is not installed, the device is absent, or
        this process has already started TensorFlow with other settings.
        """
        for package in ("tensorflow", "keras"):
            if importlib.util.find_spec(package) is None:
                raise Unavailable(f'backend "tensorflow": package "{package}" is not installed. {INSTALL}')
        # both are read while the packages are imported, never later
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ["KERAS_BACKEND"] = "tensorflow"
        from rnnbench_tensorflow.session import open_session

        return open_session(settings, cells)


@hookimpl
def rnnbench_backends() -> Sequence[Backend]:
    """The one backend of this distribution."""
    return (TensorflowBackend(),)
