"""The gate, end to end: a worker that computes another function is caught, whatever the mistake."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from test_workers import HERE, PLUGINS

from rnnbench.contracts import NetworkSpec, Settings
from rnnbench.measuring import gate as gate_module
from rnnbench.measuring.gate import Gate, join
from rnnbench.measuring.process import WorkerKey
from rnnbench.measuring.refusals import Refused
from rnnbench.measuring.stations import Floor, Protocol
from rnnbench.measuring.workers import Workers
from rnnbench.planning.networks import network_spec
from rnnbench.plugins import Plugins, discover
from rnnbench.records import Case, Parity


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Workers, Plugins, Gate]]:
    """One process per backend and dtype for all tests of this file."""
    files = (*PLUGINS, str(HERE / "wrong_plugin.py"))
    plugins = discover(files)
    with Workers(files, ()) as workers:
        yield workers, plugins, Gate(plugins.cells)


def spec(cell: str) -> NetworkSpec:
    return NetworkSpec(cell, 3, 5, 4, "last", "cross_entropy", layers=2, bidirectional="concat", lengths=True)


def probe(floor: tuple[Workers, Plugins, Gate], mistake: str, cell: str, dtype: str = "float32") -> Parity:
    workers, _, gate = floor
    worker = workers.of(WorkerKey("wrong", Settings(dtype=dtype)))  # type: ignore[arg-type]
    return gate.probe(worker, spec(cell), mistake, 60)


@pytest.mark.parametrize(
    ("mistake", "cell", "quantity"),
    [
        ("permuted_gate", "lstm", "outputs"),
        ("dropped_bias", "gru", "outputs"),
        ("transposed_recurrence", "elman", "outputs"),
        ("leaking_padding", "lstm", "outputs"),
        ("swapped_states", "lstm", "outputs"),
        ("forgotten_state", "gru", "outputs"),
        ("half_gradient", "elman", "gradients"),
        ("idle_optimizer", "gru", "parameters"),
        ("rough_output", "lstm", "outputs"),
        ("reset_before_for_after", "gru", "outputs"),
    ],
)
def test_each_mistake_is_caught(
    mistake: str, cell: str, quantity: str, shared: tuple[Workers, Plugins, Gate]
) -> None:
    parity = probe(shared, mistake, cell)
    assert not parity.passed
    assert not parity.worst[quantity] <= 1.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
def test_without_a_mistake_it_passes(cell: str, dtype: str, shared: tuple[Workers, Plugins, Gate]) -> None:
    parity = probe(shared, "none_at_all", cell, dtype)
    assert parity.passed
    assert parity.dtype == dtype
    assert len(parity.worst) >= 4


def test_the_probe_is_asked_once_for_each_structure(
    shared: tuple[Workers, Plugins, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    workers, plugins, _ = shared
    worker, gate = workers.of(WorkerKey("toy", Settings())), Gate(plugins.cells)
    asked: list[str] = []
    ask = worker.ask
    monkeypatch.setattr(
        worker, "ask", lambda do, limit_s, **rest: asked.append(do) or ask(do, limit_s, **rest)
    )
    first = gate.probe(worker, spec("elman"), "portable", 60)
    assert gate.probe(worker, spec("elman"), "portable", 60) is first
    gate.probe(worker, spec("lstm"), "portable", 60)
    assert asked == ["probe", "probe"]


def test_the_real_shape_is_checked_too(shared: tuple[Workers, Plugins, Gate]) -> None:
    """``lying`` moves the head's bias after the build: both networks, the probe's and the case's, show it."""
    workers, plugins, gate = shared
    case = Case("copy", 3, "gru", "lying", "portable", hidden=4, batch=3)
    floor = Floor(workers, gate, plugins.cells, plugins.tasks, Protocol())
    task = plugins.tasks["copy"].prepare(3)
    station = floor.station(case)
    assert station.spec == network_spec(case, task.shape)
    floor.build(station, case.key)
    check = gate.check(floor.worker(case), case.key, case, station.spec, task, 60)
    assert not check.passed
    assert check.worst["outputs"] > 10
    with pytest.raises(Refused, match="not the function of the float32 reference") as refused:
        floor.prove(station)
    assert refused.value.status == "mismatch"
    assert "shape outputs" in refused.value.reason
    assert station.parity is not None
    assert not station.parity.passed


def test_the_reference_is_charged_to_nobody(
    shared: tuple[Workers, Plugins, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    workers, plugins, _ = shared
    case = Case("copy", 3, "gru", "toy", "portable", hidden=4, batch=3)
    answer, clock = gate_module.reference_answers, time.monotonic
    slept_s = [0.0]

    def slowly(*arguments: object, **options: object) -> object:
        slept_s[0] += 600.0
        return answer(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(gate_module, "reference_answers", slowly)
    monkeypatch.setattr(time, "monotonic", lambda: clock() + slept_s[0])
    gate = Gate(plugins.cells)
    floor = Floor(workers, gate, plugins.cells, plugins.tasks, Protocol())
    station = floor.station(case)
    floor.build(station, case.key)
    before_s = station.used_s
    floor.prove(station)
    assert slept_s[0] == 1200.0
    assert gate.computed_s >= 1200.0
    assert floor.spent_s["prove"] >= 1200.0
    assert 0 < station.used_s - before_s < 60.0


def test_join_keeps_both() -> None:
    joined = join(Parity("float32", {"outputs": 0.1, "loss": 0.2}), Parity("float32", {"outputs": 3.0}))
    assert joined.worst == {"outputs": 0.1, "loss": 0.2, "shape outputs": 3.0}
    assert not joined.passed
    assert not Parity("float32", {"outputs": np.nan}).passed, "NaN is no agreement"
