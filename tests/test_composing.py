"""What stands between layers, and L2: against plain loops, closed forms and torch's own layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from faulty_plugin import toy  # type: ignore[attr-defined]

from rnnbench.cells import rnnbench_cells
from rnnbench.cells.dropout import with_dropout
from rnnbench.cells.network import parameter_shapes, part
from rnnbench.cells.penalty import is_kernel
from rnnbench.contracts import Batch, FixedCell, NetworkSpec, Settings, TrainingSpec
from rnnbench.errors import RequestError
from rnnbench.planning.plan import plan
from rnnbench.plugins import discover
from rnnbench.records import Case, Train
from rnnbench.reference import probe_batch, probe_parameters, reference_answers
from rnnbench.suite.loading import parse_suite
from rnnbench.testing import OPTIMIZER_TRAINING, optimizer_parity_of, parity_of, step_parity_of
from rnnbench.training import initialise

CELLS = {cell.name: cell for cell in rnnbench_cells()}
DEEP = NetworkSpec("elman", 3, 5, 4, "last", "cross_entropy", layers=3)
BOTH = replace(DEEP, bidirectional="concat", lengths=True)
ALL = {"residual": True, "norm": "layer", "dropout": 0.4}
COMPOSITIONS: dict[str, dict[str, Any]] = {
    "residual": {"residual": True},
    "norm": {"norm": "layer"},
    "batch norm": {"norm": "batch"},
    "dropout": {"dropout": 0.4},
    "variational": {"dropout": 0.4, "dropout_kind": "variational"},
    "all": ALL,
}


def plain_elman(p: dict[str, np.ndarray], prefix: str, x: np.ndarray, h: np.ndarray) -> np.ndarray:
    """One sequence x (T,I) from h (H,): every h (T,H)."""
    ys = []
    for row in x:
        h = np.tanh(row @ p[f"{prefix}.W_x"][:, 0] + h @ p[f"{prefix}.W_h"][:, 0] + p[f"{prefix}.b"][0])
        ys.append(h)
    return np.array(ys)


def plain_norm(p: dict[str, np.ndarray], layer: int, y: np.ndarray) -> np.ndarray:
    """One vector y (F,)."""
    mean = sum(y) / len(y)
    variance = sum((value - mean) ** 2 for value in y) / len(y)
    return np.array([
        gain * (value - mean) / (variance + 1e-5) ** 0.5 + shift
        for value, gain, shift in zip(
            y, p[f"layers.{layer}.norm.gain"], p[f"layers.{layer}.norm.shift"], strict=True
        )
    ])  # fmt: skip


def plain_output(spec: NetworkSpec, p: dict[str, np.ndarray], batch: Batch, b: int) -> np.ndarray:
    """What the head says of sequence b, of Elman layers in both directions, read where they end."""
    assert batch.lengths is not None
    assert batch.state is not None
    x = batch.inputs[b, : batch.lengths[b]]
    for layer in range(spec.layers):
        ways = []
        for direction in ("forward", "backward"):
            prefix = f"layers.{layer}.{direction}"
            flip = slice(None, None, -1 if direction == "backward" else 1)
            ways.append(plain_elman(p, prefix, x[flip], batch.state[f"{prefix}.h"][b])[flip])
        y = np.concatenate(ways, axis=1)
        if layer == spec.layers - 1:
            H = spec.hidden
            # where each direction ends: the forward half of the last step, the backward half of the first
            y = np.concatenate([y[-1, :H], y[0, H:]])
            x = np.concatenate([x[-1, :H], x[0, H:]]) if layer else x
            y = plain_norm(p, layer, y) if spec.norm == "layer" else y
        elif spec.norm == "layer":
            y = np.array([plain_norm(p, layer, row) for row in y])
        x = x + y if spec.residual and layer > 0 else y
    return np.asarray(x @ p["head.W"] + p["head.b"])


@pytest.mark.parametrize("given", [COMPOSITIONS[name] for name in ("residual", "norm", "all")])
def test_outputs_are_those_of_plain_loops(given: dict[str, Any]) -> None:
    spec = replace(BOTH, **given)
    parameters = probe_parameters(CELLS["elman"], spec)
    batch = probe_batch(CELLS["elman"], spec, 7, 4)
    y = reference_answers(CELLS["elman"], spec, parameters, batch, steps=0).outputs
    expected = [plain_output(spec, parameters, batch, b) for b in range(4)]
    np.testing.assert_allclose(y, expected, atol=1e-13)
    wrong = replace(spec, residual=not spec.residual)
    assert np.abs(y - [plain_output(wrong, parameters, batch, b) for b in range(4)]).max() > 0.05


def test_a_mask_takes_features_from_the_next_layer_and_only_in_training() -> None:
    cell, spec = CELLS["gru"], replace(DEEP, cell="gru", layers=2, dropout=0.5, readout="each", loss="mse")
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 6, 3)
    assert batch.dropout is not None
    answers = reference_answers(cell, spec, parameters, batch, steps=0)
    without = reference_answers(cell, spec, parameters, replace(batch, dropout=None), steps=0)
    assert np.array_equal(answers.outputs, without.outputs)
    assert abs(answers.loss - without.loss) > 1e-3
    # with feature 2 dropped everywhere its row of W_x cannot matter: a mask is on the input of layer 1
    mask = np.array(batch.dropout["layers.1"])
    mask[..., 2] = 0.0
    gradients = reference_answers(
        cell, spec, parameters, replace(batch, dropout={"layers.1": mask}), steps=0
    ).gradients["layers.1.forward.W_x"]
    assert np.array_equal(gradients[2], np.zeros_like(gradients[2]))
    assert (gradients[[0, 1, 3, 4]] != 0).any(axis=(1, 2)).all()


@pytest.mark.parametrize("kind", ["between", "variational"])
def test_masks_scale_by_what_is_kept_and_follow_from_seed_and_step(kind: str) -> None:
    spec = replace(DEEP, hidden=50, bidirectional="concat", dropout=0.2, dropout_kind=kind)  # type: ignore[arg-type]
    plain = Batch(np.zeros((40, 30, 3)), np.zeros(40))

    def masks(seed: int, step: int) -> dict[str, np.ndarray]:
        return dict(with_dropout(CELLS["elman"], spec, plain, seed, step).dropout or {})

    found = masks(3, 5)
    assert set(found) == {"layers.1", "layers.2"}, (
        "nothing is dropped of the inputs or of what the head reads"
    )
    for mask in found.values():
        assert mask.shape == (40, 1 if kind == "variational" else 30, 100)
        assert set(np.unique(mask)) == {0.0, 1.25}
        # the mean of n draws has a standard error of √(p/(1-p)/n)
        assert abs(mask.mean() - 1) < 4 * np.sqrt(0.25 / mask.size)
    for other in (masks(3, 6), masks(4, 5), {"layers.1": found["layers.2"]}):
        assert not np.array_equal(found["layers.1"], other["layers.1"])
    assert np.array_equal(found["layers.1"], masks(3, 5)["layers.1"])
    if kind == "between":
        assert (found["layers.1"] != found["layers.1"][:, :1]).any()
    assert with_dropout(CELLS["elman"], replace(spec, dropout=0.0), plain, 3, 5) is plain


@pytest.mark.parametrize("given", COMPOSITIONS.values(), ids=COMPOSITIONS)
def test_gradients_are_those_of_finite_differences(given: dict[str, Any]) -> None:
    cell, spec = CELLS["elman"], replace(BOTH, bidirectional="sum", **given)
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 4, 3)
    found = reference_answers(cell, spec, parameters, batch, steps=0)
    rng, epsilon = np.random.default_rng(0), 1e-5
    direction = {name: rng.standard_normal(value.shape) for name, value in parameters.items()}
    losses = [
        reference_answers(
            cell, spec, {n: p + sign * epsilon * direction[n] for n, p in parameters.items()}, batch, steps=0
        ).loss
        for sign in (1, -1)
    ]
    slope = sum(float(np.sum(found.gradients[name] * direction[name])) for name in parameters)
    assert (losses[0] - losses[1]) / (2 * epsilon) == pytest.approx(slope, rel=1e-6)


def test_a_penalty_is_half_lambda_of_the_squares_of_kernels_alone() -> None:
    cell, spec = CELLS["gru"], replace(BOTH, cell="gru", vocab=11, norm="layer")
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 5, 3)
    plain, penalised = (
        reference_answers(cell, spec, parameters, batch, steps=0, training=TrainingSpec(l2=l2))
        for l2 in (0.0, 0.3)
    )
    kernels = {n for n in parameters if n.endswith((".W_x", ".W_h")) or n == "head.W"}
    assert {name for name in parameters if is_kernel(name)} == kernels
    squares = sum(float(np.sum(parameters[name] ** 2)) for name in kernels)
    assert penalised.loss - plain.loss == pytest.approx(0.15 * squares)
    for name, value in parameters.items():
        expected = 0.3 * value if name in kernels else np.zeros_like(value)
        np.testing.assert_allclose(penalised.gradients[name] - plain.gradients[name], expected, atol=1e-12)
    assert OPTIMIZER_TRAINING.l2 > 0, "or the conformance kit would not see a backend that leaves it out"


def test_a_penalty_does_not_move_what_a_cell_keeps_as_it_started() -> None:
    cell, spec = CELLS["esn"], replace(DEEP, cell="esn")
    assert isinstance(cell, FixedCell)
    batch, training = probe_batch(cell, spec, 5, 3), TrainingSpec(l2=0.3)
    found = reference_answers(cell, spec, probe_parameters(cell, spec), batch, steps=0, training=training)
    for name, value in found.gradients.items():
        assert (value != 0).any() == name.startswith("head."), name


def session() -> Any:
    return toy.Toy().open(Settings(dtype="float64"), CELLS)


@pytest.mark.parametrize("given", COMPOSITIONS.values(), ids=COMPOSITIONS)
def test_a_backend_passes_the_gate_and_one_that_leaves_something_out_does_not(given: dict[str, Any]) -> None:
    cell, spec = CELLS["elman"], replace(BOTH, **given)
    assert parity_of(session(), cell, spec, "portable", "float64").passed

    class Careless:
        def build(self, given: NetworkSpec, *rest: Any) -> Any:
            return session().build(replace(given, residual=False, norm="none"), *rest)

    class Forgetful:
        def build(self, *given: Any) -> Any:
            network = session().build(*given)
            put = network.put
            network.put = lambda batch: put(replace(batch, dropout=None))
            return network

    for wrong in ([Careless()] if spec.residual or spec.norm != "none" else []) + (
        [Forgetful()] if spec.dropout else []
    ):
        assert not parity_of(wrong, cell, spec, "portable", "float32").passed


def test_a_backend_without_the_penalty_fails_the_kit() -> None:
    class Unpenalised:
        def build(self, spec: NetworkSpec, parameters: Any, training: TrainingSpec, name: str) -> Any:
            return session().build(spec, parameters, replace(training, l2=0.0), name)

    spec = replace(DEEP, layers=1)
    assert optimizer_parity_of(session(), CELLS["elman"], spec, "portable", "float64").passed
    assert not optimizer_parity_of(Unpenalised(), CELLS["elman"], spec, "portable", "float64").passed  # type: ignore[arg-type]


def test_repeated_steps_are_the_whole_and_drop_nothing() -> None:
    spec = replace(DEEP, cell="lstm", readout="each", loss="mse", **ALL)
    assert step_parity_of(session(), CELLS["lstm"], spec, "portable", "float64").passed


def test_a_norm_starts_as_nothing_but_a_norm() -> None:
    cell, spec = CELLS["lstm"], replace(BOTH, cell="lstm")
    plain, normed = (
        initialise(cell, each, "uniform", 1.0, 7) for each in (spec, replace(spec, norm="layer"))
    )
    assert all(np.array_equal(normed[name], value) for name, value in plain.items())
    added = {name: value for name, value in normed.items() if name not in plain}
    assert set(added) == {f"layers.{layer}.norm.{name}" for layer in range(3) for name in ("gain", "shift")}
    for name, value in added.items():
        assert np.array_equal(value, np.full(10, float(name.endswith("gain"))))
    assert set(parameter_shapes(cell, replace(spec, residual=True, dropout=0.5))) == set(plain)


def test_keys_of_results_stored_before_still_hold() -> None:
    assert Case("copy", 20, "gru", "torch", "native").key == "copy-T20-gru-H64-torch-native-cpu-98293101"
    train = Train(clip=None, steps=7)
    case = Case("river", 30, "lstm", "jax", "portable", hidden=32, bidirectional="sum", train=train)
    assert case.key == "river-T30-lstm-H32-jax-portable-cpu-52c48a29"
    others = [replace(case, **given) for given in ({}, *COMPOSITIONS.values())]
    others.append(replace(case, train=replace(train, l2=0.1)))
    assert len({each.key for each in others}) == len({each.network for each in others}) == len(others)


AXES_TEXT = (
    "axes: {task: adding, length: 9, cell: elman, backend: numpy, layers: [1, 2], dropout: [0, 0.5]}\n"
)


def test_what_has_no_place_between_layers_is_refused_at_plan_time() -> None:
    excluded = AXES_TEXT + "exclude: [{layers: 1, dropout: 0.5}]\n"
    cases = plan(parse_suite(excluded, name="s"), discover()).cases
    assert {(case.layers, case.dropout) for case in cases} == {(1, 0.0), (2, 0.0), (2, 0.5)}
    message = (
        "s.yaml:1: axes.layers[0]: dropout 0.5 acts from one layer to the next, and a case has layers 1. "
        "Give layers of 2 or more, or dropout 0.0"
    )
    with pytest.raises(RequestError) as refused:
        plan(parse_suite(AXES_TEXT, name="s"), discover())
    assert str(refused.value) == message
    with pytest.raises(
        RequestError, match=r"axes.dropout: 1.0 is not allowed. Give a number from 0 to below 1"
    ):
        parse_suite(AXES_TEXT.replace("[0, 0.5]", "1.0"), name="s")
    with pytest.raises(RequestError, match=r"axes.residual: 1 is not allowed. Give true or false"):
        parse_suite(AXES_TEXT.replace("dropout: [0, 0.5]", "residual: 1"), name="s")


@pytest.mark.framework
@pytest.mark.parametrize("name", ["elman", "lstm", "gru"])
def test_torch_layers_with_its_layer_norm_and_masks_by_hand(name: str) -> None:
    torch = pytest.importorskip("torch")
    from test_oracles import torch_module

    cell, H = CELLS[name], 5
    spec = NetworkSpec(name, 3, H, 4, "last", "cross_entropy", 3, "concat", **ALL)
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 6, 4)
    batch = replace(batch, state=None)
    assert batch.dropout is not None
    own = {key: torch.from_numpy(value.copy()).requires_grad_() for key, value in parameters.items()}

    def module_of(layer: int) -> Any:
        prefix = f"layers.{layer}."
        p = {f"layers.0.{key}": value for key, value in part(parameters, prefix).items()}
        return torch_module(torch, cell, p, 1, True, features=3 if layer == 0 else 2 * H)

    rows = [module_of(layer) for layer in range(3)]

    def outputs(training: bool) -> Any:
        x = torch.from_numpy(batch.inputs)
        for layer, module in enumerate(rows):
            y, _ = module(x)
            if layer == 2:
                y, x = (torch.cat((each[:, -1, :H], each[:, 0, H:]), 1) for each in (y, x))
            norm = [own[f"layers.{layer}.norm.{leaf}"] for leaf in ("gain", "shift")]
            y = torch.nn.functional.layer_norm(y, (2 * H,), *norm)
            if training and layer < 2:
                y = y * torch.from_numpy(batch.dropout[f"layers.{layer + 1}"])
            x = y if layer == 0 else x + y
        return x @ own["head.W"] + own["head.b"]

    expected = reference_answers(cell, spec, parameters, batch, steps=0)
    np.testing.assert_allclose(outputs(False).detach().numpy(), expected.outputs, atol=1e-14)
    loss = torch.nn.functional.cross_entropy(outputs(True), torch.from_numpy(batch.targets).long())
    loss.backward()
    assert loss.item() == pytest.approx(expected.loss, abs=1e-14)
    for key in ("head.W", "layers.0.norm.gain", "layers.1.norm.shift", "layers.2.norm.gain"):
        np.testing.assert_allclose(own[key].grad.numpy(), expected.gradients[key], atol=1e-14)
    kernel = rows[1].weight_hh_l0_reverse.grad.numpy().T
    order = [cell.gates.index(gate) for gate in {"elman": "h", "lstm": "ifgo", "gru": "rzn"}[name]]
    ours = expected.gradients["layers.1.backward.W_h"][:, order].reshape(H, -1)
    np.testing.assert_allclose(kernel, ours, atol=1e-14)
