"""Cells that are linear in their state, and SRU: against second derivations, filters, closed forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from autograd import grad
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import kstest

from rnnbench.cells import rnnbench_cells
from rnnbench.cells.lru import LRU
from rnnbench.cells.mingru import MinGRU
from rnnbench.cells.minlstm import MinLSTM
from rnnbench.cells.network import unroll
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.cells.qrnn import QRNN
from rnnbench.cells.sru import SRU
from rnnbench.cells.strongly_typed import StronglyTyped
from rnnbench.contracts import AffineCell, Cell, NetworkSpec, Sizes
from rnnbench.numpy_ops import NumpyOps
from rnnbench.training import initialise

OPS = NumpyOps()
CELLS: dict[str, Cell] = {
    cell.name: cell for cell in (MinGRU(), MinLSTM(), StronglyTyped(), QRNN(), LRU(), SRU())
}
AFFINE = [cell for cell in rnnbench_cells() if isinstance(cell, AffineCell)]
Values = Mapping[str, Any]


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def layer(
    cell: Cell,
    I: int,  # noqa: E741
    H: int,
    T: int,
    B: int,
    seed: int = 0,
    P: int | None = None,
) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]:
    """Random parameters, inputs (T,B,I) and states (B,...)."""
    rng = np.random.default_rng([23, seed])
    sizes = Sizes(I, H, P)
    p = {name: rng.uniform(-1, 1, shape) for name, shape in cell.shapes(sizes).items()}
    state = {name: rng.uniform(-1, 1, (B, *shape)) for name, shape in cell.state_shapes(sizes).items()}
    return p, rng.standard_normal((T, B, I)), state


# Second derivations, written apart: one sequence, one step after the other; they take complex numbers too.


def mingru_by_hand(p: Values, x: Any, state: Values) -> tuple[Any, dict[str, Any]]:
    (W_z, W_n), (b_z, b_n), h, ys = np.moveaxis(p["W_x"], 1, 0), p["b"], state["h"], []
    for x_t in x:
        z = sigmoid(x_t @ W_z + b_z)
        h = h + z * (x_t @ W_n + b_n - h)
        ys.append(h)
    return np.array(ys), {"h": h}


def minlstm_by_hand(p: Values, x: Any, state: Values) -> tuple[Any, dict[str, Any]]:
    (W_f, W_i, W_n), (b_f, b_i, b_n), h, ys = np.moveaxis(p["W_x"], 1, 0), p["b"], state["h"], []
    for x_t in x:
        f, i = sigmoid(x_t @ W_f + b_f), sigmoid(x_t @ W_i + b_i)
        h = (f * h + i * (x_t @ W_n + b_n)) / (f + i)
        ys.append(h)
    return np.array(ys), {"h": h}


def strongly_typed_by_hand(p: Values, x: Any, state: Values) -> tuple[Any, dict[str, Any]]:
    h, ys = state["h"], []
    for x_t in x:
        f = sigmoid(x_t @ p["W_x"][:, 0] + p["b"][0])
        z = x_t @ p["W_z"]
        h = z + f * (h - z)
        ys.append(h)
    return np.array(ys), {"h": h}


def qrnn_by_hand(p: Values, x: Any, state: Values) -> tuple[Any, dict[str, Any]]:
    c, past, ys = state["c"], state["past"], []
    for x_t in x:
        z, f, o = (x_t @ p["W_x"][:, g] + past[g] + p["b"][g] for g in range(3))
        c = sigmoid(f) * c + sigmoid(-f) * np.tanh(z)
        ys.append(sigmoid(o) * c)
        past = np.array([x_t @ p["W_past"][:, g] for g in range(3)])
    return np.array(ys), {"c": c, "past": past}


def sru_by_hand(p: Values, x: Any, state: Values) -> tuple[Any, dict[str, Any]]:
    c, ys = state["c"], []
    for x_t in x:
        f = sigmoid(x_t @ p["W_x"][:, 0] + p["v"][0] * c + p["b"][0])
        r = sigmoid(x_t @ p["W_x"][:, 1] + p["v"][1] * c + p["b"][1])
        new = x_t @ p["W_c"]
        c = new + f * (c - new)
        skip = x_t @ p["W_skip"] if "W_skip" in p else x_t
        ys.append(skip + r * (c - skip))
    return np.array(ys), {"c": c}


def as_complex(pairs: Any) -> Any:
    return pairs[..., 0] + 1j * pairs[..., 1]


def lru_by_hand(p: Values, x: Any, state: Values) -> tuple[Any, dict[str, Any]]:
    eigenvalues = np.exp(-np.exp(p["nu_log"]) + 1j * np.exp(p["theta_log"]))
    h, ys = as_complex(state["h"]), []
    for x_t in x:
        h = eigenvalues * h + np.exp(p["gamma_log"]) * (x_t @ as_complex(p["W_B"]))
        skip = p["D"] * x_t if "D" in p else x_t @ p["W_D"]
        ys.append((h @ as_complex(p["W_C"])).real + skip)
    return np.array(ys), {"h": np.stack([h.real, h.imag], -1)}


BY_HAND: dict[str, Callable[[Values, Any, Values], tuple[Any, dict[str, Any]]]] = {
    "mingru": mingru_by_hand,
    "minlstm": minlstm_by_hand,
    "strongly_typed": strongly_typed_by_hand,
    "qrnn": qrnn_by_hand,
    "sru": sru_by_hand,
    "lru": lru_by_hand,
}
# with I = H the skips of sru and (P = I) of lru have no matrix
SHAPES = [("mingru", 3, None), ("minlstm", 3, None), ("strongly_typed", 3, None), ("qrnn", 3, None)]
SHAPES += [("sru", 3, None), ("sru", 4, None), ("lru", 3, None), ("lru", 3, 3), ("lru", 2, 3)]


@pytest.mark.parametrize(("name", "features", "projection"), SHAPES)
def test_every_cell_is_its_second_derivation(name: str, features: int, projection: int | None) -> None:
    p, x, state = layer(CELLS[name], features, 4, 6, 3, P=projection)
    y, last = unroll(OPS, CELLS[name], p, x, None, state)
    for row in range(3):
        expected, end = BY_HAND[name](p, x[:, row], {key: value[row] for key, value in state.items()})
        np.testing.assert_allclose(y[:, row], expected, atol=1e-14)
        for key, value in end.items():
            np.testing.assert_allclose(last[key][row], value, atol=1e-14)


@pytest.mark.parametrize(("name", "features", "projection"), SHAPES)
def test_gradients_are_those_of_the_second_derivation(
    name: str, features: int, projection: int | None
) -> None:
    p, x, state = layer(CELLS[name], features, 4, 4, 1, seed=1, P=projection)
    y, last = unroll(OPS, CELLS[name], p, x, None, state)
    rng = np.random.default_rng(5)
    weights = {name: rng.standard_normal(value.shape) for name, value in {"y": y, **last}.items()}

    def loss_of(values: Values) -> Any:
        parts = [{key: values[kind, key] for key in found} for kind, found in (("p", p), ("s", state))]
        y, last = unroll(OPS, CELLS[name], parts[0], values["x", ""], None, parts[1])
        return sum((weights[key] * value).sum() for key, value in {"y": y, **last}.items())

    def loss_by_hand(values: Values) -> Any:
        one = {key: values["s", key][0] for key in state}
        y, last = BY_HAND[name]({key: values["p", key] for key in p}, values["x", ""][:, 0], one)
        total = (weights["y"][:, 0] * y).sum()
        return total + sum((weights[key][0] * value).sum() for key, value in last.items())

    values = {("x", ""): x, **{("p", k): v for k, v in p.items()}, **{("s", k): v for k, v in state.items()}}
    np.testing.assert_allclose(loss_of(values), loss_by_hand(values), rtol=1e-13)
    for key, gradient in grad(loss_of)(values).items():
        found = np.zeros_like(gradient)
        for place in np.ndindex(gradient.shape):
            if name == "lru":
                # the derivation is complex itself: central differences instead of a complex step
                shifted = [dict(values) for _ in range(2)]
                for one, h in zip(shifted, (1e-5, -1e-5), strict=True):
                    one[key] = one[key].copy()
                    one[key][place] += h
                found[place] = (loss_by_hand(shifted[0]) - loss_by_hand(shifted[1])) / 2e-5
            else:
                one = {**values, key: values[key].astype(complex)}
                one[key][place] += 1e-30j
                found[place] = loss_by_hand(one).imag / 1e-30
        tolerance = 1e-8 if name == "lru" else 1e-12
        np.testing.assert_allclose(gradient, found, atol=tolerance, rtol=tolerance, err_msg=str(key))


def unroll_affine(
    cell: AffineCell, p: Values, x: Any, mask: Any, state: Values
) -> tuple[Any, dict[str, Any]]:
    """y and the last state from the cell's coefficients, in a plain loop."""
    u = cell.project(OPS, p, x)
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    while len(before) < len(state):
        found = cell.affine(OPS, p, u, before)
        assert found
        assert not found.keys() & before.keys()
        for name, (a, b) in found.items():
            s, states = state[name], [state[name]]
            assert b.shape == (len(x), *s.shape)
            a = 0 * b if a is None else a
            assert a.shape in (b.shape, (len(x), 1, *s.shape[1:]))
            for t in range(len(x)):
                if cell.complex_state:
                    new = as_complex(a[t]) * as_complex(s) + as_complex(b[t])
                    new = np.stack([new.real, new.imag], -1)
                else:
                    new = a[t] * s + b[t]
                s = np.where(mask[t].reshape(-1, *(1,) * (s.ndim - 1)), new, s)
                states.append(s)
            before[name], after[name] = np.array(states[:-1]), np.array(states[1:])
    y = np.where(mask, cell.read(OPS, p, u, before, after), 0.0)
    return y, {name: value[-1] for name, value in after.items()}


