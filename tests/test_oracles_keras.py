"""The reference against Keras on TensorFlow, in float64: the one library with both forms of GRU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import H, bare_layers, gates_side_by_side, keras_on_one_thread, probe

from rnnbench.contracts import Cell
from rnnbench.testing import CELLS

pytestmark = [pytest.mark.framework, pytest.mark.slow]
KERAS_GATES = {
    "elman": "h",
    "elman_relu": "h",
    "elman_sigmoid": "h",
    "lstm": "ifgo",
    "gru": "zrn",
    "gru_reset_before": "zrn",
}
KERAS_ACTIVATIONS = {"elman": "tanh", "elman_relu": "relu", "elman_sigmoid": "sigmoid"}


@pytest.fixture(scope="module")
def keras() -> Any:
    return keras_on_one_thread()


def keras_layer(keras: Any, cell: Cell) -> Any:
    options = {"return_sequences": True, "return_state": True, "dtype": "float64"}
    if cell.name == "lstm":
        return keras.layers.LSTM(H, **options)
    if cell.name.startswith("gru"):
        return keras.layers.GRU(H, reset_after=cell.name == "gru", **options)
    return keras.layers.SimpleRNN(H, activation=KERAS_ACTIVATIONS[cell.name], **options)


@pytest.mark.parametrize("name", KERAS_GATES)
@pytest.mark.parametrize("lengths", [False, True])
def test_keras(keras: Any, name: str, lengths: bool) -> None:
    cell = CELLS[name]
    parameters, batch, y, state, _ = probe(cell, bare_layers(cell, lengths=lengths))
    assert batch.state is not None
    prefix = "layers.0.forward."
    W_x, W_h, bias = (
        gates_side_by_side(cell, parameters[prefix + key], KERAS_GATES[name]) for key in ("W_x", "W_h", "b")
    )
    if name == "gru":
        second = np.zeros_like(bias)
        second[2 * H :] = parameters[prefix + "b_hn"]
        bias = np.stack([bias, second])
    layer = keras_layer(keras, cell)
    layer.build(batch.inputs.shape)
    layer.set_weights([W_x, W_h, bias])
    start = [batch.state[prefix + key] for key in (("h", "c") if name == "lstm" else ("h",))]
    mask = None
    valid = np.ones(y.shape[:2], bool)
    if batch.lengths is not None:
        mask = valid = np.arange(y.shape[1]) < batch.lengths[:, None]
    found, *final = layer(np.nan_to_num(batch.inputs), initial_state=start, mask=mask)
    np.testing.assert_allclose(np.asarray(found)[valid], y[valid], atol=1e-13)
    for key, value in zip(("h", "c"), final, strict=False):
        np.testing.assert_allclose(np.asarray(value), state[prefix + key], atol=1e-13)
