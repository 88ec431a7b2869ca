"""The reference against torch.nn and against the ONNX reference evaluator, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from oracles import H, bare_layers, gates_side_by_side, probe

from rnnbench.contracts import Cell
from rnnbench.testing import CELLS

pytestmark = pytest.mark.framework
TORCH_GATES = {"elman": "h", "elman_relu": "h", "lstm": "ifgo", "gru": "rzn"}
ONNX_GATES = {"elman": "h", "lstm": "iofg", "gru": "zrn", "gru_reset_before": "zrn"}


def torch_module(
    torch: Any, cell: Cell, parameters: Mapping[str, np.ndarray], layers: int, both: bool, features: int = 3
) -> Any:
    kinds = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
    options = {"nonlinearity": "relu"} if cell.name == "elman_relu" else {}
    module = kinds.get(cell.name, torch.nn.RNN)(
        features, H, layers, batch_first=True, bidirectional=both, dtype=torch.float64, **options
    )
    for layer in range(layers):
        for direction, suffix in (("forward", ""), ("backward", "_reverse"))[: 1 + both]:
            p = {
                name: gates_side_by_side(
                    cell, parameters[f"layers.{layer}.{direction}.{name}"], TORCH_GATES[cell.name]
                )
                for name in ("W_x", "W_h", "b")
            }
            second = np.zeros_like(p["b"])
            if cell.name == "gru":
                second[2 * H :] = parameters[f"layers.{layer}.{direction}.b_hn"]
            values = {"weight_ih": p["W_x"].T, "weight_hh": p["W_h"].T, "bias_ih": p["b"], "bias_hh": second}
            for name, value in values.items():
                getattr(module, f"{name}_l{layer}{suffix}").data[:] = torch.from_numpy(value.copy())
    return module


@pytest.mark.parametrize("name", TORCH_GATES)
@pytest.mark.parametrize(
    ("layers", "both", "packed"), [(1, False, False), (2, True, False), (2, False, True), (2, True, True)]
)
def test_torch_nn(name: str, layers: int, both: bool, packed: bool) -> None:
    torch = pytest.importorskip("torch")
    cell = CELLS[name]
    spec = bare_layers(cell, layers=layers, both=both, lengths=packed)
    parameters, batch, y, state, gradients = probe(cell, spec)
    assert batch.state is not None
    module = torch_module(torch, cell, parameters, layers, both)
    places = [f"layers.{layer}.{way}" for layer in range(layers) for way in spec.directions]

    def stacked(key: str) -> Any:
        assert batch.state is not None
        return torch.from_numpy(np.stack([batch.state[f"{place}.{key}"] for place in places]))

    start = (stacked("h"), stacked("c")) if name == "lstm" else stacked("h")
    x = torch.from_numpy(np.nan_to_num(batch.inputs))
    if packed:
        x = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.from_numpy(batch.lengths), batch_first=True, enforce_sorted=False
        )
    found, final = module(x, start)
    valid = np.ones(y.shape[:2], bool)
    if packed:
        found, _ = torch.nn.utils.rnn.pad_packed_sequence(found, batch_first=True)
        assert batch.lengths is not None
        valid = np.arange(y.shape[1]) < batch.lengths[:, None]
    np.testing.assert_allclose(found.detach().numpy(), np.where(valid[..., None], y, 0.0), atol=1e-14)
    for key, values in zip(("h", "c"), final if name == "lstm" else (final,), strict=False):
        for place, value in zip(places, values.detach().numpy(), strict=True):
            np.testing.assert_allclose(value, state[f"{place}.{key}"], atol=1e-14)

    targets = torch.from_numpy(np.nan_to_num(batch.targets))
    mask = torch.from_numpy(valid)
    torch.nn.functional.mse_loss(found[mask], targets[mask]).backward()
    for place in places:
        suffix = f"_l{place.split('.')[1]}" + ("_reverse" if place.endswith("backward") else "")
        for key, theirs in (("W_x", "weight_ih"), ("W_h", "weight_hh"), ("b", "bias_ih")):
            expected = gates_side_by_side(cell, gradients[f"{place}.{key}"], TORCH_GATES[name])
            gradient = getattr(module, theirs + suffix).grad.numpy().T
            np.testing.assert_allclose(gradient, expected, atol=1e-13)
        if name == "gru":
            gradient = getattr(module, "bias_hh" + suffix).grad.numpy()[2 * H :]
            np.testing.assert_allclose(gradient, gradients[f"{place}.b_hn"], atol=1e-13)


def onnx_layer(cell: Cell, p: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Y (T,1,B,H) and the final states (1,B,H) of ONNX's own operator, one forward layer."""
    helper = pytest.importorskip("onnx.helper")
    evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator
    onnx = pytest.importorskip("onnx")
    operator = {"lstm": "LSTM", "gru": "GRU", "gru_reset_before": "GRU"}.get(cell.name, "RNN")
    options = {"linear_before_reset": int(cell.name == "gru")} if operator == "GRU" else {}
    order = ONNX_GATES[cell.name]
    first = gates_side_by_side(cell, p["b"], order)
    second = np.zeros_like(first)
    if cell.name == "gru":
        second[2 * H :] = p["b_hn"]
    feeds = {
        "X": inputs["X"],
        "W": gates_side_by_side(cell, p["W_x"], order).T[None],
        "R": gates_side_by_side(cell, p["W_h"], order).T[None],
        "B": np.concatenate([first, second])[None],
        "initial_h": inputs["h"][None],
    }
    names = ["X", "W", "R", "B", "", "initial_h"]
    outputs = ["Y", "Y_h"]
    if operator == "LSTM":
        feeds["initial_c"] = inputs["c"][None]
        names, outputs = [*names, "initial_c"], [*outputs, "Y_c"]
    double = onnx.TensorProto.DOUBLE
    graph = helper.make_graph(
        [helper.make_node(operator, names, outputs, hidden_size=H, **options)],
        "layer",
        [helper.make_tensor_value_info(name, double, value.shape) for name, value in feeds.items()],
        [helper.make_tensor_value_info(name, double, None) for name in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
    return evaluator(model).run(None, feeds)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ONNX_GATES)
def test_onnx_reference_evaluator(name: str) -> None:
    cell = CELLS[name]
    spec = bare_layers(cell)
    parameters, batch, y, state, _ = probe(cell, spec)
    assert batch.state is not None
    prefix = "layers.0.forward."
    p = {key[len(prefix) :]: value for key, value in parameters.items() if key.startswith(prefix)}
    start = {key[len(prefix) :]: value for key, value in batch.state.items()}
    found, *final = onnx_layer(cell, p, {"X": batch.inputs.swapaxes(0, 1), **start})
    np.testing.assert_allclose(found[:, 0].swapaxes(0, 1), y, atol=1e-14)
    for key, value in zip(("h", "c"), final, strict=False):
        np.testing.assert_allclose(value[0], state[prefix + key], atol=1e-14)


def test_the_two_grus_of_onnx_tell_ours_apart() -> None:
    cell = CELLS["gru"]
    parameters, batch, y, _, _ = probe(cell, bare_layers(cell))
    assert batch.state is not None
    prefix = "layers.0.forward."
    p = {key[len(prefix) :]: value for key, value in parameters.items() if key.startswith(prefix)}
    before = CELLS["gru_reset_before"]
    inputs = {"X": batch.inputs.swapaxes(0, 1), "h": batch.state[prefix + "h"]}
    found = onnx_layer(before, p, inputs)[0]
    assert np.abs(found[:, 0].swapaxes(0, 1) - y).max() > 0.01
