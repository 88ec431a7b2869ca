"""Operations against closed forms and other counters; the peak, the break-even, and what follows of them."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import synthetic

from rnnbench.breakeven import break_even_calls
from rnnbench.contracts import Batch, DecoderSpec, NetworkSpec, Settings, Sizes, TrainingSpec
from rnnbench.flops import StepFlops, network_flops, step_flops
from rnnbench.measuring import peak
from rnnbench.measuring.bench import Bench
from rnnbench.plugins import discover
from rnnbench.records import Block, Record
from rnnbench.reference import probe_batch, probe_parameters
from rnnbench.results.reading import RunResults
from rnnbench.results.tidy import tabulate
from rnnbench.testing import CELLS

I, H, O, B, T = 7, 5, 3, 4, 6  # noqa: E741 - the letters of the equations
SPEC = NetworkSpec("lstm", I, H, O, "each", "mse")


@pytest.mark.parametrize(
    ("name", "gates"),
    [("elman", 1), ("elman_relu", 1), ("lstm", 4), ("gru", 3), ("gru_reset_before", 3)],
)
def test_a_step_is_two_products_for_each_gate(name: str, gates: int) -> None:
    assert step_flops(CELLS[name], Sizes(I, H)) == StepFlops(2 * gates * I * H, 2 * gates * H * H)


def test_a_large_cell_is_counted_without_its_weights() -> None:
    found = step_flops(CELLS["lstm"], Sizes(3000, 2000))
    assert found == StepFlops(2 * 4 * 3000 * 2000, 2 * 4 * 2000 * 2000)


def test_a_network_in_closed_form() -> None:
    first, second = 4 * 2 * H * (I + H), 4 * 2 * H * (2 * H + H)
    step, head = 2 * (first + second), 2 * 2 * H * O
    spec = replace(SPEC, layers=2, bidirectional="concat")
    found = network_flops(CELLS["lstm"], spec, B, B * T)
    assert found["forward"] == B * T * (step + head)
    assert found["gradients"] == 3 * B * T * (step + head) - B * T * 2 * (4 * 2 * H * I)
    assert found["train_step"] == found["gradients"]
    assert found["stream"] == step + head
    last = network_flops(CELLS["lstm"], replace(spec, readout="last"), B, B * T)
    assert last["forward"] == B * (T * step + head)
    tokens = network_flops(CELLS["lstm"], replace(spec, vocab=11), B, B * T)
    assert tokens["gradients"] == 3 * tokens["forward"] == 3 * found["forward"]


def test_padding_counts_nothing() -> None:
    step, head = 4 * 2 * H * (I + H), 2 * H * O
    valid = T + 2 + 1 + 5
    each = network_flops(CELLS["lstm"], SPEC, B, valid)
    assert each["forward"] == valid * (step + head)
    assert each["gradients"] == 3 * valid * (step + head) - valid * (4 * 2 * H * I)
    last = network_flops(CELLS["lstm"], replace(SPEC, readout="last"), B, valid)
    assert last["forward"] == valid * step + B * head
    assert last["gradients"] == 3 * last["forward"] - valid * (4 * 2 * H * I)


@pytest.mark.parametrize(
    ("kind", "source", "target", "pair"),
    [
        # keys; a step of the answer beside the layer and the head; a pair: scores, and what is read
        ("none", 0, 0, 0),
        ("bahdanau", 2 * 2 * H * H, 2 * H * H + 4 * 2 * 2 * H * H, 2 * H + 2 * 2 * H),
        ("luong_general", 2 * 2 * H * H, 2 * 3 * H * H, 2 * H + 2 * 2 * H),
        ("luong_concat", 2 * 2 * H * H, 2 * H * H + 2 * 3 * H * H, 2 * H + 2 * 2 * H),
    ],
)
def test_a_decoder_in_closed_form(kind: Any, source: int, target: int, pair: int) -> None:
    D, answers, pairs = 6, 9, 37
    spec = NetworkSpec(
        "lstm", I, H, O, "each", "cross_entropy", bidirectional="concat", decoder=DecoderSpec(D, kind)
    )
    found = network_flops(CELLS["lstm"], spec, B, B * T, answers, pairs)
    encoder = B * T * 2 * (4 * 2 * H * (I + H))
    step = 4 * 2 * H * (D + H) + 2 * H * O
    assert found["forward"] == encoder + B * T * source + answers * (step + target) + pairs * pair
    assert found["gradients"] == 3 * found["forward"] - B * T * 2 * (4 * 2 * H * I)
    assert "stream" not in found


class Padded:
    """A task of which every sequence but the first is shorter than the length."""

    def prepare(self, length: int) -> Padded:
        self.lengths = np.array([length, 2, 1, 5], np.int32)
        return self

    def batch(self, seed: int, step: int, size: int) -> Batch:
        inputs = np.zeros((size, self.lengths[0], I), np.float32)
        return Batch(inputs, np.zeros((size, O), np.float32), self.lengths[:size])


def built(task: str, length: int, spec: NetworkSpec) -> dict[str, Any]:
    """What the worker of numpy replies to ``build``."""
    plugins = discover([])
    session = plugins.backends["numpy"].open(Settings(), plugins.cells)
    tasks: Any = {**plugins.tasks, "padded": Padded()}
    bench = Bench(session, "numpy", plugins, tasks)
    training = {"optimizer": "sgd", "lr": 0.1, "clip": None}
    implementation = plugins.backends["numpy"].implementations(CELLS["lstm"])[0]
    return bench.build("a", asdict(spec), training, implementation, task, length, B, "glorot", 1.0, 1.0, 0)


def test_the_steps_that_a_task_adds_to_its_length_count() -> None:
    spec = NetworkSpec("lstm", 8, H, 9, "each", "cross_entropy", vocab=10)
    reply = built("copy", 20, spec)
    assert reply["steps"] == 40
    forward = B * 40 * (4 * 2 * H * (8 + H) + 2 * H * 9)
    assert reply["flops"] == {
        "stream": forward // (B * 40), "forward": forward, "gradients": 3 * forward, "train_step": 3 * forward
    }  # fmt: skip


def test_a_batch_with_lengths_counts_their_sum() -> None:
    spec = replace(SPEC, readout="last", lengths=True)
    reply = built("padded", T, spec)
    assert reply["steps"] == T, "padding included"
    assert reply["flops"] == network_flops(CELLS["lstm"], spec, B, T + 2 + 1 + 5)
    assert all(type(count) is int for count in reply["flops"].values()), "JSON knows no integers of NumPy"


@pytest.mark.framework
@pytest.mark.parametrize("name", ["elman", "lstm", "gru", "gru_reset_before"])
@pytest.mark.parametrize("vocab", [None, 11])
def test_torch_counts_the_same(name: str, vocab: int | None) -> None:
    from rnnbench_torch import Torch
    from torch.utils.flop_counter import FlopCounterMode

    spec = replace(SPEC, cell=name, layers=2, vocab=vocab)
    session = Torch().open(Settings(), CELLS)
    network = session.build(spec, probe_parameters(CELLS[name], spec), TrainingSpec(), "portable")
    data = network.put(probe_batch(CELLS[name], spec, T, B))
    expected = network_flops(CELLS[name], spec, B, B * T)
    with FlopCounterMode(display=False) as counter:
        network.forward(data)
    assert counter.get_total_flops() == expected["forward"]
    with FlopCounterMode(display=False) as counter:
        network.gradients(data)
    # torch need not differentiate the first step's product towards the initial state
    start = 2 * B * step_flops(CELLS[name], Sizes(I, H)).recurrent
    if name == "gru_reset_before":
        # but that of n with r ⊙ h it must: r depends on the parameters
        start = 2 * B * 2 * (2 * H * H)
    assert counter.get_total_flops() == expected["gradients"] - start
    inputs, state = network.put_steps(probe_batch(CELLS[name], spec, T, 1))
    with FlopCounterMode(display=False) as counter:
        network.step(inputs[0], state)
    assert counter.get_total_flops() == expected["stream"]


@pytest.mark.framework
def test_xla_counts_the_products_and_some_per_cent_more() -> None:
    import jax
    from rnnbench_jax.ops import JaxOps

    from rnnbench.cells.streaming import network_step

    spec = NetworkSpec("gru", 64, 128, 10, "each", "mse")
    parameters = probe_parameters(CELLS["gru"], spec)
    state = {"layers.0.forward.h": np.zeros((8, 128), np.float32)}
    step = jax.jit(lambda p, x, s: network_step(JaxOps(), CELLS["gru"], spec, p, x, s))
    small = {name: value.astype(np.float32) for name, value in parameters.items()}
    cost: Any = step.lower(small, np.zeros((8, 64), np.float32), state).compile().cost_analysis()
    products = 8 * network_flops(CELLS["gru"], spec, 1, 1)["stream"]
    assert products <= cost["flops"] <= 1.05 * products


def test_the_peak_is_the_best_of_growing_products(monkeypatch: pytest.MonkeyPatch) -> None:
    now, sizes = [0.0], []
    monkeypatch.setattr("rnnbench.measuring.peak.time.perf_counter", lambda: now[0])

    def product(size: int) -> object:
        sizes.append(size)
        calls = [0]

        def call() -> None:
            calls[0] += 1
            # 1 TFLOP/s once it is large; all but one of the calls are disturbed
            now[0] += 2 * size**3 / 1e12 * (1 if calls[0] == 3 else 5) + (1e-3 if size < 1024 else 0)

        return call

    assert peak.measure_peak(product) == pytest.approx(1e12)  # type: ignore[arg-type]
    assert sizes == [256, 512, 1024, 2048, 4096]
    assert 2 * 4096**3 / 1e12 > peak.LEAST_S > 2 * 2048**3 / 1e12


@pytest.mark.parametrize(
    ("times", "calls"),
    [
        ((10.0, 1.0, 2.0, 2.0), 9.0),  # 10 + 8·1 = 2 + 8·2
        ((10.5, 1.0, 2.0, 2.0), 10.0),
        ((10.0, 2.0, 1.0, 2.0), math.inf),
        ((10.0, 3.0, 1.0, 2.0), math.inf),
        ((1.0, 3.0, 1.0, 2.0), 1.0),
        ((1.0, 1.0, 2.0, 2.0), 1.0),
    ],
)
def test_break_even(times: tuple[float, float, float, float], calls: float) -> None:
    assert break_even_calls(*times) == calls
    first_s, call_s, other_first_s, other_call_s = times
    if math.isfinite(calls):
        assert first_s + (calls - 1) * call_s <= other_first_s + (calls - 1) * other_call_s
        before = calls - 2
        assert calls == 1 or first_s + before * call_s > other_first_s + before * other_call_s


def derived_of(first_s: float, call_s: float, steps: int | None = None) -> dict[str, Any]:
    """The row of a compiled case beside a portable one of 1 s at first and 2 s a call."""
    base = synthetic.case(backend="torch", implementation="portable", measure=("forward", "stream"))
    fast = replace(base, implementation="compiled")
    flops = {"forward": 4_000_000, "stream": 1_000}
    records = tuple(
        Record(case, "ok", phases={"first_forward_s": first}, flops=flops, steps=steps)
        for case, first in ((base, 1.0), (fast, first_s))
    )
    blocks = [Block(base.key, "forward", 0, 0, 0, 2, 4.0), Block(fast.key, "forward", 0, 0, 1, 1, call_s)]
    blocks.append(Block(fast.key, "stream", 0, 0, 1, 200, 0.2, p50_s=1e-3, p99_s=2e-3))
    said = {"backend": "torch", "env": "present", "device": "cpu", "dtype": "float32", "threads": 1}
    run = replace(
        synthetic.results().run, environments={"torch": {**said, "peak_flops_per_s": 16e6}, "jax": {}}
    )
    table = tabulate([RunResults(run, records, tuple(blocks))])
    assert table.forward_break_even_calls.isna().tolist() == [True, False]
    return dict(table.iloc[1])


def test_throughput_share_of_the_peak_and_break_even_are_derived() -> None:
    row = derived_of(first_s=9.0, call_s=0.5)
    assert row["forward_sequences_per_s"] == pytest.approx(row["batch"] / 0.5)
    assert row["forward_steps_per_s"] == pytest.approx(row["batch"] * row["length"] / 0.5)
    assert row["forward_flops"] == 4_000_000
    assert row["forward_flops_per_s"] == pytest.approx(8e6)
    assert row["forward_peak_share"] == pytest.approx(0.5)
    assert row["stream_steps_per_s"] == pytest.approx(1000)
    assert row["stream_flops_per_s"] == pytest.approx(1e6)
    assert row["forward_break_even_calls"] == 1 + math.ceil(8 / 1.5)
    assert "stream_sequences_per_s" not in row


def test_time_steps_are_the_batchs_own() -> None:
    row = derived_of(first_s=9.0, call_s=0.5, steps=40)
    assert row["length"] == 20
    assert row["forward_steps_per_s"] == pytest.approx(row["batch"] * 40 / 0.5)
    assert row["stream_steps_per_s"] == pytest.approx(1000)


def test_what_is_slower_never_pays() -> None:
    assert derived_of(first_s=9.0, call_s=2.5)["forward_break_even_calls"] == math.inf
