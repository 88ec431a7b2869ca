"""IndRNN, LiGRU, antisymmetric, coRNN and ESN: second derivations, closed forms, torchrecurrent."""

from __future__ import annotations

from dataclasses import replace
from math import cos, exp, sin, sqrt
from typing import Any

import numpy as np
import pytest
from autograd import jacobian
from oracles import H, bare_layers, gates_side_by_side, probe

from rnnbench.cells.antisymmetric import Antisymmetric
from rnnbench.cells.cornn import CoRNN
from rnnbench.cells.esn import ESN
from rnnbench.cells.indrnn import IndRNN
from rnnbench.cells.ligru import LiGRU
from rnnbench.contracts import FixedCell, Sizes, StartingCell
from rnnbench.numpy_ops import NumpyOps
from rnnbench.reference import probe_parameters
from rnnbench.testing import CELLS

OPS = NumpyOps()
NAMES = ("indrnn", "ligru", "antisymmetric", "cornn", "esn")
PREFIX = "layers.0.forward."


def sigmoid(v: Any) -> Any:
    return 1 / (1 + np.exp(-v))


def layer_of(name: str) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray], np.ndarray, Any]:
    """Parameters of the layer, x (B,T,I), initial states, y (B,T,H) and gradients of the reference."""
    parameters, batch, y, _, gradients = probe(CELLS[name], bare_layers(CELLS[name]))
    assert batch.state is not None
    p = {key[len(PREFIX) :]: v for key, v in parameters.items() if key.startswith(PREFIX)}
    start = {key[len(PREFIX) :]: v for key, v in batch.state.items()}
    return p, batch.inputs, start, y, (batch, gradients)


