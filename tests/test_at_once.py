"""Cells that compute all steps at once: loops written apart, causality, padding, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import jacobian

from rnnbench.cells.at_once import check_recurrent
from rnnbench.cells.feed_forward import FeedForward
from rnnbench.cells.network import network_outputs, parameter_shapes, unroll
from rnnbench.cells.placing import time_major
from rnnbench.cells.streaming import split_steps
from rnnbench.cells.tcn import TCN
from rnnbench.cells.transformer import Transformer, sinusoids
from rnnbench.contracts import (
    Batch,
    Cell,
    DecoderSpec,
    NetworkSpec,
    SequenceCell,
    Settings,
    Sizes,
    TrainingSpec,
)
from rnnbench.describing import describe
from rnnbench.errors import RequestError, Unsupported
from rnnbench.flops import StepFlops, network_flops, step_flops
from rnnbench.gradient_flow import measure_flow
from rnnbench.numpy_ops import NumpyOps
from rnnbench.planning.plan import plan
from rnnbench.plugins import discover
from rnnbench.reference import (
    compare_answers,
    probe_batch,
    probe_parameters,
    reference_answers,
)
from rnnbench.suite.loading import parse_suite
from rnnbench.training import initialise

OPS = NumpyOps()
NETS: dict[str, Any] = {cell.name: cell for cell in (FeedForward(), TCN(), Transformer())}
EVERY = pytest.mark.parametrize("cell", NETS.values(), ids=NETS)
I, H = 3, 8  # noqa: E741 - the letters of the equations


def layer(cell: Cell, hidden: int = H, features: int = I, seed: int = 0) -> dict[str, np.ndarray]:
    """Random parameters of one layer, none of them zero."""
    spec = NetworkSpec(cell.name, features, hidden, 2, "each", "mse")
    prefix = "layers.0.forward."
    found = probe_parameters(cell, spec, seed)
    return {name[len(prefix) :]: value for name, value in found.items() if name.startswith(prefix)}


def inputs(length: int, size: int = 2, features: int = I, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((length, size, features))


# the equations again, one sequence, one step, one head and one tap at a time


def feed_forward_by_loops(p: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    taps, features = 16, x.shape[1]
    y = np.zeros((len(x), len(p["b"])))
    for t in range(len(x)):
        z = p["b"].copy()
        for back in range(taps):
            if t - back >= 0:
                row = (taps - 1 - back) * features
                z += x[t - back] @ p["W"][row : row + features]
        y[t] = np.where(z > 0, z, 0)
    return y


def convolved(x: np.ndarray, W: np.ndarray, b: np.ndarray, apart: int) -> np.ndarray:
    features = x.shape[1]
    rows = []
    for t in range(len(x)):
        z = b.copy()
        for k in range(3):
            if t - k * apart >= 0:
                z = z + x[t - k * apart] @ W[(2 - k) * features : (3 - k) * features]
        rows.append(z)
    return np.array(rows)


def tcn_by_loops(p: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    for level in range(6):
        a = np.maximum(convolved(x, p[f"{level}.W_1"], p[f"{level}.b_1"], 2**level), 0)
        f = np.maximum(convolved(a, p[f"{level}.W_2"], p[f"{level}.b_2"], 2**level), 0)
        if level == 0 and "0.W_skip" in p:
            x = x @ p["0.W_skip"] + p["0.b_skip"]
        x = np.maximum(f + x, 0)
    return x


def normalised(z: np.ndarray, gain: np.ndarray, shift: np.ndarray) -> np.ndarray:
    return np.array([(row - np.mean(row)) / math.sqrt(np.var(row) + 1e-5) for row in z]) * gain + shift


def transformer_by_loops(p: Mapping[str, np.ndarray], x: np.ndarray, heads: int = 4) -> np.ndarray:
    T, width = len(x), p["W_in"].shape[1]
    z = x @ p["W_in"] + p["b_in"]
    for t in range(T):
        for i in range(width):
            angle = t / 10_000 ** (2 * (i // 2) / width)
            z[t, i] += math.cos(angle) if i % 2 else math.sin(angle)
    for n in range(2):
        q, k, v = np.einsum(
            "th,hga->gta", normalised(z, p[f"{n}.gain_1"], p[f"{n}.shift_1"]), p[f"{n}.W_qkv"]
        )
        q, k, v = (each + p[f"{n}.b_qkv"][number] for number, each in enumerate((q, k, v)))
        d = q.shape[1] // heads
        read = np.zeros_like(q)
        for t in range(T):
            for head in range(heads):
                own = slice(head * d, (head + 1) * d)
                weights = np.array([math.exp(q[t, own] @ k[s, own] / math.sqrt(d)) for s in range(t + 1)])
                read[t, own] = (weights / weights.sum()) @ v[: t + 1, own]
        z = z + read @ p[f"{n}.W_o"] + p[f"{n}.b_o"]
        wide = normalised(z, p[f"{n}.gain_2"], p[f"{n}.shift_2"]) @ p[f"{n}.W_1"] + p[f"{n}.b_1"]
        z = z + np.maximum(wide, 0) @ p[f"{n}.W_2"] + p[f"{n}.b_2"]
    return normalised(z, p["gain"], p["shift"])


LOOPS: dict[str, Callable[..., np.ndarray]] = {
    "feed_forward": feed_forward_by_loops,
    "tcn": tcn_by_loops,
    "transformer": transformer_by_loops,
}


@EVERY
@pytest.mark.parametrize(("hidden", "length"), [(8, 1), (8, 40), (5, 9), (3, 9)])
def test_a_layer_is_its_equations_in_loops(cell: Any, hidden: int, length: int) -> None:
    """H = 3 is I too, where a TCN skips without a product; H = 3 and 5 are no multiple of the heads."""
    p, x = layer(cell, hidden), inputs(length)
    y, state = unroll(OPS, cell, p, x, None, {})
    assert state == {}
    assert y.shape == (length, 2, cell.output_size(Sizes(I, hidden)))
    for b in range(2):
        np.testing.assert_allclose(y[:, b], LOOPS[cell.name](p, x[:, b]), atol=1e-11)


@EVERY
def test_gradients_are_central_differences(cell: Any) -> None:
    spec = NetworkSpec(cell.name, I, 5, 4, "each", "mse", layers=2, lengths=True)
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 6, 3)
    found = reference_answers(cell, spec, parameters, batch, steps=0).gradients
    rng = np.random.default_rng(0)
    direction = {name: rng.standard_normal(value.shape) for name, value in parameters.items()}

    def loss(step: float) -> float:
        moved = {name: value + step * direction[name] for name, value in parameters.items()}
        return reference_answers(cell, spec, moved, batch, steps=0).loss

    slope = (loss(1e-6) - loss(-1e-6)) / 2e-6
    assert sum(float((found[name] * direction[name]).sum()) for name in found) == pytest.approx(
        slope, rel=1e-6
    )
    assert all(np.abs(value).max() > 0 for value in found.values())


def reached(cell: Any, length: int, at: int) -> np.ndarray:
    """For each step s of the inputs: the largest |∂y_at/∂x_s|, from the derivative and not by trying."""
    p = layer(cell)

    def read(x: Any) -> Any:
        # the sum over features weighted, for norms make the plain sum of features constant
        return anp.dot(cell.over(OPS, p, x)[at, 0], np.arange(1.0, H + 1))

    return np.asarray(np.abs(jacobian(read)(inputs(length, 1))).max((1, 2)))


@EVERY
def test_no_step_reads_a_later_one(cell: Any) -> None:
    p, x = layer(cell), inputs(12)
    y = cell.over(OPS, p, x)
    for t in range(12):
        other = x.copy()
        other[t:] += 1.0
        changed = np.abs(cell.over(OPS, p, other) - y).max((1, 2))
        assert not changed[:t].any(), t
        assert changed[t] > 1e-6
    slopes = reached(cell, 12, at=7)
    assert not slopes[8:].any()
    assert slopes[7] > 0


@pytest.mark.parametrize(("name", "steps"), [("feed_forward", 16), ("tcn", 253), ("transformer", 300)])
def test_how_far_back_a_step_reads(name: str, steps: int) -> None:
    slopes = reached(NETS[name], 300, at=299)
    assert slopes[300 - steps] > 0
    assert not slopes[: 300 - steps].any()


def test_a_mask_that_lets_the_future_in_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = NETS["transformer"]
    spec = NetworkSpec(cell.name, I, 5, 4, "each", "mse", layers=2, lengths=True)
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 7, 4)
    right = reference_answers(cell, spec, parameters, batch)
    monkeypatch.setattr("rnnbench.cells.transformer.NEVER", 0.0)
    wrong = reference_answers(cell, spec, parameters, batch)
    assert (
        min(compare_answers(spec, right, wrong, batch, "float32").worst[it] for it in ("outputs", "loss"))
        > 10
    )
    assert reached(cell, 12, at=7)[8:].all()
    p, x = layer(cell), inputs(9, 1)
    assert np.abs(cell.over(OPS, p, x)[:, 0] - LOOPS[cell.name](p, x[:, 0])).max() > 1e-3


@EVERY
@pytest.mark.parametrize("readout", ["last", "each"])
def test_padding_changes_nothing(cell: Any, readout: Any) -> None:
    """NaN behind the lengths; the same as each sequence alone; the same gradients whatever stands there."""
    spec = NetworkSpec(
        cell.name, I, 5, 4, readout, "mse", layers=2, residual=True, norm="layer", lengths=True
    )
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 7, 4)
    assert batch.lengths is not None
    assert np.isnan(batch.inputs).any()
    answers = reference_answers(cell, spec, parameters, batch, steps=0)
    for row, length in enumerate(batch.lengths):
        alone = Batch(batch.inputs[row : row + 1, :length], batch.targets, None)
        data = time_major(replace(spec, readout="last"), alone)
        y, _ = network_outputs(OPS, cell, replace(spec, lengths=False), parameters, data.inputs, None, None)
        expected = y[:, 0] if readout == "each" else y[0]
        found = answers.outputs[row, :length] if readout == "each" else answers.outputs[row]
        np.testing.assert_allclose(found, expected, atol=1e-13)
    other = replace(batch, inputs=np.where(np.isnan(batch.inputs), 1e6, batch.inputs))
    again = reference_answers(cell, spec, parameters, other, steps=0)
    for name, value in answers.gradients.items():
        assert np.isfinite(value).all()
        np.testing.assert_array_equal(value, again.gradients[name])


def test_positions_by_their_definition() -> None:
    found = sinusoids(50, 6)[:, 0]
    assert found[0].tolist() == [0, 1, 0, 1, 0, 1]
    np.testing.assert_allclose(found[:, 0], np.sin(np.arange(50)), atol=1e-15)
    np.testing.assert_allclose(found[7, 3], math.cos(7 / 10_000 ** (2 / 6)), atol=1e-15)
    np.testing.assert_allclose(found[7, 4], math.sin(7 / 10_000 ** (4 / 6)), atol=1e-15)
    assert sinusoids(4, 5).shape == (4, 1, 5)


def test_without_positions_the_past_has_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step reads all others as a set; only positions tell which came when."""
    cell = NETS["transformer"]
    cell, p, x = replace(cell, blocks=1), layer(replace(cell, blocks=1)), inputs(9, 1)
    shuffled = np.concatenate([x[:-1][::-1], x[-1:]])
    assert np.abs(cell.over(OPS, p, x)[-1] - cell.over(OPS, p, shuffled)[-1]).max() > 1e-4
    monkeypatch.setattr("rnnbench.cells.transformer.sinusoids", lambda length, features: np.zeros(1))
    np.testing.assert_allclose(cell.over(OPS, p, x)[-1], cell.over(OPS, p, shuffled)[-1], atol=1e-12)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("feed_forward", 16 * 64 * 128 + 128),
        ("tcn", (3 * 64 * 128 + 128) + 11 * (3 * 128 * 128 + 128) + 64 * 128 + 128),
        # torch.nn.TransformerEncoderLayer(128, 4, 512) has 198,272
        ("transformer", (64 * 128 + 128) + 2 * 198_272 + 2 * 128),
    ],
)
def test_parameter_counts(name: str, count: int) -> None:
    cell = NETS[name]
    assert sum(math.prod(shape) for shape in cell.shapes(Sizes(64, 128)).values()) == count
    described = describe(cell, NetworkSpec(name, 64, 128, 10, "last", "cross_entropy", vocab=1000))
    assert described.parameters == 64_000 + count + 1290
    assert described.state_bytes == 0