@pytest.mark.parametrize("cell", AFFINE, ids=[cell.name for cell in AFFINE])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    I=st.integers(1, 5),
    H=st.integers(1, 5),
    T=st.integers(1, 7),
    B=st.integers(1, 3),
    seed=st.integers(0, 999),
    masked=st.booleans(),
)
def test_coefficients_and_reading_are_the_step(
    cell: AffineCell,
    I: int,  # noqa: E741
    H: int,
    T: int,
    B: int,
    seed: int,
    masked: bool,
) -> None:
    p, x, state = layer(cell, I, H, T, B, seed)
    mask = np.ones((T, B, 1), bool)
    if masked:
        # anywhere: padding comes last in one direction and first in the other
        mask = np.random.default_rng(seed).random((T, B, 1)) < 0.6
        x = np.where(mask, x, 0.0)
    y, last = unroll(OPS, cell, p, x, mask if masked else None, state)
    found, end = unroll_affine(cell, p, x, mask, state)
    np.testing.assert_allclose(found, y, atol=1e-12)
    assert end.keys() == last.keys()
    for name, value in last.items():
        np.testing.assert_allclose(end[name], value, atol=1e-12)


def test_all_that_are_linear_in_their_state_are_known() -> None:
    assert {cell.name for cell in AFFINE} >= {"mingru", "minlstm", "strongly_typed", "qrnn", "lru"}
    assert not isinstance(SRU(), AffineCell)


