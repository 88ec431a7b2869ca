"""The gate passes what ships, and catches each mistake that a mapping to torch's modules can make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rnnbench_torch import Torch
from rnnbench_torch.layout import NATIVE, to_canonical, to_torch

from rnnbench.contracts import NetworkSpec, Session, Settings
from rnnbench.errors import Unsupported
from rnnbench.reference import PROBE_TRAINING, probe_batch, probe_parameters
from rnnbench.testing import CELLS, RECURRENT, conformance_specs, covering_specs, parity_of, step_parity_of

pytestmark = pytest.mark.framework
IMPLEMENTED = [
    (name, each)
    for name, cell in CELLS.items()
    for each in Torch().implementations(cell)
    if each != "compiled"  # minutes; see test_torch_compiled.py
]


@pytest.fixture(scope="module", params=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def session(dtype: Any) -> Session:
    return Torch().open(Settings(dtype=dtype), CELLS)


@pytest.mark.parametrize(("cell", "implementation"), IMPLEMENTED)
def test_every_structure_agrees_with_the_reference(
    session: Session, dtype: str, cell: str, implementation: str
) -> None:
    every = conformance_specs if implementation == "native" else covering_specs
    specs = list(every(CELLS[cell]))
    if dtype == "float32":
        specs = specs[::3]
    worst = {spec: parity_of(session, CELLS[cell], spec, implementation, dtype).worst for spec in specs}
    assert {spec: ratios for spec, ratios in worst.items() if max(ratios.values()) > 1} == {}


@pytest.mark.parametrize(("cell", "implementation"), [each for each in IMPLEMENTED if each[0] in RECURRENT])
def test_repeated_steps_are_the_whole(session: Session, dtype: str, cell: str, implementation: str) -> None:
    spec = NetworkSpec(cell, 3, 5, 4, "each", "mse", layers=2)
    for each in (spec, replace(spec, readout="last", lengths=True), replace(spec, vocab=11)):
        parity = step_parity_of(session, CELLS[cell], each, implementation, dtype)
        assert parity.passed, (each, parity)


def test_control_a_permuted_gate_is_caught_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(NATIVE["lstm"], gates=("f", "i", "g", "o"))
    monkeypatch.setitem(NATIVE, "lstm", wrong)
    session = Torch().open(Settings(dtype="float32"), CELLS)
    spec = NetworkSpec("lstm", 3, 5, 4, "each", "mse")
    assert not step_parity_of(session, CELLS["lstm"], spec, "native", "float32").passed


def worst_of(name: str, *, bidirectional: Any = "none", lengths: bool = False) -> Mapping[str, float]:
    session = Torch().open(Settings(dtype="float32"), CELLS)
    spec = NetworkSpec(name, 3, 5, 4, "each", "mse", layers=2, bidirectional=bidirectional, lengths=lengths)
    return parity_of(session, CELLS[name], spec, "native", "float32").worst


def failed(worst: Mapping[str, float]) -> set[str]:
    return {quantity for quantity, ratio in worst.items() if ratio > 1}


ALL = {"outputs", "loss", "state", "gradients", "parameters"}


@pytest.mark.parametrize("name", ["elman", "elman_relu", "lstm", "gru"])
@pytest.mark.parametrize("lengths", [False, True])
def test_control_unbroken(name: str, lengths: bool) -> None:
    assert failed(worst_of(name, bidirectional="sum", lengths=lengths)) == set()


@pytest.mark.parametrize(("name", "gates"), [("lstm", ("i", "g", "f", "o")), ("gru", ("z", "r", "n"))])
def test_a_permuted_gate_is_caught(
    name: str, gates: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NATIVE, name, replace(NATIVE[name], gates=gates))
    assert failed(worst_of(name)) == ALL


@pytest.mark.parametrize("bias", ["bias_ih", "bias_hh"])
def test_a_dropped_bias_is_caught(bias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(*given: Any) -> dict[str, np.ndarray]:
        values = to_torch(*given)
        return {**values, bias: 0 * values[bias]}

    monkeypatch.setattr("rnnbench_torch.leaves.to_torch", drop)
    assert failed(worst_of("gru")) == ALL


def test_swapped_h_and_c_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NATIVE, "lstm", replace(NATIVE["lstm"], states=("c", "h")))
    assert failed(worst_of("lstm")) == ALL


def test_reset_before_computed_as_reset_after_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NATIVE, "gru_reset_before", replace(NATIVE["gru"], inner=None))
    assert failed(worst_of("gru_reset_before")) == ALL


@pytest.mark.parametrize("poison", [np.nan, 0.0])
def test_leaking_padding_is_caught(poison: float, monkeypatch: pytest.MonkeyPatch) -> None:
    from rnnbench_torch.packing import Packing, packing_of

    def leak(lengths: np.ndarray, length: int, device: Any) -> Packing:
        return packing_of(np.full_like(lengths, length), length, device)

    pack = Packing.pack
    poisoned = lambda self, values: pack(self, np.where(np.isnan(values), poison, values))  # noqa: E731
    monkeypatch.setattr(Packing, "pack", poisoned)
    monkeypatch.setattr("rnnbench_torch.native.packing_of", leak)
    assert {"state", "loss", "gradients"} <= failed(worst_of("lstm", lengths=True))


def test_a_second_bias_that_learns_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnbench_torch.native.NativeModel.zero_frozen", lambda self: None)
    assert failed(worst_of("gru")) == {"parameters"}


def test_directions_exchanged_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def exchanged(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        other = prefix.replace("forward", "x").replace("backward", "forward").replace("x", "backward")
        return {name[len(other) :]: value for name, value in values.items() if name.startswith(other)}

    monkeypatch.setattr("rnnbench_torch.native.part", exchanged)
    assert failed(worst_of("elman", bidirectional="concat")) == ALL


def test_gates_are_permuted_by_name() -> None:
    import torch

    rng = np.random.default_rng(0)
    p = {"W_x": rng.random((3, 4, 5)), "W_h": rng.random((5, 4, 5)), "b": rng.random((4, 5))}
    gates = ("o", "i", "g", "f")
    given = to_torch(NATIVE["lstm"], gates, p)
    for kind in ("weight_ih", "weight_hh", "bias_ih"):
        name, value = to_canonical(NATIVE["lstm"], gates, kind, torch.from_numpy(given[kind]))
        np.testing.assert_array_equal(value.numpy(), p[name])
    # torch's rows are i, f, g, o, each H of them
    np.testing.assert_array_equal(given["weight_ih"][5:10], p["W_x"][:, 3].T)
    assert not given["bias_hh"].any()


@pytest.mark.parametrize("implementation", ["native", "portable"])
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_later_batches_may_have_other_sizes_and_no_state(name: str, implementation: str) -> None:
    session = Torch().open(Settings(dtype="float64"), CELLS)
    spec = NetworkSpec(name, 3, 5, 4, "each", "cross_entropy", bidirectional="concat", lengths=True)
    cell = CELLS[name]
    network = session.build(spec, probe_parameters(cell, spec), PROBE_TRAINING, implementation)
    for length, size in ((7, 4), (3, 9), (11, 1)):
        batch = probe_batch(cell, spec, length, size)
        assert batch.lengths is not None
        assert batch.state is not None
        lengths = np.minimum(batch.lengths, max(1, length - 2))  # no sequence reaches T
        zeros = {state: 0 * value for state, value in batch.state.items()}
        answers = [
            network.fetch(network.forward(network.put(replace(batch, lengths=lengths, state=state))))
            for state in (None, zeros)
        ]
        assert answers[0][0].shape == (size, length, 4)
        valid = np.arange(length) < lengths[:, None]
        assert np.isfinite(answers[0][0][valid]).all()
        np.testing.assert_array_equal(answers[0][0][valid], answers[1][0][valid])
        np.testing.assert_array_equal(
            answers[0][1]["layers.0.backward.h"], answers[1][1]["layers.0.backward.h"]
        )
    assert network.compilations() == 0


@pytest.mark.gpu
@pytest.mark.parametrize(("cell", "implementation"), IMPLEMENTED)
def test_cuda_agrees_with_the_reference(cell: str, implementation: str) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    for dtype in ("float32", "float64"):
        session = Torch().open(Settings(device="cuda", dtype=dtype), CELLS)
        for spec in list(conformance_specs(CELLS[cell]))[::3]:
            assert parity_of(session, CELLS[cell], spec, implementation, dtype).passed, spec
            network = session.build(spec, probe_parameters(CELLS[cell], spec), PROBE_TRAINING, implementation)
            assert network.path == ("cuDNN" if implementation == "native" else "eager loop")
            network.memory()
            network.sync(network.train_step(network.put(probe_batch(CELLS[cell], spec, 7, 4))))
            assert (network.memory() or 0) > 0


@pytest.mark.parametrize(("implementation", "lengths"), [("native", False), ("portable", True)])
def test_truncated_gradients_are_those_of_the_reference(implementation: str, lengths: bool) -> None:
    session = Torch().open(Settings(dtype="float64"), CELLS)
    spec = NetworkSpec("lstm", 3, 5, 4, "each", "mse", layers=2, lengths=lengths, window=3)
    assert parity_of(session, CELLS["lstm"], spec, implementation, "float64").passed
    full = session.build(replace(spec, window=None), *probe_of(spec), implementation)
    cut = session.build(spec, *probe_of(spec), implementation)
    batch = probe_batch(CELLS["lstm"], spec, 7, 4)
    (_, a), (_, b) = (each.fetch(each.gradients(each.put(batch))) for each in (full, cut))
    assert np.abs(a["layers.0.forward.W_h"] - b["layers.0.forward.W_h"]).max() > 1e-3


def probe_of(spec: NetworkSpec) -> tuple[Any, Any]:
    return probe_parameters(CELLS[spec.cell], spec), PROBE_TRAINING


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm", "lstm_projected"])
@pytest.mark.parametrize("window", [1, 3, 7, 9])
def test_truncated_gradients_reach_what_reads_the_last_state(cell: str, window: int) -> None:
    session = Torch().open(Settings(dtype="float64"), CELLS)
    spec = NetworkSpec(cell, 3, 5, 4, "last", "mse", layers=2, window=window, projection=2)
    assert parity_of(session, CELLS[cell], spec, "native", "float64").passed


@pytest.mark.parametrize("changes", [{"lengths": True}, {"bidirectional": "concat"}])
def test_what_torch_cannot_truncate_is_unsupported(changes: dict[str, Any]) -> None:
    session = Torch().open(Settings(dtype="float64"), CELLS)
    spec = replace(NetworkSpec("lstm", 3, 5, 4, "each", "mse", window=3), **changes)
    with pytest.raises(Unsupported, match=r"window.*Use portable"):
        session.build(spec, *probe_of(spec), "native")
