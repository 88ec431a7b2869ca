"""Jordan's network and the gated cells: closed forms, and cells that are others with tied weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from rnnbench.cells.normalising import layer_norm
from rnnbench.contracts import Batch, Cell, NetworkSpec, Sizes
from rnnbench.numpy_ops import NumpyOps
from rnnbench.reference import Answers, probe_batch, probe_parameters, reference_answers
from rnnbench.testing import CELLS
from rnnbench.training import initialise

LAYER = "layers.0.forward."


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(z)))


def spec_of(cell: Cell, projection: int | None = None) -> NetworkSpec:
    return NetworkSpec(cell.name, 3, 5, 4, "each", "mse", projection=projection)


def answers_of(
    name: str,
    layer: Mapping[str, np.ndarray],
    head: Mapping[str, np.ndarray],
    batch: Batch,
    P: int | None = None,
) -> Answers:
    cell = CELLS[name]
    parameters = {LAYER + key: value for key, value in layer.items()} | dict(head)
    return reference_answers(cell, spec_of(cell, P), parameters, batch, steps=0)


def probe(name: str, P: int | None = None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Batch]:
    """Of one layer, of the head; and a batch."""
    cell = CELLS[name]
    parameters = probe_parameters(cell, spec_of(cell, P))
    layer = {key.removeprefix(LAYER): value for key, value in parameters.items() if key.startswith(LAYER)}
    head = {key: value for key, value in parameters.items() if key.startswith("head.")}
    return layer, head, probe_batch(cell, spec_of(cell, P), 6, 3)


def final_state(name: str, state: Mapping[str, Any], steps: int, **given: Any) -> dict[str, np.ndarray]:
    """Of one sequence of zeros through a layer whose parameters are zero but for those given."""
    cell, H = CELLS[name], len(next(iter(state.values())))
    layer = {key: np.zeros(shape) for key, shape in cell.shapes(Sizes(3, H, H)).items()}
    for key, value in given.items():
        layer[key] = np.broadcast_to(np.asarray(value, float), layer[key].shape)
    spec = NetworkSpec(name, 3, H, 1, "last", "mse", projection=H)
    start = {LAYER + key: np.asarray(value, float)[None] for key, value in state.items()}
    parameters = {LAYER + key: value for key, value in layer.items()}
    parameters |= {"head.W": np.ones((H, 1)), "head.b": np.zeros(1)}
    batch = Batch(np.zeros((1, steps, 3)), np.zeros((1, 1)), None, start)
    found = reference_answers(cell, spec, parameters, batch, steps=0).state
    return {key.removeprefix(LAYER): value[0] for key, value in found.items()}


def rows(*values: float) -> np.ndarray:
    """Of a bias: a value for each gate."""
    return np.asarray(values)[:, None]


def test_without_a_forget_gate_the_cell_integrates() -> None:
    final = final_state("lstm_no_forget", {"h": [0.3, -0.2], "c": [1.0, -2.0]}, 50, b=rows(0.4, -0.7, 0.2))
    c = np.add([1.0, -2.0], 50 * sigmoid(0.4) * np.tanh(-0.7))
    np.testing.assert_allclose(final["c"], c, rtol=1e-13)
    np.testing.assert_allclose(final["h"], sigmoid(0.2) * np.tanh(c), rtol=1e-13)


def test_coupled_gates_hold_the_cell_between_what_was_and_what_comes() -> None:
    final = final_state("lstm_coupled", {"h": [0.3, -0.2], "c": [1.0, -2.0]}, 20, b=rows(3.0, -0.7, 0.2))
    g = np.tanh(-0.7)
    np.testing.assert_allclose(final["c"], g + np.subtract([1.0, -2.0], g) * sigmoid(3.0) ** 20, rtol=1e-12)


def test_peepholes_of_one_step_by_hand() -> None:
    c0, b = np.array([0.8, -1.1]), rows(0.1, 0.2, 0.3, 0.4)
    p_i, p_f, p_o = np.array([0.5, -0.3]), np.array([-0.7, 0.6]), np.array([1.5, 0.9])
    final = final_state("lstm_peephole", {"h": [0.3, -0.2], "c": c0}, 1, b=b, p_i=p_i, p_f=p_f, p_o=p_o)
    c = sigmoid(0.2 + p_f * c0) * c0 + sigmoid(0.1 + p_i * c0) * np.tanh(0.3)
    np.testing.assert_allclose(final["c"], c, rtol=1e-13)
    np.testing.assert_allclose(final["h"], sigmoid(0.4 + p_o * c) * np.tanh(c), rtol=1e-13)
    # the common mistake: an output gate that sees the old cell state
    assert np.abs(final["h"] - sigmoid(0.4 + p_o * c0) * np.tanh(c)).max() > 0.03


def test_jordan_feeds_its_output_back() -> None:
    layer, head, batch = probe("jordan", 2)
    found = answers_of("jordan", layer, head, batch, 2)
    assert batch.state is not None
    for row in range(3):
        y = batch.state[LAYER + "y"][row]
        for t in range(6):
            h = np.tanh(batch.inputs[row, t] @ layer["W_x"][:, 0] + y @ layer["W_h"][:, 0] + layer["b"][0])
            y = np.tanh(h @ layer["W_y"] + layer["b_y"])
            np.testing.assert_allclose(found.outputs[row, t], y @ head["head.W"] + head["head.b"], rtol=1e-12)
        np.testing.assert_allclose(found.state[LAYER + "y"][row], y, rtol=1e-12)


@pytest.mark.parametrize(("bias", "kept"), [(-40.0, 1.0), (40.0, 0.0), (0.0, 0.5)])
def test_the_gate_of_mgu_lets_the_new_in(bias: float, kept: float) -> None:
    final = final_state("mgu", {"h": [0.3, -0.2]}, 1, b=rows(bias, 0.8))
    expected = kept * np.array([0.3, -0.2]) + (1 - kept) * np.tanh(0.8)
    np.testing.assert_allclose(final["h"], expected, atol=1e-12)


def assert_same(found: Answers, expected: Answers, tied: Mapping[str, np.ndarray]) -> None:
    """Equal outputs, states and gradients; ``tied``: what the chain rule makes of the other cell's."""
    np.testing.assert_allclose(found.outputs, expected.outputs, atol=1e-13)
    for name, value in expected.state.items():
        np.testing.assert_allclose(found.state[name], value, atol=1e-13)
    for name, gradient in tied.items():
        np.testing.assert_allclose(found.gradients[LAYER + name], gradient, atol=1e-13)
    np.testing.assert_allclose(found.gradients["head.W"], expected.gradients["head.W"], atol=1e-13)


