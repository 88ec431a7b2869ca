"""Batch normalisation between layers: against plain loops, closed forms and torch's own layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from faulty_plugin import toy  # type: ignore[attr-defined]

from rnnbench.cells import placing
from rnnbench.cells.composing import is_running, running_of
from rnnbench.cells.network import network_outputs, parameter_shapes
from rnnbench.cells.normalising import batch_norm
from rnnbench.cells.placing import time_major
from rnnbench.contracts import Batch, Cell, NetworkSpec, Settings, TrainingSpec
from rnnbench.errors import RequestError
from rnnbench.gradient_flow import measure_flow
from rnnbench.measuring.gate import Gate
from rnnbench.numpy_ops import NumpyOps
from rnnbench.planning.networks import matched_parameters, network_spec
from rnnbench.planning.plan import plan
from rnnbench.plugins import discover
from rnnbench.records import Case
from rnnbench.reference import probe_batch, probe_parameters, reference_answers, tolerance
from rnnbench.suite.loading import Match, parse_suite
from rnnbench.testing import CELLS, optimizer_parity_of, parity_of, step_parity_of
from rnnbench.training import initialise

OPS = NumpyOps()
SPEC = NetworkSpec("elman", 3, 5, 4, "each", "mse", layers=2, lengths=True, norm="batch")
LAST = replace(SPEC, readout="last", loss="cross_entropy", residual=True, dropout=0.3, bidirectional="concat")


def trained_outputs(spec: NetworkSpec, p: dict[str, np.ndarray], batch: Batch) -> Any:
    """Of a network in training: outputs (T,B,O), and all that stands beside them."""
    data = time_major(spec, batch)
    return network_outputs(
        OPS, CELLS[spec.cell], spec, p, data.inputs, data.lengths, data.state, training=True
    )


def plain_elman(p: dict[str, np.ndarray], layer: int, x: np.ndarray, h: np.ndarray) -> np.ndarray:
    """One sequence x (T,I) from h (H,): every h (T,H)."""
    ys, prefix = [], f"layers.{layer}.forward."
    for row in x:
        h = np.tanh(row @ p[prefix + "W_x"][:, 0] + h @ p[prefix + "W_h"][:, 0] + p[prefix + "b"][0])
        ys.append(h)
    return np.array(ys)


def plain_batch_norm(
    p: dict[str, np.ndarray], layer: int, sequences: list[np.ndarray]
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Sequences (T,F) of different lengths, normalised feature by feature over all of their steps."""
    normed = [np.empty_like(y) for y in sequences]
    means, variances = [], []
    for f, (gain, shift) in enumerate(
        zip(p[f"layers.{layer}.norm.gain"], p[f"layers.{layer}.norm.shift"], strict=True)
    ):
        seen = [row[f] for y in sequences for row in y]
        mean = sum(seen) / len(seen)
        variance = sum((value - mean) ** 2 for value in seen) / len(seen)
        for y, out in zip(sequences, normed, strict=True):
            for t in range(len(y)):
                out[t, f] = gain * (y[t, f] - mean) / (variance + 1e-5) ** 0.5 + shift
        means.append(mean)
        variances.append(variance)
    return normed, np.array(means), np.array(variances)


def test_in_training_statistics_are_those_of_all_valid_steps_of_the_batch() -> None:
    parameters, batch = probe_parameters(CELLS["elman"], SPEC), probe_batch(CELLS["elman"], SPEC, 6, 4)
    assert batch.lengths is not None
    assert batch.state is not None
    assert len(set(batch.lengths)) > 2, "all as long would hide padding that counts"
    xs = [batch.inputs[b, :length] for b, length in enumerate(batch.lengths)]
    expected: dict[str, np.ndarray] = {}
    for layer in range(2):
        starts = batch.state[f"layers.{layer}.forward.h"]
        ys = [plain_elman(parameters, layer, x, h) for x, h in zip(xs, starts, strict=True)]
        xs, mean, variance = plain_batch_norm(parameters, layer, ys)
        for name, found in (("mean", mean), ("variance", variance)):
            key = f"layers.{layer}.norm.{name}"
            expected[key] = 0.9 * parameters[key] + 0.1 * found
    y, final = trained_outputs(SPEC, parameters, batch)
    for b, x in enumerate(xs):
        wanted = x @ parameters["head.W"] + parameters["head.b"]
        np.testing.assert_allclose(y[: len(x), b], wanted, atol=1e-13)
    running = running_of(final)
    assert set(running) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(running[key], value, atol=1e-14)