def test_wrong_coefficients_are_told_apart() -> None:
    @dataclass(frozen=True, slots=True)
    class Swapped(MinGRU):
        def affine(self, ops: Ops, p: Arrays, u: Arrays, before: Arrays) -> dict[str, tuple[Array, Array]]:
            return {"h": (u["z"], (1 - u["z"]) * u["n"])}

    p, x, state = layer(Swapped(), 3, 4, 5, 2)
    y, _ = unroll(OPS, Swapped(), p, x, None, state)
    found, _ = unroll_affine(Swapped(), p, x, np.ones((5, 2, 1), bool), state)
    assert np.abs(found - y).max() > 0.05


def test_an_sru_is_not_linear_in_its_state_and_others_are() -> None:
    for name, cell in CELLS.items():
        p, x, state = layer(cell, 3, 4, 5, 2)
        ends = []
        for scale in (0, 1, 2):
            start = {key: value if key == "past" else scale * value for key, value in state.items()}
            ends.append(unroll(OPS, cell, p, x, None, start)[0])
        bend = np.abs(ends[0] - 2 * ends[1] + ends[2]).max()
        assert bend > 1e-3 if name == "sru" else bend < 1e-13


def filtered(keep: Any, inputs: Any, start: Any) -> Any:
    """s_t = keep s_{t-1} + inputs_t by SciPy, for inputs (T,B,H) and constants keep (H)."""
    out = np.empty(inputs.shape, np.result_type(keep, inputs))
    for h, k in enumerate(keep):
        out[:, :, h], _ = lfilter([1], [1, -k], inputs[:, :, h], axis=0, zi=k * start[None, :, h])
    return out