def by_hand(name: str, p: dict[str, np.ndarray], x: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    """One sequence x (T,I), as the papers write it: a state is a column vector."""
    V = {gate: p["W_x"][:, g].T for g, gate in enumerate(CELLS[name].gates)}
    W = {gate: p["W_h"][:, g].T for g, gate in enumerate(CELLS[name].gates)} if "W_h" in p else {}
    b = dict(zip(CELLS[name].gates, p["b"], strict=True))
    h, out = state["h"].copy(), []
    c = state.get("z", h).copy()
    for u in x:
        match name:
            case "indrnn":
                h = np.array([max(0.0, V["h"][n] @ u + p["u"][n] * h[n] + b["h"][n]) for n in range(H)])
            case "ligru":
                z = sigmoid(V["z"] @ u + W["z"] @ h + b["z"])
                candidate = np.maximum(V["n"] @ u + W["n"] @ h + b["n"], 0)
                h = z * h + (1 - z) * candidate
            case "antisymmetric":
                # the paper's W_h is our W_hᵀ
                M = W["h"] - W["h"].T - 0.1 * np.eye(H)
                h = h + 0.1 * np.tanh(M @ h + V["h"] @ u + b["h"])
            case "cornn":
                old_h, old_c = h, c
                drive = np.tanh(W["z"] @ old_h + p["W_z"][:, 0].T @ old_c + V["z"] @ u + b["z"])
                c = old_c + 0.042 * drive - 0.042 * 2.7 * old_h - 0.042 * 4.7 * old_c
                h = old_h + 0.042 * c
            case "esn":
                W_in = np.column_stack([b["h"], V["h"]])
                h = 0.7 * h + 0.3 * np.tanh(W_in @ np.concatenate([[1.0], u]) + W["h"] @ h)
        out.append(h)
    return np.array(out)


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_is_a_second_derivation_of_its_paper(name: str) -> None:
    p, x, start, y, _ = layer_of(name)
    for row in range(len(x)):
        expected = by_hand(name, p, x[row], {key: v[row] for key, v in start.items()})
        np.testing.assert_allclose(y[row], expected, atol=1e-14)
    # a negative control: a transposed recurrent kernel, or another recurrent weight, is another function
    turned = {**p, "W_h": p["W_h"].transpose(2, 1, 0)} if "W_h" in p else {**p, "u": p["u"][::-1]}
    assert np.abs(y[0] - by_hand(name, turned, x[0], {key: v[0] for key, v in start.items()})).max() > 1e-3


THEIRS = {"weight_ih": "W_x", "weight_hh": "W_h", "weight_ch": "W_z", "bias_ih": "b", "vector_u": "u"}


@pytest.mark.framework
@pytest.mark.parametrize("name", ["indrnn", "ligru", "antisymmetric", "cornn"])
def test_outputs_and_gradients_are_those_of_torchrecurrent(name: str) -> None:
    """Its code is the papers' for these four; only its docstring of coRNN has the implicit damping."""
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("torchrecurrent")
    p, x, start, y, (batch, gradients) = layer_of(name)
    cell = {
        "indrnn": lambda: library.IndRNNCell(3, H, nonlinearity="relu"),
        "ligru": lambda: library.LiGRUCell(3, H),
        "antisymmetric": lambda: library.AntisymmetricRNNCell(3, H, epsilon=0.1, gamma=0.1),
        "cornn": lambda: library.coRNNCell(3, H, dt=0.042, gamma=2.7, epsilon=4.7),
    }[name]().double()

    def theirs(value: np.ndarray) -> np.ndarray:
        return value if value.ndim == 1 else gates_side_by_side(CELLS[name], value, CELLS[name].gates).T

    for key, parameter in cell.named_parameters():
        torch.nn.init.zeros_(parameter)
        if THEIRS.get(key) in p:
            parameter.data.copy_(torch.from_numpy(theirs(p[THEIRS[key]]).copy()))
    state = {key: torch.from_numpy(value) for key, value in start.items()}
    given: Any = (state["h"], state["z"]) if name == "cornn" else state["h"]
    out = []
    for t in range(x.shape[1]):
        given = cell(torch.from_numpy(x[:, t]), given)
        out.append(given[0] if name == "cornn" else given)
    found = torch.stack(out, 1)
    np.testing.assert_allclose(found.detach().numpy(), y, atol=1e-14)
    torch.nn.functional.mse_loss(found, torch.from_numpy(batch.targets)).backward()
    compared = {key: value for key, value in cell.named_parameters() if THEIRS.get(key) in p}
    assert {THEIRS[key] for key in compared} == set(p)
    for key, parameter in compared.items():
        expected = theirs(gradients[PREFIX + THEIRS[key]])
        np.testing.assert_allclose(parameter.grad.numpy(), expected, atol=1e-13, err_msg=key)


def step_jacobian(cell: Any, p: dict[str, np.ndarray], u: np.ndarray, h: np.ndarray) -> np.ndarray:
    """∂h_t/∂h_{t-1} (H,H) of one step, rows are outputs."""
    projected = cell.project(OPS, p, u[None, None])
    now = {key: value[0] for key, value in projected.items()}
    return jacobian(lambda h: cell.step(OPS, p, now, {"h": h[None]})[1][0])(h)  # type: ignore[no-any-return]


@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_eigenvalues_of_the_antisymmetric_flow_lie_on_the_imaginary_axis_shifted_by_the_diffusion(
    gamma: float,
) -> None:
    """Chang et al., proposition 3: the flow neither grows nor decays but for γ, whatever W_h is."""
    p, x, start, _, _ = layer_of("antisymmetric")
    cell = replace(Antisymmetric(), gamma=gamma)
    # where tanh is linear, the flow's Jacobian is the antisymmetric matrix itself
    rest = {**p, "b": np.zeros_like(p["b"])}
    flow = (step_jacobian(cell, rest, 0 * x[0, 0], np.zeros(H)) - np.eye(H)) / cell.eps
    values = np.linalg.eigvals(flow)
    np.testing.assert_allclose(values.real, -gamma, atol=1e-14)
    assert np.abs(values.imag).max() > 0.3
    flow = (step_jacobian(cell, p, x[0, 0], start["h"][0]) - np.eye(H)) / cell.eps
    real = np.linalg.eigvals(flow).real
    assert real.max() <= 1e-12
    assert real.min() >= -gamma - 1e-12
    # a negative control: the same W_h as it is
    assert np.abs(np.linalg.eigvals(p["W_h"][:, 0]).real).max() > 0.1


def oscillate(cell: CoRNN, h: float, z: float, steps: int) -> np.ndarray:
    """(h, z) over time without drive: all weights zero. Returns (steps+1, 2)."""
    p = {key: np.zeros(shape) for key, shape in cell.shapes(Sizes(1, 1)).items()}
    state, rows = {"h": np.array([[h]]), "z": np.array([[z]])}, [(h, z)]
    for _ in range(steps):
        state, _ = cell.step(OPS, p, {"u": np.zeros((1, 1, 1))}, state)
        rows.append((state["h"][0, 0], state["z"][0, 0]))
    return np.array(rows)


def test_a_cornn_without_drive_is_the_damped_oscillator() -> None:
    gamma, eps, h0, z0 = 2.7, 1.1, 0.8, -0.5
    omega = sqrt(gamma - eps**2 / 4)

    def exact(t: float) -> float:
        return exp(-eps * t / 2) * (h0 * cos(omega * t) + (z0 + eps * h0 / 2) / omega * sin(omega * t))

    errors = []
    for steps in (200, 400, 800):
        cell = replace(CoRNN(), dt=4 / steps, gamma=gamma, eps=eps)
        found = oscillate(cell, h0, z0, steps)[:, 0]
        errors.append(np.abs(found - [exact(4 * k / steps) for k in range(steps + 1)]).max())
    assert errors[-1] < 2e-3
    # the scheme is of first order: half the step, half the error
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2, atol=0.1)


