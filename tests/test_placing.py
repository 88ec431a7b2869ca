"""Batches on a device: every field arrives, in its layout, as integers or in the network's dtype."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from rnnbench.cells.network import network_loss, network_outputs
from rnnbench.cells.placing import DeviceBatch, batch_loss, batch_outputs, place
from rnnbench.contracts import Batch, DecoderSpec, NetworkSpec, TrainingSpec
from rnnbench.numpy_ops import NumpyOps
from rnnbench.reference import probe_batch, probe_parameters
from rnnbench.testing import CELLS

B, T, S, OPS = 4, 7, 5, NumpyOps()
EACH = NetworkSpec("gru", 3, 5, 4, "each", "mse", layers=2, lengths=True, dropout=0.4)
DECODER = replace(EACH, layers=1, dropout=0.0, loss="cross_entropy", decoder=DecoderSpec(3))


def put(values: np.ndarray, integers: bool) -> np.ndarray:
    return np.array(values, np.int64 if integers else np.float32)


def test_a_field_of_a_batch_is_one_of_a_device_batch() -> None:
    assert DeviceBatch._fields == tuple(field.name for field in fields(Batch))


@pytest.mark.parametrize("batch_major", [False, True])
def test_every_field_arrives_number_by_number(batch_major: bool) -> None:
    rng = np.random.default_rng(3)
    host = Batch(
        inputs=rng.standard_normal((B, T, 3)),
        targets=rng.integers(0, 4, (B, S)).astype(np.int32),
        lengths=np.array([7, 3, 1, 4], np.int32),
        state={"layers.0.forward.h": rng.standard_normal((B, 5))},
        dropout={"layers.1": rng.standard_normal((B, 1, 5))},
        target_lengths=np.array([2, 5, 1, 3], np.int32),
        decoder_inputs=rng.integers(0, 5, (B, S)).astype(np.int32),
    )
    data = place(DECODER, host, put, batch_major=batch_major)
    assert all(value is not None for value in data)
    for b in range(B):
        for t in range(T):
            assert np.array_equal(
                data.inputs[(b, t) if batch_major else (t, b)], np.float32(host.inputs[b, t])
            )
        for s in range(S):
            assert data.targets[s, b] == host.targets[b, s]
            assert data.decoder_inputs[s, b] == host.decoder_inputs[b, s]
        assert np.array_equal(
            data.dropout["layers.1"][(b, 0) if batch_major else (0, b)],
            np.float32(host.dropout["layers.1"][b, 0]),
        )
    assert np.array_equal(data.state["layers.0.forward.h"], np.float32(host.state["layers.0.forward.h"]))
    assert np.array_equal(data.lengths, host.lengths)
    assert np.array_equal(data.target_lengths, host.target_lengths)
    integers = data.targets, data.lengths, data.target_lengths, data.decoder_inputs
    assert {value.dtype for value in integers} == {np.dtype(np.int64)}
    assert {data.inputs.dtype, data.dropout["layers.1"].dtype} == {np.dtype(np.float32)}


def test_tokens_are_integers_and_targets_of_the_last_step_stay_as_they_are() -> None:
    spec = replace(EACH, readout="last", vocab=9)
    host = probe_batch(CELLS["gru"], spec, T, B)
    data = place(spec, replace(host, state=None, dropout=None), put)
    assert data.inputs.dtype == np.int64
    assert data.targets.dtype == np.float32
    assert np.array_equal(data.targets, np.float32(host.targets))
    assert data.state is data.dropout is data.target is None


def exact(values: np.ndarray, integers: bool) -> Any:
    return values


def test_dropout_acts_in_training_alone_and_running_statistics_come_of_it_alone() -> None:
    cell, spec = CELLS["gru"], replace(EACH, norm="batch")
    parameters, host = probe_parameters(cell, spec), probe_batch(cell, spec, T, B)
    data = place(spec, host, exact)
    plain, final = batch_outputs(OPS, cell, spec, parameters, data)
    undropped, _ = batch_outputs(OPS, cell, spec, parameters, data._replace(dropout=None))
    assert np.array_equal(plain, undropped)
    assert set(final) == {"layers.0.forward.h", "layers.1.forward.h"}
    loss, running = batch_loss(OPS, cell, spec, TrainingSpec(), parameters, data)
    without, _ = batch_loss(OPS, cell, spec, TrainingSpec(), parameters, data._replace(dropout=None))
    assert abs(loss - without) > 1e-3
    assert set(running) == {f"layers.{k}.norm.{name}" for k in range(2) for name in ("mean", "variance")}


def test_the_loss_counts_valid_steps_of_the_targets_own_lengths_and_the_penalty() -> None:
    """Against a loop over sequences and steps, from the logits of a decoder."""
    cell, training = CELLS["gru"], TrainingSpec(l2=0.3)
    parameters, host = probe_parameters(cell, DECODER), probe_batch(cell, DECODER, T, B)
    data = place(DECODER, host, exact)
    loss, _ = batch_loss(OPS, cell, DECODER, training, parameters, data)
    logits, _ = network_outputs(
        OPS, cell, DECODER, parameters, data.inputs, data.lengths, data.state, target=data.target
    )
    errors = [
        np.log(np.exp(logits[s, b]).sum()) - logits[s, b, host.targets[b, s]]
        for b in range(B)
        for s in range(host.target_lengths[b])
    ]
    squares = sum((p**2).sum() for name, p in parameters.items() if name.rsplit(".", 1)[-1][0] == "W")
    assert np.isclose(loss, np.mean(errors) + 0.15 * squares, rtol=1e-12)
    wrong = network_loss(OPS, DECODER, logits, data.targets, data.lengths)
    assert abs(wrong - np.mean(errors)) > 1e-3, "the source's lengths would be seen"