def test_with_constant_gates_they_are_moving_averages() -> None:
    p, x, state = layer(MinGRU(), 3, 4, 30, 2)
    p["W_x"][:, 0] = 0
    z = sigmoid(p["b"][0])
    y, _ = unroll(OPS, MinGRU(), p, x, None, state)
    n = x @ p["W_x"][:, 1] + p["b"][1]
    np.testing.assert_allclose(y, filtered(1 - z, z * n, state["h"]), atol=1e-13)

    p, x, state = layer(MinLSTM(), 3, 4, 30, 2)
    p["W_x"][:, 1], p["b"][1] = p["W_x"][:, 0], p["b"][0]
    y, _ = unroll(OPS, MinLSTM(), p, x, None, state)
    n = x @ p["W_x"][:, 2] + p["b"][2]
    np.testing.assert_allclose(y, filtered(np.full(4, 0.5), n / 2, state["h"]), atol=1e-13)

    p, x, state = layer(StronglyTyped(), 3, 4, 30, 2)
    p["W_x"][:] = 0
    f = sigmoid(p["b"][0])
    y, _ = unroll(OPS, StronglyTyped(), p, x, None, state)
    np.testing.assert_allclose(y, filtered(f, (1 - f) * (x @ p["W_z"]), state["h"]), atol=1e-13)

    p, x, state = layer(SRU(), 4, 4, 30, 2)
    p["W_x"][:], p["v"][:] = 0, 0
    f, r = sigmoid(p["b"])
    y, _ = unroll(OPS, SRU(), p, x, None, state)
    c = filtered(f, (1 - f) * (x @ p["W_c"]), state["c"])
    np.testing.assert_allclose(y, r * c + (1 - r) * x, atol=1e-13)


@pytest.mark.framework
def test_a_strongly_typed_rnn_is_torchrecurrents_without_a_bias_of_z() -> None:
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("torchrecurrent")
    p, x, state = layer(StronglyTyped(), 3, 4, 6, 2)
    y, _ = unroll(OPS, StronglyTyped(), p, x, None, state)
    cell = library.TRNNCell(3, 4, dtype=torch.float64)
    cell.weight_ih.data[:] = torch.from_numpy(np.concatenate([p["W_z"], p["W_x"][:, 0]], 1).T.copy())
    cell.bias_ih.data[:4], cell.bias_ih.data[4:] = 0.0, torch.from_numpy(p["b"][0])
    h = torch.from_numpy(state["h"])
    for x_t, expected in zip(torch.from_numpy(x), y, strict=True):
        h = cell(x_t, h)
        np.testing.assert_allclose(h.detach().numpy(), expected, atol=1e-14)


def test_a_minlstm_whose_gates_underflow_still_divides_them() -> None:
    for dtype in (np.float32, np.float64):
        p, x, state = layer(MinLSTM(), 3, 4, 5, 2)
        p["W_x"][:, :2], p["b"][0], p["b"][1] = 0, -200, -201
        y, _ = unroll(
            OPS,
            MinLSTM(),
            {name: value.astype(dtype) for name, value in p.items()},
            x.astype(dtype),
            None,
            {"h": state["h"].astype(dtype)},
        )
        f = np.full(4, 1 / (1 + np.exp(-1)))
        n = x @ p["W_x"][:, 2] + p["b"][2]
        expected = filtered(f, (1 - f) * n, state["h"])
        np.testing.assert_allclose(y, expected, atol=1e-4 if dtype == np.float32 else 1e-13)


def test_a_qrnn_convolves_and_then_pools() -> None:
    p, x, state = layer(QRNN(), 3, 4, 30, 2)
    for name in ("W_x", "W_past"):
        p[name][:, 1] = 0
    state["past"][:, 1] = 0
    gates = np.zeros((30, 2, 3, 4)) + p["b"]
    gates[0] += state["past"]
    for b, i, g, h in np.ndindex(2, 3, 3, 4):
        gates[:, b, g, h] += np.convolve(x[:, b, i], [p["W_x"][i, g, h], p["W_past"][i, g, h]])[:30]
    f = sigmoid(p["b"][1])
    c = filtered(f, (1 - f) * np.tanh(gates[:, :, 0]), state["c"])
    y, _ = unroll(OPS, QRNN(), p, x, None, state)
    np.testing.assert_allclose(y, sigmoid(gates[:, :, 2]) * c, atol=1e-13)


def test_padding_leaves_a_qrnn_the_input_that_it_looks_back_to() -> None:
    p, x, state = layer(QRNN(), 3, 4, 6, 1)
    mask = np.array([0, 0, 1, 1, 0, 0], bool).reshape(6, 1, 1)
    y, last = unroll(OPS, QRNN(), p, np.where(mask, x, 0.0), mask, state)
    alone, end = unroll(OPS, QRNN(), p, x[2:4], None, state)
    np.testing.assert_array_equal(y[2:4], alone)
    np.testing.assert_array_equal(last["past"], end["past"])
    np.testing.assert_allclose(last["past"][0], np.einsum("i,igh->gh", x[3, 0], p["W_past"]), atol=1e-14)