GATED = ("W_x", "W_h", "b")


def test_coupled_gates_are_an_lstm_whose_input_gate_is_the_forget_gate_negated() -> None:
    layer, head, batch = probe("lstm_coupled")
    f, g, o = (0, 1, 2)
    wide = {key: layer[key][..., [f, f, g, o], :] * rows(-1, 1, 1, 1) for key in GATED}  # σ(-z) = 1 - σ(z)
    expected = answers_of("lstm", wide, head, batch)
    d = {key: expected.gradients[LAYER + key] for key in GATED}
    tied = {
        key: np.stack([each[..., 1, :] - each[..., 0, :], each[..., 2, :], each[..., 3, :]], axis=-2)
        for key, each in d.items()
    }
    assert_same(answers_of("lstm_coupled", layer, head, batch), expected, tied)


def test_mgu_is_a_gru_that_resets_and_updates_with_one_gate() -> None:
    layer, head, batch = probe("mgu")
    u, n = (0, 1)
    wide = {key: layer[key][..., [u, u, n], :] * rows(1, -1, 1) for key in GATED}  # z keeps: 1 - u
    expected = answers_of("gru_reset_before", wide, head, batch)
    d = {key: expected.gradients[LAYER + key] for key in GATED}
    tied = {key: np.stack([e[..., 0, :] - e[..., 1, :], e[..., 2, :]], axis=-2) for key, e in d.items()}
    assert_same(answers_of("mgu", layer, head, batch), expected, tied)
    # reset after the product is another function
    after = answers_of("gru", wide | {"b_hn": np.zeros(5)}, head, batch)
    assert np.abs(after.outputs - expected.outputs).max() > 0.01