@pytest.mark.parametrize("init", ["uniform", "glorot", "orthogonal", "identity", "zero"])
def test_norms_start_by_changing_nothing_whatever_the_initialiser(init: str) -> None:
    spec = NetworkSpec("transformer", I, H, 2, "last", "mse")
    found = initialise(NETS["transformer"], spec, init, forget_bias=1.0, seed=0)
    assert {name: value.shape for name, value in found.items()} == parameter_shapes(NETS["transformer"], spec)
    for name, value in found.items():
        if "gain" in name or "shift" in name:
            assert (value == ("gain" in name)).all(), name
    fan = 16 * I + H
    glorot = initialise(NETS["feed_forward"], replace(spec, cell="feed_forward"), "glorot", 1.0, seed=0)
    assert 0.8 < np.abs(glorot["layers.0.forward.W"]).max() / math.sqrt(6 / fan) <= 1


def test_operations_in_closed_form() -> None:
    i, h = 7, 12
    assert step_flops(NETS["feed_forward"], Sizes(i, h)) == StepFlops(2 * 16 * i * h, 0)
    assert step_flops(NETS["tcn"], Sizes(i, h)) == StepFlops(2 * 4 * i * h, 2 * 11 * 3 * h * h)
    # where nothing is skipped by a product, what a block adds its input to is not the input any more
    assert step_flops(NETS["tcn"], Sizes(h, h)) == StepFlops(2 * 3 * h * h, 2 * 11 * 3 * h * h)
    # keys, queries, values and what reads them: 4 H²; feed-forward: 8 H²; a pair: its score and its value
    expected = StepFlops(2 * i * h, 2 * 2 * 12 * h * h, 2 * 2 * 2 * h)
    assert step_flops(NETS["transformer"], Sizes(i, h)) == expected
    spec = NetworkSpec("transformer", i, h, 3, "each", "mse")
    lengths = [5, 3]
    past = (1 + 2 + 3 + 4 + 5) + (1 + 2 + 3)
    found = network_flops(NETS["transformer"], spec, 2, sum(lengths), past=past)
    step = expected.inputs + expected.recurrent + 2 * h * 3
    assert found["forward"] == 8 * step + past * expected.pair
    assert found["gradients"] == found["train_step"] == 3 * found["forward"] - 8 * expected.inputs
    assert "stream" not in found
    assert describe(NETS["transformer"], spec).pair_flops == expected.pair


