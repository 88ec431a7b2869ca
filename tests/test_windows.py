"""Truncated back-propagation through time: closed forms, invariances, full where windows are long enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from rnnbench.cells.elman import Elman
from rnnbench.choices import Readout
from rnnbench.contracts import Batch, Cell, NetworkSpec
from rnnbench.reference import Answers, probe_batch, probe_parameters, reference_answers
from rnnbench.testing import CELLS

LINEAR = Elman("elman_linear", "linear")
SCALAR = NetworkSpec("elman_linear", 1, 1, 1, "last", "mse")
w, X, TARGET = 0.8, (0.3, -1.1, 0.7, 0.9, -0.4, 1.3, 0.2), 0.25
T = len(X)


def scalar_answers(window: int | None, readout: Readout = "last") -> Answers:
    """h_t = w h_{t-1} + x_t, y_t = h_t, L = (y_T - target)²: of one sequence and one unit."""
    spec = replace(SCALAR, window=window, readout=readout)
    one, none = np.ones((1, 1)), np.zeros((1, 1))
    prefix = "layers.0.forward."
    parameters = {f"{prefix}W_x": one[:, None], f"{prefix}W_h": w * one[:, None], f"{prefix}b": none}
    parameters |= {"head.W": one, "head.b": none[0]}
    shape = (1, T, 1) if readout == "each" else (1, 1)
    batch = Batch(np.array(X).reshape(1, T, 1), np.full(shape, TARGET))
    return reference_answers(LINEAR, spec, parameters, batch, steps=0)


def dh_dw(t: int, start: int) -> float:
    """dh_t/dw where nothing flows back over step ``start``: Σ_{s=start..t} w^(t-s) h_{s-1}, steps from 0."""
    h = [0.0]
    for x in X:
        h.append(w * h[-1] + x)
    return sum(w ** (t - s) * h[s] for s in range(start, t + 1))


def start_of_window(t: int, window: int) -> int:
    """The first step of the window of step t; the last window ends with step T-1."""
    return max(0, T - window * ((T - 1 - t) // window + 1))


@pytest.mark.parametrize("window", [1, 2, 3, 4, 6, 7, 9, None])
def test_the_last_window_alone_has_gradients_of_the_last_output(window: int | None) -> None:
    h = sum(w ** (T - 1 - s) * X[s] for s in range(T))
    answers = scalar_answers(window)
    start = 0 if window is None else max(0, T - window)
    gradients = answers.gradients
    assert float(gradients["layers.0.forward.W_h"].item()) == pytest.approx(
        2 * (h - TARGET) * dh_dw(T - 1, start), rel=1e-12
    )
    inputs = sum(w ** (T - 1 - s) * X[s] for s in range(start, T))
    assert float(gradients["layers.0.forward.W_x"].item()) == pytest.approx(
        2 * (h - TARGET) * inputs, rel=1e-12
    )
    assert answers.loss == pytest.approx((h - TARGET) ** 2, rel=1e-12)


@pytest.mark.parametrize("window", [1, 2, 3, 5])
def test_gradients_of_all_windows_are_summed(window: int) -> None:
    h = [sum(w ** (t - s) * X[s] for s in range(t + 1)) for t in range(T)]
    expected = sum(2 * (h[t] - TARGET) * dh_dw(t, start_of_window(t, window)) for t in range(T)) / T
    got = scalar_answers(window, "each").gradients["layers.0.forward.W_h"].item()
    assert got == pytest.approx(expected, rel=1e-12)
    assert got != pytest.approx(
        scalar_answers(None, "each").gradients["layers.0.forward.W_h"].item(), rel=1e-3
    )


def answers(cell: Cell, spec: NetworkSpec, batch: Batch) -> Answers:
    return reference_answers(cell, spec, probe_parameters(cell, spec), batch, steps=0)


def assert_equal(
    given: Mapping[str, NDArray[np.float64]], expected: Mapping[str, NDArray[np.float64]]
) -> None:
    for name, value in expected.items():
        np.testing.assert_array_equal(given[name], value, err_msg=name)


HARD = NetworkSpec("", 3, 4, 2, "each", "mse", layers=2, bidirectional="concat", lengths=True)


@pytest.mark.parametrize("name", ["elman", "lstm", "gru"])
def test_only_gradients_are_truncated_and_none_by_a_window_of_all_steps(name: str) -> None:
    cell, spec = CELLS[name], replace(HARD, cell=name)
    batch = probe_batch(cell, spec, 7, 3)
    full = answers(cell, spec, batch)
    for window in (7, 8):
        same = answers(cell, replace(spec, window=window), batch)
        assert_equal(same.gradients, full.gradients)
    cut = answers(cell, replace(spec, window=3), batch)
    # a product over fewer steps may round its last bit otherwise
    assert cut.loss == pytest.approx(full.loss, rel=1e-14)
    np.testing.assert_allclose(cut.outputs, full.outputs, rtol=1e-13)
    for each, value in full.state.items():
        np.testing.assert_allclose(cut.state[each], value, rtol=1e-13)
    worst = max(np.abs(cut.gradients[each] - value).max() for each, value in full.gradients.items())
    assert worst > 1e-3


def test_windows_are_sequences_of_their_own_that_start_from_the_state_before() -> None:
    """Of a loss over all steps and one direction: the sum of gradients of each piece, from its state."""
    cell, spec = CELLS["lstm"], NetworkSpec("lstm", 3, 4, 2, "each", "mse", layers=2)
    batch = probe_batch(cell, spec, 7, 3)
    cut = answers(cell, replace(spec, window=3), batch).gradients
    summed = {name: np.zeros_like(value) for name, value in cut.items()}
    state = batch.state
    for part in (slice(0, 1), slice(1, 4), slice(4, 7)):
        piece = Batch(batch.inputs[:, part], batch.targets[:, part], None, state)
        given = answers(cell, spec, piece)
        state, steps = given.state, part.stop - part.start
        for name in summed:
            summed[name] += given.gradients[name] * steps / 7
    for name, value in summed.items():
        np.testing.assert_allclose(cut[name], value, rtol=1e-12, atol=1e-14)