def test_a_cornn_without_drive_and_damping_keeps_its_energy() -> None:
    """The scheme is symplectic: γ h² + z² - Δt γ h z is the same after each step."""
    cell = replace(CoRNN(), dt=0.3, gamma=2.0, eps=0.0)
    h, z = oscillate(cell, 0.8, -0.5, 500).T
    energy = cell.gamma * h**2 + z**2 - cell.dt * cell.gamma * h * z
    np.testing.assert_allclose(energy, energy[0], rtol=1e-12)
    assert h.min() < -0.5 < 0.5 < h.max()
    # a negative control: z from the old h but h from the old z would gain energy
    damped, _ = oscillate(replace(cell, eps=0.1), 0.8, -0.5, 500).T
    assert np.abs(damped[-50:]).max() < 1e-3


def test_the_damping_of_a_cornn_is_explicit() -> None:
    cell = replace(CoRNN(), dt=0.5, gamma=0.0, eps=1.0)
    # explicit z (1 - Δt ε) = 0.5; implicit would be z / (1 + Δt ε) = 0.667
    assert oscillate(cell, 0.0, 1.0, 1)[1].tolist() == [0.25, 0.5]


def drive_esn(p: dict[str, np.ndarray], h: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
    """States (H,) of one sequence x (T,I)."""
    cell, out = ESN(), []
    u = cell.project(OPS, p, x[:, None])["u"]
    for t in range(len(x)):
        state, _ = cell.step(OPS, p, {"u": u[t]}, {"h": h[None]})
        h = state["h"][0]
        out.append(h)
    return out


def test_a_reservoir_forgets_where_it_began() -> None:
    cell, sizes = ESN(), Sizes(3, 20)
    rng = np.random.default_rng(0)
    p = cell.start(sizes, rng)
    x, (first, second) = rng.standard_normal((60, 3)), rng.uniform(-1, 1, (2, 20))
    W = p["W_h"][:, 0]
    # a contraction by the largest singular value, which the spectral radius does not bound
    narrow = {**p, "W_h": p["W_h"] * 0.8 / np.linalg.norm(W, 2)}
    rate = (1 - cell.leak) + cell.leak * 0.8
    apart = np.linalg.norm(np.subtract(drive_esn(narrow, first, x), drive_esn(narrow, second, x)), axis=1)
    bounds = np.linalg.norm(first - second) * rate ** np.arange(1, 61)
    assert (apart <= bounds * (1 + 1e-12)).all()
    apart = np.linalg.norm(np.subtract(drive_esn(p, first, x), drive_esn(p, second, x)), axis=1)
    assert apart[-1] < 1e-2 * apart[0]
    # a negative control: with a radius of 3 and no input, -h is a state beside h for ever
    wild = {**p, "W_h": p["W_h"] * 3 / 0.9, "b": 0 * p["b"]}
    states = drive_esn(wild, first, 0 * x)[-1], drive_esn(wild, -first, 0 * x)[-1]
    np.testing.assert_allclose(states[0], -states[1], atol=1e-9)
    assert np.linalg.norm(states[0]) > 0.5


def test_a_reservoir_starts_with_its_spectral_radius_and_is_fixed() -> None:
    cell = ESN()
    assert isinstance(cell, StartingCell)
    assert isinstance(cell, FixedCell)
    assert not any(isinstance(other, FixedCell) for name, other in CELLS.items() if name != "esn")
    p = cell.start(Sizes(4, 50), np.random.default_rng(3))
    assert {key: value.shape for key, value in p.items()} == cell.shapes(Sizes(4, 50)) == {
        "W_x": (4, 1, 50), "W_h": (50, 1, 50), "b": (1, 50),
    }  # fmt: skip
    assert set(cell.fixed) == set(p)
    radius = np.abs(np.linalg.eigvals(p["W_h"][:, 0])).max()
    assert radius == pytest.approx(0.9, rel=1e-12)
    for key in ("W_x", "b"):
        assert 0.4 < np.abs(p[key]).max() <= 0.5
    *_, (_, gradients) = layer_of("esn")
    for key in cell.fixed:
        assert not gradients[PREFIX + key].any()
    assert np.abs(gradients["head.W"]).max() > 1e-3


def test_a_unit_of_an_indrnn_remembers_by_its_own_weight_alone() -> None:
    p = {"W_x": np.zeros((1, 1, 3)), "b": np.zeros((1, 3)), "u": np.array([0.5, 1.0, 1.01])}
    jac = np.eye(3)
    h = np.array([0.3, 0.7, 2.0])
    for _ in range(20):
        jac = step_jacobian(IndRNN(), p, np.zeros(1), h) @ jac
        h = IndRNN().step(OPS, p, {"z": np.zeros((1, 1, 3))}, {"h": h[None]})[1][0]
    np.testing.assert_allclose(jac, np.diag(p["u"] ** 20), rtol=1e-13)
    started = IndRNN().start(Sizes(3, 4000), np.random.default_rng(0))["u"]
    assert 0 <= started.min() < 0.01 < 0.99 < started.max() < 1
    assert started.mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("z", "kept"), [(40.0, 1.0), (-40.0, 0.0), (0.0, 0.5)])
