"""A toy whose implementations each make one mistake that the gate must catch; "none_at_all" makes none."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rnnbench.contracts import Backend, Batch, Cell, Network, NetworkSpec, Parameters, Settings, TrainingSpec
from rnnbench.hookspecs import hookimpl

sys.path.insert(0, str(Path(__file__).parent / "example-plugin"))
import rnnbench_example as toy


def permuted_gate(parameters: Parameters) -> Parameters:
    def permuted(value: np.ndarray) -> np.ndarray:
        return value[:, [1, 0, *range(2, value.shape[1])]]

    return {n: permuted(v) if n.endswith(("W_x", "W_h")) else v for n, v in parameters.items()}


def dropped_bias(parameters: Parameters) -> Parameters:
    return {n: 0 * v if n.endswith(".b") else v for n, v in parameters.items()}


def transposed_recurrence(parameters: Parameters) -> Parameters:
    return {n: np.swapaxes(v, 0, 2) if n.endswith("W_h") else v for n, v in parameters.items()}


def without_reset_bias(parameters: Parameters) -> Parameters:
    return {n: v for n, v in parameters.items() if not n.endswith("b_hn")}


def leaking_padding(batch: Batch) -> Batch:
    if batch.lengths is None:
        return batch
    return replace(batch, lengths=np.full_like(batch.lengths, batch.inputs.shape[1]))


def swapped_states(batch: Batch) -> Batch:
    if batch.state is None:
        return batch
    other = {"h": "c", "c": "h"}
    return replace(batch, state={name: batch.state[name[:-1] + other[name[-1]]] for name in batch.state})


def forgotten_state(batch: Batch) -> Batch:
    return replace(batch, state=None)


IN_PARAMETERS = {f.__name__: f for f in (permuted_gate, dropped_bias, transposed_recurrence)}
IN_PARAMETERS["reset_before_for_after"] = without_reset_bias
IN_BATCH = {f.__name__: f for f in (leaking_padding, swapped_states, forgotten_state)}


class WrongNetwork(toy.ToyNetwork):
    mistake = ""
    updates = 0

    def put(self, batch: Batch) -> Any:
        return super().put(IN_BATCH.get(self.mistake, lambda batch: batch)(batch))

    def forward(self, batch: Any) -> tuple[Any, Any]:
        y, state = super().forward(batch)
        return (y * np.float32(1.003) if self.mistake == "rough_output" else y), state

    def gradients(self, batch: Any) -> tuple[Any, Any]:
        loss, gradients = super().gradients(batch)
        if self.mistake == "half_gradient":
            gradients = {n: 0.5 * g if n.endswith("W_h") else g for n, g in gradients.items()}
        return loss, gradients

    def train_step(self, batch: Any) -> Any:
        self.updates += 1
        if self.mistake == "idle_optimizer" and self.updates == 3:
            return super().gradients(batch)[0]
        return super().train_step(batch)


@dataclass(frozen=True)
class WrongSession(toy.ToySession):
    def build(
        self, spec: NetworkSpec, parameters: Parameters, training: TrainingSpec, implementation: str
    ) -> Network:
        mistake = implementation
        cell = "gru_reset_before" if mistake == "reset_before_for_after" else spec.cell
        if mistake in IN_PARAMETERS:
            parameters = IN_PARAMETERS[mistake](parameters)
        network = WrongNetwork(self.cells[cell], spec, parameters, training, self.settings.dtype)
        network.mistake = mistake
        return network


@dataclass(frozen=True)
class Wrong(toy.Toy):
    def open(self, settings: Settings, cells: Mapping[str, Cell]) -> WrongSession:
        return WrongSession(settings, cells)


@hookimpl
def rnnbench_backends() -> Sequence[Backend]:
    return [Wrong("wrong")]