# what they cannot be part of

SUITE = """axes: {task: [TASK], length: [5], cell: [lstm, tcn], backend: [numpy], ROW}
defaults: {measure: [forward]}
"""


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        ("adding", "bidirectional: [none, concat]", r'axes.bidirectional\[1\]: cell "tcn" looks back only'),
        ("adding", "window: [3]", r'window: cell "tcn" computes all steps at once .* give a recurrent cell'),
        ("reverse", "batch: 4", r'a decoder: cell "tcn" computes all steps at once'),
    ],
)
def test_what_they_cannot_be_is_refused_at_plan_time(task: str, row: str, message: str) -> None:
    text = SUITE.replace("TASK", task).replace("ROW", row)
    with pytest.raises(RequestError, match=message):
        plan(parse_suite(text), discover())
    assert plan(parse_suite(text + "exclude: [{cell: tcn}]"), discover()).cases


@pytest.mark.parametrize("phase", ["stream", "gradient_flow"])
def test_what_needs_steps_is_unsupported_with_the_reason(phase: str) -> None:
    text = SUITE.replace("TASK", "adding").replace(", ROW", "").replace("[forward]", f"[forward, {phase}]")
    found = plan(parse_suite(text), discover())
    assert [case.cell for case in found.cases] == ["lstm"]
    ((case, status, reason),) = found.refused
    assert (case.cell, status) == ("tcn", "unsupported")
    assert reason.startswith(f'{phase}: cell "tcn" computes all steps at once and carries no state')


