"""Cells and the network around them: counts, closed forms, invariances. No framework needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest

from rnnbench.cells.network import network_loss, network_outputs, parameter_shapes, state_shapes
from rnnbench.cells.placing import time_major
from rnnbench.contracts import Batch, Cell, NetworkSpec, Sizes
from rnnbench.numpy_ops import NumpyOps
from rnnbench.reference import probe_batch, probe_parameters
from rnnbench.testing import CELLS, RECURRENT

EVERY = pytest.mark.parametrize("cell", RECURRENT.values(), ids=RECURRENT)
OPS = NumpyOps()


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(z)))


def outputs_of(
    cell: Cell, spec: NetworkSpec, parameters: Mapping[str, np.ndarray], batch: Batch
) -> tuple[np.ndarray, dict[str, Any]]:
    """Batch-major outputs and the final state."""
    data = time_major(spec, batch)
    y, state = network_outputs(OPS, cell, spec, parameters, data.inputs, data.lengths, data.state)
    return (np.swapaxes(y, 0, 1) if spec.readout == "each" else y), state


def last_state(cell: Cell, parameters: Mapping[str, Any], x: Any, state: Mapping[str, Any]) -> dict[str, Any]:
    """State after x (T,I) of one sequence from ``state`` {name: (H,)}; parameters of the layer alone."""
    H = len(next(iter(state.values())))
    spec = NetworkSpec(cell.name, x.shape[1], H, H, "last", "mse")
    prefix = "layers.0.forward."
    full = {prefix + name: np.asarray(value, float) for name, value in parameters.items()}
    full |= {"head.W": np.eye(H), "head.b": np.zeros(H)}
    start = {prefix + name: np.asarray(value, float)[None] for name, value in state.items()}
    y, final = outputs_of(cell, spec, full, Batch(x[None], np.zeros((1, H)), None, start))
    np.testing.assert_array_equal(y, final[prefix + "h"])
    return {name[len(prefix) :]: value[0] for name, value in final.items()}


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("elman", 24_704),
        ("elman_relu", 24_704),
        ("jordan", 16_544),
        ("lstm", 98_816),
        ("lstm_no_forget", 74_112),
        ("lstm_peephole", 99_200),
        ("lstm_coupled", 74_112),
        ("lstm_projected", 53_760),
        ("lstm_layer_norm", 100_096),
        ("gru", 74_240),
        ("gru_reset_before", 74_112),
        ("gru_layer_norm", 75_008),
        ("mgu", 49_408),
        ("mingru", 16_640),
        ("minlstm", 24_960),
        ("qrnn", 49_536),
        ("sru", 33_280),
        ("lru", 33_216),
        ("strongly_typed", 16_512),
        ("ligru", 49_408),
        ("indrnn", 8_448),
        ("antisymmetric", 24_704),
        ("cornn", 41_088),
        ("esn", 24_704),
    ],
)
def test_parameter_counts(name: str, count: int) -> None:
    assert sum(prod(shape) for shape in CELLS[name].shapes(Sizes(64, 128)).values()) == count


@pytest.mark.parametrize(("name", "P", "count"), [("jordan", 10, 10_890), ("lstm_projected", 32, 53_760)])
def test_parameter_counts_with_a_projection(name: str, P: int, count: int) -> None:
    sizes = Sizes(64, 128, P)
    assert sum(prod(shape) for shape in CELLS[name].shapes(sizes).values()) == count
    assert CELLS[name].output_size(sizes) == P
    assert CELLS[name].output_size(Sizes(64, 3)) == 1


@EVERY
def test_names_shapes_and_papers(cell: Cell) -> None:
    sizes = Sizes(3, 5)
    shapes = cell.shapes(sizes)
    G = len(cell.gates)
    back = cell.output_size(sizes)
    for name, shape in {"W_x": (3, G, 5), "W_h": (back, G, 5), "b": (G, 5)}.items():
        assert shapes.get(name, shape) == shape
    assert cell.output_size(sizes) >= 1
    assert cell.state_shapes(sizes)
    assert cell.paper
    assert hash(cell) == hash(replace(cell))  # type: ignore[type-var]


def test_parameters_of_a_network_have_canonical_names() -> None:
    spec = NetworkSpec("lstm", 3, 5, 4, "last", "mse", 2, "concat", vocab=11)
    shapes = parameter_shapes(CELLS["lstm"], spec)
    assert shapes["embed.E"] == (11, 3)
    assert shapes["layers.0.backward.W_x"] == (3, 4, 5)
    assert shapes["layers.1.forward.W_x"] == (10, 4, 5)
    assert (shapes["head.W"], shapes["head.b"]) == ((10, 4), (4,))
    assert len(shapes) == 1 + 2 * 2 * 3 + 2
    assert parameter_shapes(CELLS["lstm"], replace(spec, bidirectional="sum"))["head.W"] == (5, 4)
    assert state_shapes(CELLS["lstm"], spec)["layers.1.backward.c"] == (5,)


@pytest.mark.parametrize(("bias", "expected"), [(0.0, 8.8818e-16), (1.0, 1.57619e-7), (3.0, 0.0880925)])
def test_a_zero_weight_lstm_forgets_by_its_forget_bias(bias: float, expected: float) -> None:
    b = np.zeros((4, 2))
    b[CELLS["lstm"].gates.index("f")] = bias
    parameters = {"W_x": np.zeros((3, 4, 2)), "W_h": np.zeros((2, 4, 2)), "b": b}
    x = np.random.default_rng(0).standard_normal((50, 3))
    # c_T is linear in c_0 here, so this quotient is dc_T/dc_0
    final = last_state(CELLS["lstm"], parameters, x, {"h": [0.3, -0.2], "c": [1.0, -2.0]})
    np.testing.assert_allclose(final["c"] / [1.0, -2.0], sigmoid(bias) ** 50, rtol=1e-12)
    np.testing.assert_allclose(final["c"] / [1.0, -2.0], expected, rtol=2e-5)


def test_one_lstm_step_by_hand() -> None:
    # I = H = 1; every number below is worked out from the equations, not from the code
    W_x, W_h, b = (
        [[[0.5], [-1.0], [2.0], [0.25]]],
        [[[1.0], [0.5], [-0.5], [2.0]]],
        [[0.1], [0.2], [0.3], [0.4]],
    )
    z_i, z_f, z_g, z_o = (
        2 * w + 0.5 * u + c for w, u, c in ((0.5, 1, 0.1), (-1, 0.5, 0.2), (2, -0.5, 0.3), (0.25, 2, 0.4))
    )
    c = sigmoid(z_f) * -0.7 + sigmoid(z_i) * np.tanh(z_g)
    final = last_state(
        CELLS["lstm"], {"W_x": W_x, "W_h": W_h, "b": b}, np.array([[2.0]]), {"h": [0.5], "c": [-0.7]}
    )
    np.testing.assert_allclose([final["c"][0], final["h"][0]], [c, sigmoid(z_o) * np.tanh(c)], rtol=1e-14)


@pytest.mark.parametrize(("z", "kept"), [(40.0, 1.0), (-40.0, 0.0), (0.0, 0.5)])
@pytest.mark.parametrize("name", ["gru", "gru_reset_before"])
def test_z_of_a_gru_keeps_the_old_state(name: str, z: float, kept: float) -> None:
    cell = CELLS[name]
    parameters = {key: np.zeros(shape) for key, shape in cell.shapes(Sizes(1, 1)).items()}
    parameters["b"][cell.gates.index("z")] = z
    parameters["b"][cell.gates.index("n")] = 0.8
    final = last_state(cell, parameters, np.zeros((1, 1)), {"h": [0.3]})
    assert final["h"][0] == pytest.approx(kept * 0.3 + (1 - kept) * np.tanh(0.8), abs=1e-12)


def test_reset_after_and_before_differ_with_the_same_weights() -> None:
    spec = NetworkSpec("gru", 3, 5, 4, "each", "mse")
    after, before = CELLS["gru"], CELLS["gru_reset_before"]
    parameters = probe_parameters(after, spec)
    parameters["layers.0.forward.b_hn"] *= 0
    batch = probe_batch(after, spec, 7, 3)
    y_after, _ = outputs_of(after, spec, parameters, batch)
    shared = {name: value for name, value in parameters.items() if not name.endswith("b_hn")}
    y_before, _ = outputs_of(before, spec, shared, batch)
    assert np.abs(y_after - y_before).max() > 0.05
    # with U_n diagonal and constant the reset commutes with the product, and they agree
    for values in (parameters, shared):
        values["layers.0.forward.W_h"] = values["layers.0.forward.W_h"].copy()
        values["layers.0.forward.W_h"][:, 2] = 0.7 * np.eye(5)
    y_after, _ = outputs_of(after, spec, parameters, batch)
    y_before, _ = outputs_of(before, spec, shared, batch)
    np.testing.assert_allclose(y_after, y_before, atol=1e-14)


def test_bias_inside_the_reset_counts() -> None:
    spec = NetworkSpec("gru", 3, 5, 4, "last", "mse")
    parameters = probe_parameters(CELLS["gru"], spec)
    batch = probe_batch(CELLS["gru"], spec, 4, 2)
    y, _ = outputs_of(CELLS["gru"], spec, parameters, batch)
    # moving b_hn outside the reset is the common mistake: a different function
    moved = {name: value.copy() for name, value in parameters.items()}
    moved["layers.0.forward.b"][2] += moved["layers.0.forward.b_hn"]
    moved["layers.0.forward.b_hn"] *= 0
    assert np.abs(outputs_of(CELLS["gru"], spec, moved, batch)[0] - y).max() > 0.01


def test_relu_elman_with_identity_counts_and_with_rotation_keeps_length() -> None:
    cell = CELLS["elman_relu"]
    x = np.random.default_rng(0).uniform(0, 1, (30, 2))
    ones = {"W_x": np.eye(2)[:, None], "W_h": np.eye(2)[:, None], "b": np.zeros((1, 2))}
    np.testing.assert_allclose(
        last_state(cell, ones, x, {"h": [1.0, 2.0]})["h"], np.add(x.sum(0), [1.0, 2.0])
    )
    shift = {"W_x": np.zeros((2, 1, 3)), "W_h": np.roll(np.eye(3), 1, 1)[:, None], "b": np.zeros((1, 3))}
    np.testing.assert_array_equal(
        last_state(cell, shift, x[:4], {"h": [1.0, 2.0, 3.0]})["h"], [3.0, 1.0, 2.0]
    )


def test_leaky_elman_below_zero_is_a_geometric_decay() -> None:
    parameters = {"W_x": np.zeros((1, 1, 1)), "W_h": np.ones((1, 1, 1)), "b": np.zeros((1, 1))}
    final = last_state(CELLS["elman_leaky_relu"], parameters, np.zeros((3, 1)), {"h": [-2.0]})
    assert final["h"][0] == pytest.approx(-2.0 * 0.01**3, rel=1e-12)


@pytest.mark.parametrize(("name", "phi"), [("elman", np.tanh), ("elman_sigmoid", sigmoid)])
def test_elman_is_its_equation(name: str, phi: Any) -> None:
    spec = NetworkSpec(name, 3, 5, 4, "last", "mse")
    p = probe_parameters(CELLS[name], spec)
    W_x, W_h, b = (p[f"layers.0.forward.{key}"] for key in ("W_x", "W_h", "b"))
    x, h = np.random.default_rng(2).standard_normal((6, 3)), np.linspace(-1, 1, 5)
    final = last_state(CELLS[name], {"W_x": W_x, "W_h": W_h, "b": b}, x, {"h": h})
    for t in range(6):
        h = phi(x[t] @ W_x[:, 0] + h @ W_h[:, 0] + b[0])
    np.testing.assert_allclose(final["h"], h, rtol=1e-13)


@EVERY
@pytest.mark.parametrize("merge", ["none", "concat", "sum"])
@pytest.mark.parametrize("readout", ["last", "each"])
def test_a_padded_sequence_is_the_sequence_alone(cell: Cell, merge: Any, readout: Any) -> None:
    spec = NetworkSpec(cell.name, 3, 5, 4, readout, "mse", 2, merge, lengths=True)
    parameters = probe_parameters(cell, spec)
    batch = probe_batch(cell, spec, 7, 4)
    assert batch.lengths is not None
    assert batch.state is not None
    y, state = outputs_of(cell, spec, parameters, batch)
    for row, length in enumerate(batch.lengths):
        alone = Batch(
            batch.inputs[row : row + 1, :length],
            batch.targets,
            None,
            {name: value[row : row + 1] for name, value in batch.state.items()},
        )
        y_alone, state_alone = outputs_of(cell, replace(spec, lengths=False), parameters, alone)
        valid = y[row, :length] if readout == "each" else y[row]
        np.testing.assert_allclose(valid, y_alone[0], atol=1e-13)
        for name, value in state_alone.items():
            np.testing.assert_allclose(state[name][row], value[0], atol=1e-13)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("readout", ["last", "each"])
def test_the_loss_is_a_mean_over_valid_steps(loss: Any, readout: Any) -> None:
    cell = CELLS["gru"]
    spec = NetworkSpec("gru", 3, 5, 4, readout, loss, lengths=True)
    data = time_major(spec, batch := probe_batch(cell, spec, 7, 4))
    assert batch.lengths is not None
    y, _ = outputs_of(cell, spec, probe_parameters(cell, spec), batch)
    major = np.swapaxes(y, 0, 1) if readout == "each" else y
    found = network_loss(OPS, spec, major, data.targets, data.lengths)
    errors = []
    for row, length in enumerate(batch.lengths):
        for t in range(length) if readout == "each" else [None]:
            place = row if t is None else (row, t)
            o, target = y[place], batch.targets[place]
            if loss == "mse":
                errors.extend((o - target) ** 2)
            else:
                errors.append(np.log(np.exp(o).sum()) - o[target])
    assert float(found) == pytest.approx(np.mean(errors), rel=1e-13)


@EVERY
@pytest.mark.parametrize("lengths", [None, np.array([5, 3, 1])])
def test_backward_is_forward_on_flipped_input(cell: Cell, lengths: np.ndarray | None) -> None:
    F = cell.output_size(Sizes(3, 5))
    both = NetworkSpec(cell.name, 3, 5, 2 * F, "each", "mse", 1, "concat", lengths=lengths is not None)
    parameters = probe_parameters(cell, both) | {"head.W": np.eye(2 * F), "head.b": np.zeros(2 * F)}
    batch = replace(probe_batch(cell, replace(both, lengths=False), 5, 3), lengths=lengths)
    assert batch.state is not None
    y, state = outputs_of(cell, both, parameters, batch)

    alone = replace(both, bidirectional="none", output_size=F, lengths=False)
    mirrored = {
        name.replace("backward", "forward"): value for name, value in parameters.items() if "backward" in name
    } | {"head.W": np.eye(F), "head.b": np.zeros(F)}
    for row, length in enumerate([5, 5, 5] if lengths is None else lengths):
        start = {
            name.replace("backward", "forward"): value[row : row + 1]
            for name, value in batch.state.items()
            if "backward" in name
        }
        flipped = Batch(batch.inputs[row : row + 1, :length][:, ::-1], batch.targets, None, start)
        y_alone, state_alone = outputs_of(cell, alone, mirrored, flipped)
        np.testing.assert_allclose(y[row, :length, F:], y_alone[0, ::-1], atol=1e-13)
        for name, value in state_alone.items():
            last = state[name.replace("forward", "backward")][row]
            np.testing.assert_allclose(last, value[0], atol=1e-13)


def test_readout_last_takes_the_end_forward_and_the_beginning_backward() -> None:
    cell = CELLS["lstm"]
    each = NetworkSpec("lstm", 3, 5, 10, "each", "mse", 1, "concat", lengths=True)
    parameters = probe_parameters(cell, each) | {"head.W": np.eye(10), "head.b": np.zeros(10)}
    batch = probe_batch(cell, each, 6, 4)
    assert batch.lengths is not None
    y_each, _ = outputs_of(cell, each, parameters, batch)
    y_last, _ = outputs_of(cell, replace(each, readout="last"), parameters, batch)
    ends = y_each[np.arange(4), batch.lengths - 1, :5]
    np.testing.assert_array_equal(y_last, np.hstack([ends, y_each[:, 0, 5:]]))


def test_sum_is_the_sum_of_directions() -> None:
    cell = CELLS["gru"]
    spec = NetworkSpec("gru", 3, 5, 5, "each", "mse", 1, "concat", lengths=True)
    parameters = probe_parameters(cell, spec)
    batch = probe_batch(cell, spec, 6, 4)
    stacked = parameters | {"head.W": np.vstack([np.eye(5), np.eye(5)])}
    y_concat, _ = outputs_of(cell, spec, stacked, batch)
    summed = parameters | {"head.W": np.eye(5)}
    y_sum, _ = outputs_of(cell, replace(spec, bidirectional="sum"), summed, batch)
    np.testing.assert_allclose(y_concat, y_sum, atol=1e-14)


def test_embedding_is_a_table_look_up() -> None:
    cell = CELLS["elman"]
    tokens = NetworkSpec("elman", 3, 5, 4, "last", "cross_entropy", vocab=11, lengths=True)
    parameters = probe_parameters(cell, tokens)
    batch = probe_batch(cell, tokens, 6, 4)
    y, _ = outputs_of(cell, tokens, parameters, batch)
    looked_up = replace(batch, inputs=parameters["embed.E"][batch.inputs])
    y_features, _ = outputs_of(cell, replace(tokens, vocab=None), parameters, looked_up)
    np.testing.assert_array_equal(y, y_features)


@EVERY
def test_running_in_chunks_is_running_at_once(cell: Cell) -> None:
    spec = NetworkSpec(cell.name, 3, 5, 4, "each", "mse", 2)
    parameters = probe_parameters(cell, spec)
    batch = probe_batch(cell, spec, 6, 2)
    whole, _ = outputs_of(cell, spec, parameters, batch)
    for split in (1, 4):
        first, state = outputs_of(cell, spec, parameters, replace(batch, inputs=batch.inputs[:, :split]))
        rest = replace(batch, inputs=batch.inputs[:, split:], state=state)
        second, _ = outputs_of(cell, spec, parameters, rest)
        np.testing.assert_allclose(np.concatenate([first, second], 1), whole, atol=1e-14)