def test_outside_training_statistics_are_the_running_ones_and_each_sequence_stands_alone() -> None:
    cell, parameters = CELLS["elman"], probe_parameters(CELLS["elman"], LAST)
    batch = probe_batch(cell, LAST, 6, 4)
    whole = reference_answers(cell, LAST, parameters, batch, steps=0).outputs
    assert batch.lengths is not None
    for b in range(4):
        one = replace(
            batch,
            inputs=batch.inputs[b : b + 1],
            targets=batch.targets[b : b + 1],
            lengths=batch.lengths[b : b + 1],
            state={name: value[b : b + 1] for name, value in (batch.state or {}).items()},
            dropout=None,
        )
        alone = reference_answers(cell, LAST, parameters, one, steps=0).outputs
        np.testing.assert_allclose(alone[0], whole[b], atol=1e-14)
    moved = {name: value + is_running(name) for name, value in parameters.items()}
    assert np.abs(reference_answers(cell, LAST, moved, batch, steps=0).outputs - whole).max() > 1e-2


def test_closed_form() -> None:
    # a batch of 0 and 2 has mean 1 and variance 1
    y, mean, variance = batch_norm(OPS, np.array([[0.0], [2.0]]), np.array([3.0]), np.array([0.5]), None)
    np.testing.assert_allclose(y[:, 0], 0.5 + 3.0 * np.array([-1.0, 1.0]) / (1 + 1e-5) ** 0.5, atol=1e-15)
    assert (mean, variance) == (1.0, 1.0)
    # padding never counts, whatever it is
    x, mask = np.array([[0.0], [2.0], [np.nan]]), np.array([[True], [True], [False]])
    padded, mean, variance = batch_norm(OPS, x, np.array([3.0]), np.array([0.5]), mask)
    assert np.array_equal(padded[:2], y)
    assert (mean, variance) == (1.0, 1.0)


def test_shift_and_scale_of_a_layers_output_change_nothing_in_training_but_all_outside() -> None:
    rng = np.random.default_rng(0)
    x, gain, shift = rng.standard_normal((7, 3, 5)), rng.standard_normal(5), rng.standard_normal(5)
    scale = rng.uniform(50, 100, 5)
    y = batch_norm(OPS, 60 * x, gain, shift, None)[0]
    np.testing.assert_allclose(batch_norm(OPS, scale * x + 7, gain, shift, None)[0], y, atol=1e-7)
    rows = (y - shift) / gain
    np.testing.assert_allclose(rows.mean((0, 1)), 0, atol=1e-12)
    np.testing.assert_allclose((rows**2).mean((0, 1)), 1, atol=1e-7)


@pytest.mark.parametrize("spec", [SPEC, LAST])
def test_running_statistics_have_no_gradient_and_the_others_that_of_finite_differences(
    spec: NetworkSpec,
) -> None:
    cell = CELLS["elman"]
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 4, 3)
    found = reference_answers(cell, spec, parameters, batch, steps=0).gradients
    rng, epsilon = np.random.default_rng(0), 1e-5
    direction = {name: rng.standard_normal(value.shape) for name, value in parameters.items()}
    losses = [
        reference_answers(
            cell, spec, {n: p + sign * epsilon * direction[n] for n, p in parameters.items()}, batch, steps=0
        ).loss
        for sign in (1, -1)
    ]
    slope = sum(float(np.sum(found[name] * direction[name])) for name in parameters)
    assert (losses[0] - losses[1]) / (2 * epsilon) == pytest.approx(slope, rel=1e-6)
    statistics = running_of(found)
    assert set(statistics) == {f"layers.{n}.norm.{name}" for n in (0, 1) for name in ("mean", "variance")}
    assert all(np.array_equal(value, np.zeros_like(value)) for value in statistics.values())


