"""Gradient flow: closed forms, known answers, finite differences; and the way of a record into the report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from autograd import jacobian

from rnnbench.cells.elman import Elman
from rnnbench.cells.network import network_loss, network_outputs
from rnnbench.cells.placing import time_major
from rnnbench.choices import Readout
from rnnbench.contracts import Batch, Cell, NetworkSpec, Sizes
from rnnbench.gradient_flow import closed_form, measure_flow, step_jacobian
from rnnbench.numpy_ops import NumpyOps
from rnnbench.reference import probe_batch, probe_parameters
from rnnbench.testing import CELLS
from rnnbench.training import initialise

LINEAR, TANH = Elman("elman_linear", "linear"), Elman("elman", "tanh")
LAST = NetworkSpec("", 3, 6, 2, "last", "mse")


def flow_of(cell: Cell, steps: int, init: str, gain: float = 1.0, bias: float = 0.0, **changes: Any) -> Any:
    spec = replace(LAST, cell=cell.name, **changes)
    batch = replace(probe_batch(cell, spec, steps, 4), state=None)
    return measure_flow(cell, spec, initialise(cell, spec, init, bias, 0, gain), batch)[0]


@pytest.mark.parametrize(("init", "gain"), [("orthogonal", 0.9), ("orthogonal", 1.1), ("identity", 0.5)])
def test_linear_recurrence_multiplies_the_gradient_by_its_radius(init: str, gain: float) -> None:
    flow = flow_of(LINEAR, 52, init, gain)
    assert len(flow.gradient) == 51
    np.testing.assert_allclose(np.array(flow.gradient) / flow.gradient[0], gain ** np.arange(51), rtol=1e-12)
    assert flow.hidden == flow.gradient
    assert (flow.radius_mean, flow.radius_max) == pytest.approx((gain, gain), rel=1e-12)
    assert (flow.sigmoids, flow.tanhs) == (None, None)
    spec = replace(LAST, cell="elman_linear")
    assert closed_form(LINEAR, spec, init, gain, 0.0) == gain
    assert closed_form(LINEAR, replace(spec, readout="each"), init, gain, 0.0) is None
    assert closed_form(TANH, spec, init, gain, 0.0) is None


@pytest.mark.parametrize(
    ("bias", "known", "saturated"),
    [
        (0.0, 8.8818e-16, 0.0),
        (1.0, 1.57619e-7, 0.0),
        (3.0, 0.0880925, 1 / 3),
        # shut gates are saturated like open ones
        (-3.0, 6.3207233e-67, 1 / 3),
    ],
)
def test_forget_gates_alone_multiply_it_by_their_value(bias: float, known: float, saturated: float) -> None:
    """Zero weights: c_T depends on c_0 by σ(b)^T; of 52 steps 50 lie between the states that count."""
    flow = flow_of(CELLS["lstm"], 52, "zero", bias=bias)
    assert flow.gradient[50] / flow.gradient[0] == pytest.approx(known, rel=1e-5, abs=0)
    forget = closed_form(CELLS["lstm"], replace(LAST, cell="lstm"), "zero", 1.0, bias)
    assert forget is not None
    np.testing.assert_allclose(
        np.array(flow.gradient) / flow.gradient[0], forget ** np.arange(51), rtol=1e-12
    )
    assert set(flow.hidden) == {0.0}
    assert (flow.radius_mean, flow.radius_max) == pytest.approx((forget, forget), rel=1e-12)
    # i, f and o, of which f may be saturated; tanh of zero twice
    assert (flow.sigmoids, flow.tanhs) == (pytest.approx(saturated), 0.0)


def test_tanh_only_shrinks_what_the_linear_recurrence_leaves() -> None:
    flow = flow_of(TANH, 102, "orthogonal", 0.9)
    bound = 0.9**100
    assert bound == pytest.approx(2.66e-5, rel=2e-3)
    assert 0 < flow.gradient[100] / flow.gradient[0] < bound


HARD = NetworkSpec("", 3, 4, 2, "each", "mse", layers=2)


@pytest.mark.parametrize(("name", "readout"), [("elman", "last"), ("lstm", "each"), ("qrnn", "last")])
def test_the_gradient_of_a_state_is_that_of_a_network_that_starts_from_it(
    name: str, readout: Readout
) -> None:
    cell, spec = CELLS[name], replace(HARD, cell=name, readout=readout)
    steps, ops = 5, NumpyOps()
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, steps, 3)
    data = time_major(spec, batch)
    flows = measure_flow(cell, spec, parameters, batch)
    for t in (1, 4):
        head = network_outputs(ops, cell, spec, parameters, data.inputs[:t], None, data.state)[1]
        targets = data.targets[t:] if readout == "each" else data.targets
        share = (steps - t) / steps if readout == "each" else 1.0

        def loss(
            name: str, index: tuple[int, ...], by: float, t: int = t, head: Any = head, y: Any = targets
        ) -> float:
            moved = {**head, name: head[name].copy()}
            moved[name][index] += by
            outputs, _ = network_outputs(ops, cell, spec, parameters, data.inputs[t:], None, moved)
            return float(network_loss(ops, spec, outputs, y, None))

        for flow in flows:
            squares = np.zeros(3)
            for state in (each for each in head if each.startswith(flow.layer)):
                for index in np.ndindex(*head[state].shape):
                    slope = (loss(state, index, 1e-6) - loss(state, index, -1e-6)) / 2e-6 * share
                    squares[index[0]] += slope**2
            assert flow.gradient[steps - 1 - t] == pytest.approx(np.sqrt(squares).mean(), rel=1e-6)


@pytest.mark.parametrize("bidirectional", ["none", "concat"])
def test_padding_changes_nothing_and_steps_count_from_each_sequences_end(bidirectional: Any) -> None:
    cell = CELLS["gru"]
    spec = replace(HARD, cell="gru", lengths=True, bidirectional=bidirectional)
    plain_spec = replace(spec, lengths=False)
    batch = probe_batch(cell, plain_spec, 6, 1)
    cut = Batch(batch.inputs[:, :4].copy(), batch.targets[:, :4], None, batch.state)
    batch.inputs[:, 4:] = np.nan
    batch = replace(batch, lengths=np.array([4], np.int32))
    parameters = probe_parameters(cell, spec)
    padded, plain = (
        measure_flow(cell, it, parameters, each) for it, each in ((spec, batch), (plain_spec, cut))
    )
    assert [flow.layer for flow in padded] == [flow.layer for flow in plain]
    for one, other in zip(padded, plain, strict=True):
        assert len(one.gradient) == 3
        np.testing.assert_allclose(one.gradient, other.gradient, rtol=1e-12)
        assert (one.sigmoids, one.tanhs) == (other.sigmoids, other.tanhs)
        assert one.radius_max == pytest.approx(other.radius_max, rel=1e-12)


def test_nothing_flows_out_of_the_last_window() -> None:
    flow, full = (flow_of(TANH, 9, "orthogonal", window=window) for window in (4, None))
    np.testing.assert_allclose(flow.gradient[:4], full.gradient[:4], rtol=1e-12)
    assert set(flow.gradient[4:]) == {0.0}
    assert min(full.gradient) > 0


@pytest.mark.parametrize("name", ["elman_gelu", "lstm", "gru", "lru", "mgu"])
def test_the_jacobian_is_that_of_the_step(name: str) -> None:
    cell, ops, rng = CELLS[name], NumpyOps(), np.random.default_rng(3)
    sizes = Sizes(3, 4)
    p = {key: rng.uniform(-1, 1, shape) for key, shape in cell.shapes(sizes).items()}
    state = {key: rng.uniform(-1, 1, shape) for key, shape in cell.state_shapes(sizes).items()}
    u = {key: value[0, 0] for key, value in cell.project(ops, p, rng.uniform(-1, 1, (1, 1, 3))).items()}
    found = step_jacobian(cell, p, u, state)
    ends, row = {}, 0
    for key in sorted(state):
        ends[key] = slice(row, row + state[key].size)
        row += state[key].size
    for of in state:
        for by in state:

            def after(value: Any, of: str = of, by: str = by) -> Any:
                before = {**state, by: value}
                new, _ = cell.step(
                    ops,
                    p,
                    {k: v[None] for k, v in u.items()},
                    {k: ops.reshape(v, (1, *v.shape)) for k, v in before.items()},
                )
                return ops.reshape(new[of], (-1,))

            expected = jacobian(after)(state[by]).reshape(state[of].size, -1)
            np.testing.assert_allclose(found[ends[of], ends[by]], expected, rtol=1e-10, atol=1e-14)


def test_saturation_is_counted_where_it_is() -> None:
    cell, spec = TANH, replace(LAST, cell="elman")
    batch = probe_batch(cell, spec, 5, 4)
    parameters = probe_parameters(cell, spec)
    far = {name: 100.0 * value for name, value in parameters.items()}
    assert measure_flow(cell, spec, far, batch)[0].tanhs == pytest.approx(1.0, abs=0.05)
    near = {name: 0.01 * value for name, value in parameters.items()}
    assert measure_flow(cell, spec, near, batch)[0].tanhs == 0.0


def test_what_overflows_is_said_and_not_raised() -> None:
    flow = flow_of(Elman("elman_relu", "relu"), 400, "identity", gain=100.0)
    assert not np.isfinite(flow.gradient[-1])
