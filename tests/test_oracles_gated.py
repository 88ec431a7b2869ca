"""Jordan's network and the gated cells against torch, torchrecurrent and the ONNX evaluator, in float64.

Outputs, final states and gradients. Where no library has the cell, its equations are written again here
over torch's own functions, gate by gate, from the papers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracles import H, I, bare_layers, gates_side_by_side, probe

from rnnbench.cells.normalising import LAYER_NORM_EPSILON
from rnnbench.testing import CELLS

pytestmark = pytest.mark.framework
LAYER = "layers.0.forward."
Run = Callable[[Any, dict[str, Any], Any, dict[str, Any]], tuple[Any, dict[str, Any]]]
"""torch, parameters, x (B,T,I), states (B,...) -> y (B,T,F) and the states at the end."""


def stepwise(step: Callable[..., tuple[Any, ...]]) -> Run:
    """``step(torch, p, x (B,I), *states) -> (*states)``, whose first state is the output."""

    def run(torch: Any, p: dict[str, Any], x: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        states, ys = tuple(state.values()), []
        for t in range(x.shape[1]):
            states = step(torch, p, x[:, t], *states)
            ys.append(states[0])
        return torch.stack(ys, 1), dict(zip(state, states, strict=True))

    return run


@stepwise
def jordan(torch: Any, p: dict[str, Any], x: Any, y: Any) -> tuple[Any, ...]:
    W = torch.cat([p["W_x"][:, 0], p["W_h"][:, 0]])
    h = torch.tanh(torch.nn.functional.linear(torch.cat([x, y], 1), W.T, p["b"][0]))
    return (torch.tanh(torch.nn.functional.linear(h, p["W_y"].T, p["b_y"])),)


def normed(torch: Any, x: Any, gain: Any, shift: Any = None) -> Any:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], gain, shift, LAYER_NORM_EPSILON)


@stepwise
def lstm_layer_norm(torch: Any, p: dict[str, Any], x: Any, h: Any, c: Any) -> tuple[Any, ...]:
    sides = ((x, p["W_x"], p["gain_x"]), (h, p["W_h"], p["gain_h"]))
    z = sum(normed(torch, v @ W.reshape(len(W), -1), gain.reshape(-1)) for v, W, gain in sides)
    i, f, g, o = (z + p["b"].reshape(-1)).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * normed(torch, c, p["gain_c"], p["shift_c"]).tanh(), c


@stepwise
def gru_layer_norm(torch: Any, p: dict[str, Any], x: Any, h: Any) -> tuple[Any, ...]:
    gates, candidates = [], []
    for v, side in ((x, "x"), (h, "h")):
        W, gain = p[f"W_{side}"], p[f"gain_{side}"]
        both = torch.cat([v @ W[:, 0], v @ W[:, 1]], 1)
        gates.append(normed(torch, both, torch.cat([gain[0], gain[1]])))
        candidates.append(normed(torch, v @ W[:, 2], gain[2]))
    r, z = (gates[0] + gates[1] + torch.cat([p["b"][0], p["b"][1]])).sigmoid().chunk(2, 1)
    n = (candidates[0] + p["b"][2] + r * (candidates[1] + p["b_hn"])).tanh()
    return ((1 - z) * n + z * h,)


def torch_lstm(torch: Any, p: dict[str, Any], x: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The kernel of torch.nn.LSTM, with proj_size where there is a W_p."""
    weights = [W.permute(1, 2, 0).reshape(4 * H, -1) for W in (p["W_x"], p["W_h"])]
    weights += [p["b"].reshape(-1), torch.zeros_like(p["b"]).reshape(-1)]
    weights += [p["W_p"].T] if "W_p" in p else []
    start = tuple(value[None] for value in state.values())
    y, h, c = torch.lstm(x, start, weights, True, 1, 0.0, False, False, True)
    return y, {"h": h[0], "c": c[0]}


def lstm_no_forget(torch: Any, p: dict[str, Any], x: Any, state: dict[str, Any]) -> Any:
    """torch's LSTM with a forget gate held open: σ(1000) is 1."""
    ones = {"W_x": 0.0, "W_h": 0.0, "b": 1000.0}
    wide = {
        key: torch.stack(
            [
                p[key][..., 0, :],
                torch.full_like(p[key][..., 0, :], value),
                p[key][..., 1, :],
                p[key][..., 2, :],
            ],
            -2,
        )
        for key, value in ones.items()
    }
    return torch_lstm(torch, wide, x, state)


def lstm_coupled(torch: Any, p: dict[str, Any], x: Any, state: dict[str, Any]) -> Any:
    """torch's LSTM whose input gate is σ(-z_f) = 1 - σ(z_f)."""
    wide = {key: torch.cat([-value[..., :1, :], value], -2) for key, value in p.items()}
    return torch_lstm(torch, wide, x, state)