def test_other_implementations_are_unsupported_with_what_there_is() -> None:
    text = SUITE.replace("TASK", "adding").replace("ROW", "implementation: [native, scan, portable]")
    found = plan(parse_suite(text), discover())
    reasons = {it.case.implementation: it.reason for it in found.refused if it.case.cell == "tcn"}
    assert reasons == {
        name: f"numpy has no {name} implementation of tcn; it has: portable" for name in ("native", "scan")
    }


@EVERY
def test_who_comes_by_another_door_is_told_the_same(cell: Any) -> None:
    spec = NetworkSpec(cell.name, I, 5, 4, "each", "mse")
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 5, 2)
    with pytest.raises(Unsupported, match="stream: cell"):
        split_steps(cell, spec, batch)
    with pytest.raises(Unsupported, match="gradient_flow: cell"):
        measure_flow(cell, spec, parameters, batch)
    for wrong in (replace(spec, bidirectional="sum"), replace(spec, window=2)):
        with pytest.raises(Unsupported, match=f'cell "{cell.name}"'):
            parameter_shapes(cell, wrong)
    with pytest.raises(RequestError, match=f"describe {cell.name}: a decoder"):
        describe(cell, replace(spec, loss="cross_entropy", decoder=DecoderSpec(3)))
    assert isinstance(cell, SequenceCell)
    lstm = discover().cells["lstm"]
    assert check_recurrent(lstm, "stream") is lstm
    assert not isinstance(lstm, SequenceCell)