def session() -> Any:
    return toy.Toy().open(Settings(dtype="float64"), CELLS)


@pytest.mark.parametrize(
    "training", [TrainingSpec("adam", 0.1, clip=0.01, l2=0.3), TrainingSpec("sgd", 0.1, clip=0.01, l2=0.3)]
)
def test_neither_optimiser_nor_clip_nor_penalty_moves_running_statistics(training: TrainingSpec) -> None:
    cell, parameters = CELLS["elman"], probe_parameters(CELLS["elman"], SPEC)
    batch = probe_batch(cell, SPEC, 6, 4)
    network = session().build(SPEC, parameters, training, "portable")
    network.train_step(network.put(batch))
    found = network.parameters()
    _, final = trained_outputs(SPEC, parameters, batch)
    for name, value in running_of(final).items():
        np.testing.assert_allclose(found[name], value, atol=1e-15)
        assert np.abs(value - parameters[name]).max() > 1e-3
    assert np.abs(found["layers.0.norm.gain"] - parameters["layers.0.norm.gain"]).max() > 1e-6


@pytest.mark.parametrize("spec", [SPEC, LAST, replace(SPEC, cell="lstm", lengths=False, layers=1)])
def test_a_backend_passes_the_gate_and_one_that_mistakes_statistics_does_not(
    spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = CELLS[spec.cell]
    good = parity_of(session(), cell, spec, "portable", "float64")
    assert good.passed
    assert "trained outputs" in good.worst
    assert optimizer_parity_of(session(), cell, spec, "portable", "float64").passed
    if spec.bidirectional == "none":
        assert step_parity_of(session(), cell, spec, "portable", "float64").passed

    kept = running_of(probe_parameters(cell, spec))

    def stale(ops: Any, cell: Cell, spec: NetworkSpec, values: Any, *rest: Any, training: bool) -> Any:
        values = values if training else {**values, **kept}
        return network_outputs(ops, cell, spec, values, *rest, training=training)

    # what is patched here is the network's: the reference has its own name for the function
    mistakes: dict[str, tuple[str, Any]] = {
        "batch statistics in forward": (
            "outputs",
            lambda *given, training: network_outputs(*given, training=True),
        ),
        "running statistics in training": (
            "loss",
            lambda *given, training: network_outputs(*given, training=False),
        ),
        "stale statistics in forward": ("trained outputs", stale),
    }
    for name, (quantity, wrong) in mistakes.items():
        with monkeypatch.context() as patched:
            patched.setattr(placing, "network_outputs", wrong)
            worst = parity_of(session(), cell, spec, "portable", "float64").worst
        assert worst[quantity] > 1, (name, worst)
        if wrong is stale:
            assert {each for each, ratio in worst.items() if ratio > 1} == {"trained outputs"}
    parameters = toy.ToyNetwork.parameters
    # over one less than the 15 to 28 that there are
    monkeypatch.setattr(
        toy.ToyNetwork,
        "parameters",
        lambda network: {
            name: value * 1.03 if name.endswith("variance") else value
            for name, value in parameters(network).items()
        },
    )
    assert parity_of(session(), cell, spec, "portable", "float64").worst["parameters"] > 1


class Rounding:
    """A worker whose gradient of the first layer's bias is off by ``error``."""

    def __init__(self, case: Case, error: float) -> None:
        self.case, self.error = case, error

    def ask(self, do: str, limit_s: float, **asked: Any) -> dict[str, Any]:
        data, cell = discover().tasks[self.case.task].prepare(self.case.length), CELLS[self.case.cell]
        spec = network_spec(self.case, data.shape)
        start = initialise(cell, spec, self.case.init, self.case.forget_bias, 0)
        found = reference_answers(cell, spec, start, data.batch(0, 0, self.case.batch), steps=0)
        name = "layers.0.forward.b"
        return {
            "outputs": found.outputs,
            "state": found.state,
            "loss": found.loss,
            "gradients": {**found.gradients, name: found.gradients[name] + self.error},
        }


def test_the_gate_knows_that_what_is_divided_by_a_small_deviation_is_rounded_by_more() -> None:
    """Of a feature that all sequences nearly agree on, a bias' gradient is a sum of terms that cancel."""
    plugins = discover()
    case = Case("adding", 9, "elman", "numpy", "native", hidden=6, batch=4, norm="batch", init="glorot")
    data, cell = plugins.tasks["adding"].prepare(9), CELLS["elman"]
    spec, batch = network_spec(case, data.shape), data.batch(0, 0, 4)
    start = initialise(cell, spec, "glorot", 1.0, 0)
    found = reference_answers(cell, spec, start, batch, steps=0)
    last = np.array([plain_elman(start, 0, x, np.zeros(6))[-1] for x in batch.inputs])
    assert found.magnified == pytest.approx(1 / (last.var(0).min() + 1e-5) ** 0.5, rel=1e-9)
    assert found.magnified > 4
    least = tolerance("float32", 9)
    for times, passes in ((0.5, True), (0.5 * found.magnified, True), (3 * found.magnified, False)):
        worker: Any = Rounding(case, times * least)
        assert Gate(plugins.cells).check(worker, "", case, spec, data, 1.0).passed == passes
    plain = replace(spec, norm="none")
    assert reference_answers(cell, plain, initialise(cell, plain, "glorot", 1.0, 0), batch).magnified == 1


def test_norms_start_as_nothing_but_norms() -> None:
    plain, normed = (
        initialise(CELLS["lstm"], replace(SPEC, cell="lstm", norm=norm), "uniform", 1.0, 7)
        for norm in ("none", "batch")
    )
    assert all(np.array_equal(normed[name], value) for name, value in plain.items())
    added = {name: value for name, value in normed.items() if name not in plain}
    assert {name: value.shape for name, value in added.items()} == {
        f"layers.{layer}.norm.{name}": (5,)
        for layer in range(2)
        for name in ("gain", "shift", "mean", "variance")
    }
    for name, value in added.items():
        assert np.array_equal(value, np.full(5, float(name.endswith(("gain", "variance")))))
    assert set(parameter_shapes(CELLS["lstm"], SPEC)) >= set(added)


SUITE = "axes: {task: adding, length: 9, cell: gru, backend: numpy, norm: [layer, batch]}\n"


def test_a_suite_asks_for_it_and_what_makes_no_sense_is_refused_at_plan_time() -> None:
    cases = plan(parse_suite(SUITE, name="s"), discover()).cases
    assert {case.norm for case in cases} == {"layer", "batch"}
    for change, message in (
        ("batch: 1", r"s.yaml:2: defaults.batch: norm batch takes the variance over a batch, and of one seq"),
        (
            "train: {optimizer: ridge}",
            r"s.yaml:1: axes.norm\[1\]: a readout that ridge regression fits \(gru\)",
        ),
    ):
        with pytest.raises(RequestError, match=message):
            plan(parse_suite(f"{SUITE}defaults: {{{change}}}\n", name="s"), discover())
    sequences = SUITE.replace("adding", "reverse").replace("[layer, batch]", "batch")
    with pytest.raises(RequestError, match="decoders have no norm"):
        plan(parse_suite(sequences, name="s"), discover())


def test_a_budget_bears_on_what_learns_alone() -> None:
    cell, match = CELLS["gru"], Match(parameters=1000, head=True)
    layer, batch = (
        matched_parameters(cell, replace(SPEC, cell="gru", norm=norm), match) for norm in ("layer", "batch")
    )
    assert layer == batch


def test_gradient_flow_is_that_of_training() -> None:
    cell = CELLS["elman"]
    parameters, batch = probe_parameters(cell, SPEC), probe_batch(cell, SPEC, 5, 3)
    flows = measure_flow(cell, SPEC, parameters, batch)
    moved = {name: value + 0.5 * is_running(name) for name, value in parameters.items()}
    assert measure_flow(cell, SPEC, moved, batch) == flows
    louder = {name: value * (1 + name.endswith("gain")) for name, value in parameters.items()}
    assert measure_flow(cell, SPEC, louder, batch) != flows


@pytest.mark.framework
def test_torchs_own_layer_over_the_valid_steps() -> None:
    torch = pytest.importorskip("torch")
    cell, parameters = CELLS["elman"], probe_parameters(CELLS["elman"], SPEC)
    batch = replace(probe_batch(cell, SPEC, 6, 4), dropout=None)
    assert batch.lengths is not None
    assert batch.state is not None
    lengths, states = batch.lengths, batch.state
    own = {key: torch.from_numpy(value.copy()).requires_grad_() for key, value in parameters.items()}
    norms = []
    for layer in range(2):
        # torch's variance is over one less than there are; momentum 0.1 is what we write 0.9
        norm = torch.nn.BatchNorm1d(5, dtype=torch.float64)
        with torch.no_grad():
            for theirs, ours in (
                (norm.running_mean, "mean"),
                (norm.running_var, "variance"),
                (norm.weight, "gain"),
                (norm.bias, "shift"),
            ):
                theirs.copy_(torch.from_numpy(parameters[f"layers.{layer}.norm.{ours}"]))
        norms.append(norm)

    def outputs(training: bool) -> list[Any]:
        xs = [torch.from_numpy(batch.inputs[b, :n]) for b, n in enumerate(lengths)]
        for layer, norm in enumerate(norms):
            norm.train(training)
            prefix, ys = f"layers.{layer}.forward.", []
            W_x, W_h, b = (own[prefix + name] for name in ("W_x", "W_h", "b"))
            for number, x in enumerate(xs):
                h = torch.from_numpy(states[prefix + "h"][number])
                for row in x:
                    h = torch.tanh(row @ W_x[:, 0] + h @ W_h[:, 0] + b[0])
                    ys.append(h)
            xs = list(norm(torch.stack(ys)).split([len(x) for x in xs]))
        return [x @ own["head.W"] + own["head.b"] for x in xs]

    expected = reference_answers(cell, SPEC, parameters, batch, steps=1)
    for b, y in enumerate(outputs(False)):
        np.testing.assert_allclose(y.detach().numpy(), expected.outputs[b, : len(y)], atol=1e-13)
    y = torch.cat(outputs(True))
    targets = np.concatenate([batch.targets[b, :n] for b, n in enumerate(batch.lengths)])
    loss = torch.nn.functional.mse_loss(y, torch.from_numpy(targets))
    loss.backward()
    assert loss.item() == pytest.approx(expected.loss, abs=1e-13)
    for key in ("layers.0.forward.W_h", "layers.1.forward.W_x", "head.W", "layers.0.forward.b"):
        np.testing.assert_allclose(own[key].grad.numpy(), expected.gradients[key], atol=1e-13)
    N = sum(batch.lengths)
    for layer, norm in enumerate(norms):
        prefix = f"layers.{layer}.norm."
        np.testing.assert_allclose(norm.weight.grad.numpy(), expected.gradients[prefix + "gain"], atol=1e-13)
        np.testing.assert_allclose(norm.running_mean.numpy(), expected.trained[prefix + "mean"], atol=1e-14)
        kept = 0.9 * parameters[prefix + "variance"]
        added = norm.running_var.numpy() - kept
        np.testing.assert_allclose(
            kept + added * (N - 1) / N, expected.trained[prefix + "variance"], atol=1e-14
        )
        assert np.abs(kept + added - expected.trained[prefix + "variance"]).max() > 1e-5
