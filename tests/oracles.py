"""What the oracle tests share: a network's canonical parameters gate by gate, and the reference's answer."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from rnnbench.choices import Merge
from rnnbench.contracts import Batch, Cell, NetworkSpec, Sizes
from rnnbench.reference import probe_batch, probe_parameters, reference_answers

I, H, P = 3, 5, 2  # noqa: E741 - the field's names


def tensorflow_on_one_thread() -> None:
    """Before TensorFlow computes for anybody, if it is installed.

    It keeps its thread counts from then on, and its backend's tests may follow in this process.
    """
    if find_spec("tensorflow") is None:
        return
    threading = importlib.import_module("tensorflow").config.threading
    if threading.get_intra_op_parallelism_threads() != 1:
        threading.set_intra_op_parallelism_threads(1)
    if threading.get_inter_op_parallelism_threads() != 1:
        threading.set_inter_op_parallelism_threads(1)


def keras_on_one_thread() -> Any:
    """Keras on TensorFlow; skips where it is not installed."""
    pytest.importorskip("tensorflow")
    tensorflow_on_one_thread()
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras was imported with another backend")
    return keras


def bare_layers(cell: Cell, *, layers: int = 1, both: bool = False, lengths: bool = False) -> NetworkSpec:
    """Layers whose outputs are seen through a head that is the identity."""
    merge: Merge = "concat" if both else "none"
    width = cell.output_size(Sizes(I, H, P)) * (2 if both else 1)
    return NetworkSpec(cell.name, I, H, width, "each", "mse", layers, merge, lengths=lengths, projection=P)


def probe(
    cell: Cell, spec: NetworkSpec, length: int = 7, size: int = 4
) -> tuple[dict[str, np.ndarray], Batch, np.ndarray, Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
    """Parameters, batch, and what the reference says: y (B,T,F), final state, gradients."""
    parameters = probe_parameters(cell, spec)
    parameters["head.W"], parameters["head.b"] = np.eye(spec.output_size), np.zeros(spec.output_size)
    batch = probe_batch(cell, spec, length, size)
    answers = reference_answers(cell, spec, parameters, batch)
    return parameters, batch, answers.outputs, answers.state, answers.gradients


def gates_side_by_side(cell: Cell, W: np.ndarray, order: Sequence[str]) -> np.ndarray:
    """W (...,G,H) -> (...,G*H), the gates in another library's order, found by name."""
    return np.concatenate([W[..., cell.gates.index(name), :] for name in order], axis=-1)
