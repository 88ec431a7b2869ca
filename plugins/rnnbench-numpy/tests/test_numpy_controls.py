"""Negative controls: break the native network in the ways that implementations get wrong, and be caught."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rnnbench_numpy import session as session_module
from rnnbench_numpy.backend import NumpyBackend
from rnnbench_numpy.native import network as network_module
from rnnbench_numpy.native.gru_reset_before import GRUResetBeforeKernel
from rnnbench_numpy.native.layer import Layer
from rnnbench_numpy.native.lstm import LSTMKernel
from rnnbench_numpy.native.rows import Rows, rows_of
from rnnbench_numpy.native.weights import Weights

from rnnbench.contracts import NetworkSpec, Settings
from rnnbench.records import Parity
from rnnbench.testing import CELLS, parity_of


def parity(cell: str) -> Parity:
    session = NumpyBackend().open(Settings(), CELLS)
    spec = NetworkSpec(cell, 3, 5, 4, "last", "cross_entropy", lengths=True)
    return parity_of(session, CELLS[cell], spec, "native", "float32")


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
def test_unbroken_passes(cell: str) -> None:
    assert parity(cell).passed


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_reset_before"])
def test_a_permuted_gate_is_caught(monkeypatch: pytest.MonkeyPatch, cell: str) -> None:
    start = Layer.__init__

    def permuted(self: Layer, kernel: Any, gates: tuple[str, ...], dtype: Any) -> None:
        start(self, kernel, (gates[1], gates[0], *gates[2:]), dtype)

    monkeypatch.setattr(Layer, "__init__", permuted)
    assert parity(cell).worst["outputs"] > 100


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
def test_a_dropped_bias_is_caught(monkeypatch: pytest.MonkeyPatch, cell: str) -> None:
    load = Layer.load

    def biasless(self: Layer, parameters: Mapping[str, np.ndarray]) -> None:
        load(self, {**parameters, "b": np.zeros_like(parameters["b"])})

    monkeypatch.setattr(Layer, "load", biasless)
    assert parity(cell).worst["outputs"] > 100


def test_swapped_h_and_c_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = LSTMKernel.forward

    def swapped(self: LSTMKernel, w: Weights, u: Any, start: Any, *rest: Any) -> dict[str, np.ndarray]:
        return forward(self, w, u, {"h": start["c"], "c": start["h"]}, *rest)

    monkeypatch.setattr(LSTMKernel, "forward", swapped)
    assert parity("lstm").worst["outputs"] > 100


def test_swapped_final_states_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = LSTMKernel.forward

    def swapped(self: LSTMKernel, *given: Any) -> dict[str, np.ndarray]:
        states = forward(self, *given)
        return {"h": states["c"], "c": states["h"]}

    monkeypatch.setattr(LSTMKernel, "forward", swapped)
    found = parity("lstm")
    assert found.worst["outputs"] <= 1 < 100 < found.worst["state"]


def test_reset_before_for_reset_after_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    class WrongKernel(GRUResetBeforeKernel):
        others = ("b_hn",)

        def backward(self, *given: Any) -> Any:
            found = super().backward(*given)
            return replace(found, others={"b_hn": np.zeros(5, np.float32)})

    monkeypatch.setattr(session_module, "kernel_of", lambda cell: WrongKernel())
    assert parity("gru").worst["outputs"] > 100


def test_padding_that_leaks_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(size: int, steps: int, lengths: np.ndarray | None) -> Rows:
        # one step too many, wherever there is one
        return rows_of(size, steps, None if lengths is None else np.minimum(lengths + 1, steps))

    monkeypatch.setattr(network_module, "rows_of", leaking)
    assert not parity("lstm").passed
