"""One time step at a time: the same function as the whole, its clock, and its way through the harness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty_plugin import toy  # type: ignore[attr-defined]
from hypothesis import given, settings
from hypothesis import strategies as st
from test_workers import PLUGINS

from rnnbench.contracts import Batch, NetworkSpec, Settings, TrainingSpec
from rnnbench.errors import Unsupported
from rnnbench.measuring.bench import Bench, open_bench
from rnnbench.measuring.streaming import Stream, first_sequence
from rnnbench.planning.plan import plan
from rnnbench.plugins import discover
from rnnbench.records import Block
from rnnbench.reference import probe_batch, probe_parameters
from rnnbench.results.reading import timings
from rnnbench.results.tidy import percentile_timings
from rnnbench.suite.loading import load_suite
from rnnbench.testing import CELLS, RECURRENT, step_parity_of

DENSE = NetworkSpec("", 3, 5, 4, "each", "mse", layers=2)
SPECS = {
    "each": DENSE,
    "last, lengths": replace(DENSE, readout="last", lengths=True),
    "each, lengths": replace(DENSE, lengths=True),
    "tokens": replace(DENSE, readout="last", loss="cross_entropy", vocab=11),
}


def session() -> Any:
    return toy.Toy().open(Settings(dtype="float64"), CELLS)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("name", RECURRENT)
def test_repeated_steps_are_the_whole(name: str, spec: NetworkSpec) -> None:
    parity = step_parity_of(session(), CELLS[name], replace(spec, cell=name), "portable", "float64")
    assert parity.passed, parity


@pytest.mark.parametrize("mistake", ["forgets its state", "forgets one layer", "is a step late"])
def test_a_step_that_is_wrong_is_caught(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step = toy.ToyNetwork.step
    start: list[Any] = []

    def wrong(self: Any, x: Any, state: Any) -> tuple[Any, Any]:
        start.append(state)
        y, new = step(self, x, state)
        if mistake == "forgets its state":
            return y, start[0]
        if mistake == "forgets one layer":
            return y, {name: start[0][name] if name.startswith("layers.1") else new[name] for name in new}
        return step(self, x, start[-2])[0] if len(start) > 1 else y, new

    monkeypatch.setattr(toy.ToyNetwork, "step", wrong)
    parity = step_parity_of(session(), CELLS["lstm"], replace(DENSE, cell="lstm"), "portable", "float32")
    assert not parity.passed


def test_what_needs_the_future_cannot_stream() -> None:
    spec = replace(DENSE, cell="gru", bidirectional="concat")
    with pytest.raises(Unsupported, match=r"both directions.*bidirectional none"):
        step_parity_of(session(), CELLS["gru"], spec, "portable", "float64")


class FakeNetwork:
    """Counts up from its initial state; step number n of all takes ``seconds[n]`` of a fake clock."""

    def __init__(self, length: int, seconds: Sequence[float]) -> None:
        self.length, self.seconds, self.now, self.synced = length, list(seconds), 0.0, 0
        self.seen: list[tuple[int, int]] = []

    def put_steps(self, batch: Batch) -> tuple[list[int], int]:
        return list(range(self.length)), 100

    def step(self, x: int, state: int) -> tuple[int, int]:
        self.seen.append((x, state))
        return state, state + 1

    def sync(self, value: int) -> None:
        self.synced += 1
        self.now += self.seconds.pop(0)


def batch(length: int) -> Batch:
    return Batch(np.zeros((2, length, 1)), np.zeros(2))


def test_every_step_has_its_own_clock_and_state_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    network = FakeNetwork(3, [0.5, 0.25, 2.0, 1.0, 4.0])
    monkeypatch.setattr("rnnbench.measuring.streaming.time.perf_counter", lambda: network.now)
    stream = Stream(network, batch(3))  # type: ignore[arg-type]
    assert stream.clock(5).tolist() == [0.5, 0.25, 2.0, 1.0, 4.0]
    assert network.synced == 5
    assert network.seen == [(0, 100), (1, 101), (2, 102), (0, 100), (1, 101)]


def test_padding_is_no_step() -> None:
    padded = Batch(np.zeros((2, 7, 1)), np.zeros(2), lengths=np.array([4, 7], np.int32))
    assert first_sequence(padded).inputs.shape == (1, 4, 1)
    assert first_sequence(padded).lengths is None


def test_an_implementation_without_step_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="one time step at a time"):
        Stream(object(), batch(3))  # type: ignore[arg-type]


def opened(bidirectional: str = "none") -> tuple[Bench, dict[str, Any]]:
    bench, _ = open_bench("toy", {"dtype": "float64"}, list(PLUGINS), [])
    spec = NetworkSpec("lstm", 6, 4, 9, "each", "cross_entropy", 1, bidirectional, vocab=10)  # type: ignore[arg-type]
    fields = {name: getattr(spec, name) for name in NetworkSpec.__slots__}
    training = {"optimizer": "sgd", "lr": 0.1, "clip": None}
    request = {
        "task": "copy",
        "length": 5,
        "size": 3,
        "init": "glorot",
        "gain": 1.0,
        "forget_bias": 1.0,
        "seed": 0,
    }
    bench.build("a", fields, training, "portable", **request)  # type: ignore[arg-type]
    return bench, fields


def test_a_block_tells_median_and_99th_percentile(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, _ = opened()
    first = bench.first("a", "stream")
    assert (first["step_path"], first["path"]) == ("the cell's step", "Python loop, autograd tape")
    seconds = np.arange(1, 201) / 1000
    monkeypatch.setattr(Stream, "clock", lambda self, steps: seconds)
    block = bench.block("a", "stream", 200)
    assert block["seconds"] == pytest.approx(20.1)
    assert block["p50_s"] == pytest.approx(0.1005)
    assert block["p99_s"] == pytest.approx(0.19801)  # between the 198th and the 199th of 200


def test_the_gate_sees_the_steps_of_the_case_itself() -> None:
    bench, _ = opened()
    whole = bench.check("a", steps=True)
    np.testing.assert_allclose(whole["stepped"], whole["outputs"][:1], rtol=0, atol=1e-12)
    assert "stepped" not in bench.check("a", steps=False)


def test_both_directions_end_as_unsupported() -> None:
    bench, _ = opened("sum")
    with pytest.raises(Unsupported, match="both directions"):
        bench.first("a", "stream")


def test_percentiles_are_read_like_times() -> None:
    blocks = [
        Block("k", "stream", 0, 0, 0, 200, 9.0, p50_s=0.1, p99_s=0.3),
        Block("k", "stream", 0, 1, 0, 200, 8.0, p50_s=0.2, p99_s=0.4),
        Block("k", "forward", 0, 0, 0, 1, 1.0),
    ]
    assert percentile_timings(blocks, "p99_s") == {("k", "stream"): {0: {0: 0.3, 1: 0.4}}}
    assert timings(blocks)["k", "stream"] == {0: {0: 0.045, 1: 0.04}}


def test_steps_use_the_present_parameters() -> None:
    spec = replace(DENSE, cell="gru")
    network = session().build(
        spec, probe_parameters(CELLS[spec.cell], spec), TrainingSpec(lr=0.5), "portable"
    )
    data = probe_batch(CELLS[spec.cell], spec, 4, 2)
    inputs, state = network.put_steps(data)
    before = network.step(inputs[0], state)[0]
    network.train_step(network.put(data))
    assert not np.allclose(before, network.step(inputs[0], state)[0])


def test_a_plan_says_at_once_what_cannot_stream(tmp_path: Path) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "axes: {task: [adding], length: [5], cell: [lstm], backend: [toy], bidirectional: [none, concat]}\n"
        "defaults: {measure: [forward, stream]}\n"
    )
    planned = plan(load_suite(suite), discover(PLUGINS))
    assert [case.bidirectional for case in planned.cases] == ["none"]
    assert [(each.case.bidirectional, each.status) for each in planned.refused] == [("concat", "unsupported")]
    assert "bidirectional none" in planned.refused[0].reason


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_sequence_in_any_chunks_is_the_sequence(data: st.DataObject) -> None:
    """Forward over each chunk from the state that the last one left, and one step after the other."""
    cell = CELLS[data.draw(st.sampled_from(["elman", "lstm", "gru", "lstm_projected", "qrnn", "lru"]))]
    spec, length = replace(DENSE, cell=cell.name), data.draw(st.integers(1, 9))
    ends = sorted(data.draw(st.sets(st.integers(1, length - 1))) | {length}) if length > 1 else [1]
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, length, 3)
    network = session().build(spec, parameters, TrainingSpec(), "portable")
    whole, final = network.fetch(network.forward(network.put(batch)))
    outputs, state, start = [], batch.state, 0
    for end in ends:
        chunk = Batch(batch.inputs[:, start:end], batch.targets[:, start:end], None, state)
        y, state = network.fetch(network.forward(network.put(chunk)))
        outputs.append(y)
        start = end
    np.testing.assert_allclose(np.concatenate(outputs, 1), whole, rtol=1e-12, atol=1e-13)
    inputs, at = network.put_steps(batch)
    stepped = []
    for x in inputs:
        y, at = network.step(x, at)
        stepped.append(network.fetch(y))
    np.testing.assert_allclose(np.stack(stepped, 1), whole, rtol=1e-12, atol=1e-13)
    assert state is not None
    for name, value in final.items():
        np.testing.assert_allclose(state[name], value, rtol=1e-12, atol=1e-13)