def test_a_projection_that_is_the_identity_changes_nothing() -> None:
    layer, head, batch = probe("lstm")
    found = answers_of("lstm_projected", layer | {"W_p": np.eye(5)}, head, batch, 5)
    expected = answers_of("lstm", layer, head, batch)
    assert_same(found, expected, {key: expected.gradients[LAYER + key] for key in GATED})
    scaled = answers_of("lstm_projected", layer | {"W_p": 2 * np.eye(5)}, head, batch, 5)
    assert np.abs(scaled.outputs - expected.outputs).max() > 0.05


def test_layer_norm_of_two_numbers() -> None:
    y = layer_norm(NumpyOps(), np.array([[0.0, 2.0]]), np.array([1.0, 3.0]), np.array([0.0, 0.5]))
    np.testing.assert_allclose(y, [[-1 / np.sqrt(1 + 1e-5), 3 / np.sqrt(1 + 1e-5) + 0.5]], rtol=1e-15)


@pytest.mark.parametrize("kernel", ["W_x", "W_h"])
def test_a_normalised_lstm_does_not_see_scale_and_common_shift_of_its_kernels(kernel: str) -> None:
    layer, head, batch = probe("lstm_layer_norm")
    big = layer | {kernel: 1e6 * layer[kernel]}  # so large that ε does not count
    expected = answers_of("lstm_layer_norm", big, head, batch).outputs
    shift = np.arange(1.0, 1 + len(layer[kernel]))[:, None, None]
    for other in (30 * big[kernel], big[kernel] + 1e6 * shift):
        found = answers_of("lstm_layer_norm", big | {kernel: other}, head, batch).outputs
        np.testing.assert_allclose(found, expected, atol=1e-11)
    # of one gate alone both count: the gates share mean and variance
    one = big[kernel] * rows(1, 30, 1, 1)
    assert (
        np.abs(answers_of("lstm_layer_norm", big | {kernel: one}, head, batch).outputs - expected).max()
        > 0.01
    )


@pytest.mark.parametrize("kernel", ["W_x", "W_h"])
def test_a_normalised_gru_norms_its_candidate_apart_from_its_gates(kernel: str) -> None:
    layer, head, batch = probe("gru_layer_norm")
    big = layer | {kernel: 1e6 * layer[kernel]}
    expected = answers_of("gru_layer_norm", big, head, batch).outputs
    for scales, seen in (((30, 30, 1), False), ((1, 1, 30), False), ((1, 30, 1), True)):
        found = answers_of("gru_layer_norm", big | {kernel: big[kernel] * rows(*scales)}, head, batch).outputs
        error = np.abs(found - expected).max()
        assert error > 0.01 if seen else error < 1e-11


@pytest.mark.parametrize("init", ["uniform", "glorot", "orthogonal", "identity"])
def test_gains_start_at_one_and_forget_biases_where_a_gate_forgets(init: str) -> None:
    def start(name: str) -> dict[str, np.ndarray]:
        found = initialise(CELLS[name], spec_of(CELLS[name]), init, 1.5, seed=0)
        return {key.removeprefix(LAYER): value for key, value in found.items()}

    for name in ("lstm_layer_norm", "gru_layer_norm"):
        for key, value in start(name).items():
            if key.startswith(("gain", "shift")):
                np.testing.assert_array_equal(value, float(key.startswith("gain")))
    raised = {"lstm_coupled": "f", "lstm_peephole": "f", "lstm_projected": "f", "lstm_layer_norm": "f"}
    for name in (*raised, "lstm_no_forget", "mgu", "jordan", "gru_layer_norm"):
        bound = 1 / np.sqrt(5) if init == "uniform" else 0.0
        b = start(name)["b"]
        for gate, row in zip(CELLS[name].gates, b, strict=True):
            assert np.abs(row - 1.5 * (raised.get(name) == gate)).max() <= bound
    if init != "uniform":
        assert all(not start("lstm_peephole")[key].any() for key in ("p_i", "p_f", "p_o"))