def test_impulse_response_of_an_lru() -> None:
    p, _, _ = layer(LRU(), 3, 4, 1, 1)
    x = np.zeros((40, 3, 3))
    x[0] = np.eye(3)
    y, last = unroll(OPS, LRU(), p, x, None, {"h": np.zeros((3, 4, 2))})
    eigenvalues = np.exp(-np.exp(p["nu_log"]) + 1j * np.exp(p["theta_log"]))
    driven = np.exp(p["gamma_log"]) * as_complex(p["W_B"])
    powers = eigenvalues ** np.arange(40)[:, None, None] * driven
    expected = (powers @ as_complex(p["W_C"])).real
    expected[0] += p["W_D"]
    np.testing.assert_allclose(y, expected, atol=1e-14)
    np.testing.assert_allclose(as_complex(last["h"]), powers[-1], atol=1e-14)


def test_an_lru_is_a_bank_of_complex_filters() -> None:
    p, x, state = layer(LRU(), 3, 4, 50, 2)
    y, last = unroll(OPS, LRU(), p, x, None, state)
    eigenvalues = np.exp(-np.exp(p["nu_log"]) + 1j * np.exp(p["theta_log"]))
    h = filtered(eigenvalues, np.exp(p["gamma_log"]) * (x @ as_complex(p["W_B"])), as_complex(state["h"]))
    np.testing.assert_allclose(y, (h @ as_complex(p["W_C"])).real + x @ p["W_D"], atol=1e-13)
    np.testing.assert_allclose(as_complex(last["h"]), h[-1], atol=1e-13)


def test_an_lru_starts_in_its_ring() -> None:
    cell = LRU(r_min=0.1, r_max=0.99, max_phase=0.5)
    started = cell.start(Sizes(8, 1000), np.random.default_rng(1))
    radius, phase = np.exp(-np.exp(started["nu_log"])), np.exp(started["theta_log"])
    # uniform in area: |λ|² is uniform
    assert kstest(radius**2, "uniform", (0.1**2, 0.99**2 - 0.1**2)).pvalue > 0.01
    assert kstest(radius, "uniform", (0.1, 0.99 - 0.1)).pvalue < 1e-6
    assert kstest(phase, "uniform", (0.0, 0.5)).pvalue > 0.01
    # white noise of unit variance keeps a state's variance at that of x W_B: γ² Σ |λ|^2t = 1
    np.testing.assert_allclose(np.exp(2 * started["gamma_log"]) / (1 - radius**2), 1, rtol=1e-9)
    assert started["W_B"].std() == pytest.approx(1 / 4, rel=0.05)
    assert started["W_C"].std() == pytest.approx(1 / np.sqrt(1000), rel=0.05)


@pytest.mark.parametrize(("features", "projection"), [(3, None), (2, None), (5, 5)])
def test_an_lru_starts_all_its_parameters(features: int, projection: int | None) -> None:
    sizes = Sizes(features, 4, projection)
    started = LRU().start(sizes, np.random.default_rng(0))
    assert {name: value.shape for name, value in started.items()} == LRU().shapes(sizes)


@pytest.mark.parametrize("name", CELLS)
def test_long_sequences_stay_stable_in_float32(name: str) -> None:
    cell, T = CELLS[name], 3000
    spec = NetworkSpec(name, 3, 8, 4, "each", "mse")
    full = initialise(cell, spec, "glorot", 1.0, 0)
    prefix = "layers.0.forward."
    p = {key[len(prefix) :]: value for key, value in full.items() if key.startswith(prefix)}
    x = np.random.default_rng(3).standard_normal((T, 2, 3))
    state = {key: np.zeros((2, *shape)) for key, shape in cell.state_shapes(Sizes(3, 8)).items()}
    y, _ = unroll(OPS, cell, p, x, None, state)
    single = {key: value.astype(np.float32) for key, value in p.items()}
    y_single, _ = unroll(
        OPS, cell, single, x.astype(np.float32), None, {k: v.astype(np.float32) for k, v in state.items()}
    )
    assert y_single.dtype == np.float32
    assert np.abs(y).max() < 100
    np.testing.assert_allclose(y_single, y, atol=1e-4 * np.abs(y).max())
