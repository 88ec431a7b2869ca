"""Keras on one framework, imported and configured in a worker."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras  # type: ignore[import-untyped]
import numpy as np

from rnnbench.cells.handling import refuse_unknown
from rnnbench.contracts import Cell, NetworkSpec, Parameters, Settings, TrainingSpec
from rnnbench.errors import Unavailable, Unsupported, nearest
from rnnbench_keras.forms import HANDLED, keras_form
from rnnbench_keras.layers import KerasStack
from rnnbench_keras.network import Framework, KerasNetwork


def open_session(name: str, framework: str, settings: Settings, cells: Mapping[str, Cell]) -> KerasSession:
    """Configure the process; see ``KerasBackend.open``."""
    if int(keras.__version__.split(".")[0]) < 3:
        raise Unavailable(
            f'backend "{name}": Keras {keras.__version__} is too old. pip install "keras>=3.12"'
        )
    opened = importlib.import_module(f"rnnbench_keras.on_{framework}").open_framework(name, settings)
    # a user's keras.json may say otherwise
    keras.config.set_floatx(settings.dtype)
    return KerasSession(name, framework, settings, cells, opened)


@dataclass(frozen=True, slots=True)
class KerasSession:
    """See ``rnnbench.contracts.Session``."""

    name: str
    where: str
    settings: Settings
    cells: Mapping[str, Cell]
    framework: Framework

    def devices(self) -> tuple[str, ...]:
        """See Session."""
        return self.framework.devices()

    def versions(self) -> dict[str, str]:
        """Keras, and the framework under it."""
        return {"keras": str(keras.__version__), **self.framework.versions()}

    def environment(self) -> dict[str, str]:
        """The framework's, and which others Keras has imported beside it."""
        others = sorted({"tensorflow", "jax", "torch"} & set(sys.modules) - {self.where})
        return {**self.framework.environment(), "also imported by Keras": ", ".join(others) or "none"}

    def product(self, size: int) -> Callable[[], None]:
        """See Session."""
        halves = np.random.default_rng(0).uniform(-1, 1, (2, size, size)).astype(self.settings.dtype)
        a, b = (self.framework.place(half) for half in halves)
        return lambda: self.framework.multiply(a, b)

    def build(
        self, spec: NetworkSpec, parameters: Parameters, training: TrainingSpec, implementation: str
    ) -> KerasNetwork:
        """See Session. Raises Unsupported for what Keras has no layer for, and for float64 off TensorFlow."""
        cell = self.cells.get(spec.cell)
        if cell is None:
            raise Unsupported(f'no cell "{spec.cell}". {nearest(spec.cell, self.cells)}')
        if implementation != "native":
            raise Unsupported(
                f'backend "{self.name}" has no implementation "{implementation}". Allowed: native. '
                f"For the cell's own step ask {self.where}."
            )
        form = keras_form(cell)
        if form is None:
            raise Unsupported(f'Keras has no layer for cell "{spec.cell}"; ask {self.where} for it')
        refuse_unknown(
            spec, HANDLED, by="whole layers of Keras", instead="ask tensorflow, jax or torch for it"
        )
        dtype = self.settings.dtype
        if dtype == "float64" and self.where != "tensorflow":
            raise Unsupported(
                f"Keras casts float64 to float32 on {self.where}; use float32, or keras-tensorflow"
            )
        stack = KerasStack.create(cell, spec, training, form, self.framework.turn, dtype)
        start = {key: np.asarray(value, dtype) for key, value in parameters.items()}
        return KerasNetwork(stack, self.framework.run(stack, start), dtype, self.where)