def of_torchrecurrent(kind: str, states: tuple[str, ...]) -> Run:
    """A cell of torchrecurrent with our parameters in the place of its own: its gates have our order."""

    def run(torch: Any, p: dict[str, Any], x: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        library = pytest.importorskip("torchrecurrent")
        cell = getattr(library, kind)(I, H, dtype=torch.float64)
        theirs = {
            "weight_ih": p["W_x"].permute(1, 2, 0).reshape(-1, I),
            "weight_hh": p["W_h"].permute(1, 2, 0).reshape(-1, H),
            "bias_ih": p["b"].reshape(-1),
            "bias_hh": torch.zeros_like(p["b"]).reshape(-1),
        }
        if "p_i" in p:
            theirs["weight_ph"] = torch.cat([p["p_i"], p["p_f"], p["p_o"]])
        now, ys = tuple(state[name] for name in states), []
        for t in range(x.shape[1]):
            given = now if len(now) > 1 else now[0]
            after = torch.func.functional_call(cell, theirs, (x[:, t], given))
            now = after if isinstance(after, tuple) else (after,)
            ys.append(now[0])
        return torch.stack(ys, 1), dict(zip(states, now, strict=True))

    return run


ORACLES: dict[str, tuple[str, Run]] = {
    "torch nn.LSTM, forget gate open": ("lstm_no_forget", lstm_no_forget),
    "torchrecurrent OriginalLSTM": (
        "lstm_no_forget",
        of_torchrecurrent("OriginalLSTMCell", ("h", "c")),
    ),
    "torchrecurrent PeepholeLSTM": (
        "lstm_peephole",
        of_torchrecurrent("PeepholeLSTMCell", ("h", "c")),
    ),
    "torch nn.LSTM, tied gates": ("lstm_coupled", lstm_coupled),
    "torch nn.LSTM, proj_size": ("lstm_projected", torch_lstm),
    "torchrecurrent MGU": ("mgu", of_torchrecurrent("MGUCell", ("h",))),
    "Jordan written again": ("jordan", jordan),
    "Ba's LSTM written again": ("lstm_layer_norm", lstm_layer_norm),
    "Ba's GRU written again": ("gru_layer_norm", gru_layer_norm),
}


@pytest.mark.parametrize("oracle", ORACLES)
def test_outputs_states_and_gradients(oracle: str) -> None:
    torch = pytest.importorskip("torch")
    name, run = ORACLES[oracle]
    parameters, batch, y, state, gradients = probe(CELLS[name], bare_layers(CELLS[name]))
    assert batch.state is not None
    p = {
        key.removeprefix(LAYER): torch.tensor(value, requires_grad=True)
        for key, value in parameters.items()
        if key.startswith(LAYER)
    }
    start = {key.removeprefix(LAYER): torch.from_numpy(value) for key, value in batch.state.items()}
    found, final = run(torch, p, torch.from_numpy(batch.inputs), start)
    np.testing.assert_allclose(found.detach().numpy(), y, atol=1e-14)
    assert set(final) == {key.removeprefix(LAYER) for key in state}
    for key, value in final.items():
        np.testing.assert_allclose(value.detach().numpy(), state[LAYER + key], atol=1e-14)
    torch.nn.functional.mse_loss(found, torch.from_numpy(batch.targets)).backward()
    for key, value in p.items():
        np.testing.assert_allclose(value.grad.numpy(), gradients[LAYER + key], atol=1e-13)
        assert np.abs(gradients[LAYER + key]).max() > 1e-6, "a gradient that is zero proves nothing"


@pytest.mark.parametrize("seen", ["lstm_peephole", "lstm"])
def test_peepholes_are_those_of_the_onnx_operator(seen: str) -> None:
    """Its input P; without peepholes the operator must be told apart from our cell."""
    helper = pytest.importorskip("onnx.helper")
    onnx = pytest.importorskip("onnx")
    evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator
    cell = CELLS["lstm_peephole"]
    parameters, batch, y, state, _ = probe(cell, bare_layers(cell))
    assert batch.state is not None
    p = {key.removeprefix(LAYER): value for key, value in parameters.items()}
    peepholes = np.concatenate([p["p_i"], p["p_o"], p["p_f"]])
    feeds = {
        "X": batch.inputs.swapaxes(0, 1),
        "W": gates_side_by_side(cell, p["W_x"], "iofg").T[None],
        "R": gates_side_by_side(cell, p["W_h"], "iofg").T[None],
        "B": np.concatenate([gates_side_by_side(cell, p["b"], "iofg"), np.zeros(4 * H)])[None],
        "h": batch.state[LAYER + "h"][None],
        "c": batch.state[LAYER + "c"][None],
        "P": (peepholes if seen == "lstm_peephole" else np.zeros(3 * H))[None],
    }
    outputs = ("Y", "Y_h", "Y_c")
    double = onnx.TensorProto.DOUBLE
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["X", "W", "R", "B", "", "h", "c", "P"], outputs, hidden_size=H)],
        "layer",
        [helper.make_tensor_value_info(key, double, value.shape) for key, value in feeds.items()],
        [helper.make_tensor_value_info(key, double, None) for key in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
    found, h, c = evaluator(model).run(None, feeds)
    if seen == "lstm":
        assert np.abs(found[:, 0].swapaxes(0, 1) - y).max() > 0.01
        return
    np.testing.assert_allclose(found[:, 0].swapaxes(0, 1), y, atol=1e-14)
    np.testing.assert_allclose(h[0], state[LAYER + "h"], atol=1e-14)
    np.testing.assert_allclose(c[0], state[LAYER + "c"], atol=1e-14)