@pytest.mark.parametrize("n", [0.8, -0.8])
def test_z_of_a_ligru_keeps_the_old_state_and_its_candidate_is_relu(z: float, kept: float, n: float) -> None:
    cell = LiGRU()
    p = {key: np.zeros(shape) for key, shape in cell.shapes(Sizes(1, 1)).items()}
    p["b"] = np.array([[z], [n]])
    u = cell.project(OPS, p, np.zeros((1, 1, 1)))["u"][0]
    _, h = cell.step(OPS, p, {"u": u}, {"h": np.array([[0.3]])})
    assert h[0, 0] == pytest.approx(kept * 0.3 + (1 - kept) * max(n, 0.0), abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_another_setting_is_another_cell_of_the_same_shapes(name: str) -> None:
    """eps, gamma, dt, leak and the like are fields: a variant is one line in a plugin."""
    changes = {"antisymmetric": {"eps": 0.5}, "cornn": {"gamma": 1.0}, "esn": {"leak": 1.0}}.get(name, {})
    cell: Any = replace(CELLS[name], name="variant", **changes)  # type: ignore[type-var]
    assert hash(cell) != hash(CELLS[name])
    spec = bare_layers(CELLS[name])
    assert probe_parameters(cell, spec).keys() == probe_parameters(CELLS[name], spec).keys()