def test_parameters_are_matched() -> None:
    text = """axes: {
  task: [adding], length: [9], backend: [numpy],
  cell: [lstm, feed_forward, tcn, transformer]}
defaults: {match: {parameters: 20000, head: HEAD}}
"""
    for head in ("true", "false"):
        found = plan(parse_suite(text.replace("HEAD", head)), discover())
        counts = {case.cell: found.parameters[case.key] for case in found.cases}
        assert set(counts) == {"lstm", *NETS}
        assert all(abs(count - 20_000) < 2_000 for count in counts.values())
        for case in found.cases:
            cell = discover().cells[case.cell]
            own = sum(math.prod(shape) for shape in cell.shapes(Sizes(2, case.hidden)).values())
            assert counts[case.cell] == own + (case.hidden + 1) * (head == "true")


@EVERY
def test_the_numpy_backend_learns_with_them(cell: Any) -> None:
    spec = NetworkSpec(cell.name, I, H, 1, "last", "mse")
    session = discover().backends["numpy"].open(Settings(), NETS)
    start = initialise(cell, spec, "glorot", 1.0, seed=0)
    network = session.build(spec, start, TrainingSpec("adam", 0.01), "portable")
    x = np.random.default_rng(0).standard_normal((32, 10, I))
    # what stood there three steps ago: a layer that reads only the present cannot know it
    batch = network.put(Batch(x, x[:, -4, :1]))
    first = float(network.train_step(batch))
    for _ in range(60):
        last = float(network.train_step(batch))
    assert last < 0.2 * first
