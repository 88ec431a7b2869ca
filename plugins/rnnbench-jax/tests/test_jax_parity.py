"""Both implementations against the float64 reference, and mistakes that the gate must catch."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import pytest
import rnnbench_jax.native
from rnnbench_jax import JaxBackend, recurrences

from rnnbench.cells import rnnbench_cells
from rnnbench.contracts import NetworkSpec
from rnnbench.testing import covering_specs, parity_of, step_parity_of

pytestmark = pytest.mark.framework

# all others are portable alone, and the parity matrix has them
CELLS = [cell.name for cell in rnnbench_cells() if "native" in JaxBackend().implementations(cell)]
DENSE = NetworkSpec("", 3, 5, 4, "each", "mse")
HARD = replace(DENSE, layers=2, bidirectional="concat", lengths=True)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("spec", [DENSE, HARD], ids=["dense", "hard"])
def test_native_equals_the_reference_in_float64(sessions, cells, name, spec):
    parity = parity_of(sessions["float64"], cells[name], replace(spec, cell=name), "native", "float64")
    assert parity.passed, parity


@pytest.mark.parametrize("name", CELLS)
def test_native_equals_the_reference_in_float32(sessions, cells, name):
    parity = parity_of(sessions["float32"], cells[name], replace(HARD, cell=name), "native", "float32")
    assert parity.passed, parity


@pytest.mark.parametrize("name", CELLS)
def test_portable_equals_the_reference_in_float64(sessions, cells, name):
    parity = parity_of(sessions["float64"], cells[name], replace(HARD, cell=name), "portable", "float64")
    assert parity.passed, parity


def test_portable_equals_the_reference_in_float32(sessions, cells):
    parity = parity_of(sessions["float32"], cells["gru"], replace(HARD, cell="gru"), "portable", "float32")
    assert parity.passed, parity


@pytest.mark.parametrize("implementation", ["native", "portable"])
def test_tokens_read_at_the_last_valid_step(sessions, cells, implementation):
    spec = NetworkSpec("lstm", 3, 5, 4, "last", "cross_entropy", vocab=11, lengths=True)
    assert parity_of(sessions["float64"], cells["lstm"], spec, implementation, "float64").passed


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("vocab", [None, 11])
def test_repeated_steps_are_the_whole(sessions, cells, name, vocab):
    spec = replace(DENSE, cell=name, layers=2, vocab=vocab)
    # the step is the same whatever runs whole sequences
    parity = step_parity_of(sessions["float64"], cells[name], spec, "native", "float64")
    assert parity.passed, parity


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["native", "portable"])
@pytest.mark.parametrize("spec", list(covering_specs(next(iter(rnnbench_cells())))), ids=str)
def test_every_composition(sessions, cells, spec, implementation):
    spec = replace(spec, cell="lstm")
    assert parity_of(sessions["float64"], cells["lstm"], spec, implementation, "float64").passed


def caught(sessions, cells, name: str, *, lengths: bool = False) -> bool:
    """Whether the gate refuses the native implementation in float32, where it is the more tolerant."""
    spec = NetworkSpec(name, 3, 5, 4, "last", "mse", lengths=lengths)
    return not parity_of(sessions["float32"], cells[name], spec, "native", "float32").passed


def test_the_gate_passes_where_nothing_is_broken(sessions, cells):
    assert not caught(sessions, cells, "lstm")


def test_a_permuted_gate_is_caught(sessions, cells, monkeypatch):
    permuted = recurrences.LSTMRecurrence(("f", "i", "g", "o"))
    monkeypatch.setattr(rnnbench_jax.native, "recurrence_of", lambda cell: permuted)
    assert caught(sessions, cells, "lstm")


def test_a_dropped_bias_is_caught(sessions, cells, monkeypatch):
    layer = rnnbench_jax.native.native_layer

    def without_bias(ops, cell, p, x, mask, state):
        return layer(ops, cell, {**p, "b": jnp.zeros_like(p["b"])}, x, mask, state)

    monkeypatch.setattr(rnnbench_jax.native, "native_layer", without_bias)
    assert caught(sessions, cells, "elman")


def test_swapped_h_and_c_are_caught(sessions, cells, monkeypatch):
    layer = rnnbench_jax.native.native_layer

    def swapped(ops, cell, p, x, mask, state):
        y, last = layer(ops, cell, p, x, mask, {"h": state["c"], "c": state["h"]})
        return y, {"h": last["c"], "c": last["h"]}

    monkeypatch.setattr(rnnbench_jax.native, "native_layer", swapped)
    assert caught(sessions, cells, "lstm")


def test_reset_before_for_after_is_caught(sessions, cells, monkeypatch):
    def reset_before(self, p, W, u, state):
        shifted = {**u, "n": u["n"] + p["b_hn"]}
        new, saved = recurrences.GRUResetBeforeRecurrence(self.gates).forward(p, W, shifted, state)
        return new, {**saved, "a": state["h"] @ W["n"]}

    monkeypatch.setattr(recurrences.GRURecurrence, "forward", reset_before)
    assert caught(sessions, cells, "gru")


def test_padding_that_leaks_is_caught(sessions, cells, monkeypatch):
    layer = rnnbench_jax.native.native_layer

    def leaking(ops, cell, p, x, mask, state):
        return layer(ops, cell, p, x, None, state)

    monkeypatch.setattr(rnnbench_jax.native, "native_layer", leaking)
    assert caught(sessions, cells, "elman", lengths=True)


def test_a_wrong_derivative_is_caught(sessions, cells, monkeypatch):
    gradient = recurrences.affine_gradient

    def late(h, gates, du):
        return gradient(jnp.roll(h, 1, axis=0), gates, du)

    monkeypatch.setattr(recurrences, "affine_gradient", late)
    assert caught(sessions, cells, "lstm")


@pytest.mark.parametrize("implementation", ["native", "portable"])
def test_truncated_gradients_are_those_of_the_reference(sessions, cells, implementation):
    spec = replace(DENSE, cell="lstm", lengths=True, window=3)
    parity = parity_of(sessions["float64"], cells["lstm"], spec, implementation, "float64")
    assert parity.passed, parity
