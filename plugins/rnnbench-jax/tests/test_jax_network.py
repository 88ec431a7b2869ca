"""The optimiser, the barrier, compilations and who owns which memory."""

from __future__ import annotations

import time
from dataclasses import replace

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest
from rnnbench_jax.clocks import TRACE, CompileClock
from rnnbench_jax.network import planned_bytes

from rnnbench.contracts import NetworkSpec, TrainingSpec
from rnnbench.numpy_ops import NumpyOps
from rnnbench.reference import PROBE_TRAINING, probe_batch, probe_parameters, reference_answers
from rnnbench.training import global_norm, start_slots, update

pytestmark = pytest.mark.framework

SPEC = NetworkSpec("elman", 3, 5, 4, "each", "mse", lengths=True)


@pytest.fixture
def network(sessions, cells):
    parameters = probe_parameters(cells["elman"], SPEC)
    return sessions["float64"].build(SPEC, parameters, PROBE_TRAINING, "native")


def test_adam_with_clipping_is_the_arithmetic_of_rnnbench(sessions, cells):
    training = TrainingSpec("adam", lr=0.03, clip=0.05, l2=0.02)
    parameters = probe_parameters(cells["elman"], SPEC)
    network = sessions["float64"].build(SPEC, parameters, training, "native")
    ops, slots = NumpyOps(), start_slots(NumpyOps(), training, parameters)
    for step in (1, 2, 3):
        batch = probe_batch(cells["elman"], SPEC, 6, 4, seed=step)
        data = network.put(batch)
        loss, gradients = network.fetch(network.gradients(data))
        wanted = reference_answers(cells["elman"], SPEC, parameters, batch, steps=0, training=training)
        assert float(loss) == pytest.approx(wanted.loss, rel=1e-12)
        for name, value in wanted.gradients.items():
            np.testing.assert_allclose(gradients[name], value, rtol=0, atol=1e-12, err_msg=name)
        assert global_norm(ops, gradients) > training.clip
        parameters, slots = update(ops, training, parameters, gradients, slots, float(step))
        assert float(network.train_step(data)) == pytest.approx(float(loss), rel=1e-12)
        for name, value in network.parameters().items():
            np.testing.assert_allclose(value, parameters[name], rtol=0, atol=1e-12, err_msg=name)


def test_float32_stays_float32_where_x64_is_on(sessions, cells):
    assert jax.config.jax_enable_x64
    for implementation in ("native", "portable"):
        spec = replace(SPEC, cell="gru", bidirectional="sum")
        training = TrainingSpec("adam", clip=1.0)
        parameters = probe_parameters(cells["gru"], spec)
        network = sessions["float32"].build(spec, parameters, training, implementation)
        data = network.put(probe_batch(cells["gru"], spec, 6, 4))
        calls = ((network._forward, network._trained[0], data[0]), (network._step, network._trained, data[1]))
        for jitted, *given in calls:
            # Python numbers are weakly typed scalars of float64; an array would be an upcast
            assert "xf64>" not in jitted.lower(*given).as_text(), implementation
        assert {value.dtype for value in jax.tree.leaves(network.gradients(data))} == {np.dtype("float32")}


def test_no_state_is_a_state_of_zeros(network, cells):
    batch = probe_batch(cells["elman"], SPEC, 6, 4)
    zeros = {name: np.zeros_like(value) for name, value in batch.state.items()}
    without = network.fetch(network.gradients(network.put(replace(batch, state=None))))
    with_zeros = network.fetch(network.gradients(network.put(replace(batch, state=zeros))))
    given = network.fetch(network.gradients(network.put(batch)))
    assert without[0] == with_zeros[0] != given[0]
    np.testing.assert_array_equal(without[1]["layers.0.forward.W_h"], with_zeros[1]["layers.0.forward.W_h"])


def test_another_size_and_length_later(network, cells):
    network.forward(network.put(probe_batch(cells["elman"], SPEC, 6, 4)))
    batch = probe_batch(cells["elman"], SPEC, 9, 3)
    outputs, _ = network.fetch(network.forward(network.put(batch)))
    expected = reference_answers(cells["elman"], SPEC, network.parameters(), batch).outputs
    valid = np.arange(9)[None, :] < batch.lengths[:, None]
    np.testing.assert_allclose(outputs[valid], expected[valid], rtol=0, atol=1e-12)
    assert network.compilations() == 2


def test_compilations_are_those_that_xla_reports(network, cells):
    compiled = []

    def listen(event: str, duration: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    batches = [network.put(probe_batch(cells["elman"], SPEC, length, 4)) for length in (5, 8)]
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for batch in (*batches, *batches):
            network.forward(batch)
            network.gradients(batch)
            network.sync(network.train_step(batch))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert network.compilations() == len(compiled) == 6


def test_the_last_value_is_done_last(network):
    def repeat(times):
        return jax.jit(lambda a: jax.lax.fori_loop(0, times, lambda _, a: jnp.tanh(a @ a), a))

    a = jnp.ones((256, 256))
    heavy, light = repeat(100), repeat(1)
    network.sync((heavy(a), light(a)))
    first = heavy(a)
    network.sync(light(a))
    assert first.is_ready()


def test_memory_of_the_caller_is_never_shared(network, cells):
    batch = probe_batch(cells["elman"], SPEC, 6, 4)
    data = network.put(batch)
    before = network.parameters()
    kept = {name: value.copy() for name, value in before.items()}
    loss, gradients = network.fetch(network.gradients(data))
    batch.inputs[:] = 7.0
    gradients["head.b"][:] = 7.0
    for _ in range(2):
        network.train_step(data)
    assert all((before[name] == kept[name]).all() for name in kept)
    assert any((network.parameters()[name] != kept[name]).any() for name in kept)
    again = network.put(replace(batch, inputs=np.zeros_like(batch.inputs)))
    assert float(network.gradients(again)[0]) != float(loss)


def test_a_host_has_no_device_memory(network):
    assert network.memory() is None


def test_device_memory_is_that_of_the_call_and_not_of_the_process(network, cells):
    small, large = (network.put(probe_batch(cells["elman"], SPEC, length, 4)) for length in (6, 600))
    planned = {}
    for name, data in (("large", large), ("small", small)):
        network.gradients(data)
        planned[name] = planned_bytes(*network._last)
    inputs = 600 * 4 * 3 * 8
    assert planned["large"] > inputs + planned["small"]
    assert planned["small"] < inputs
    # training gives the memory of the old parameters to the new ones, and still can be asked
    network.train_step(small)
    assert planned_bytes(*network._last) < inputs


def test_a_trace_within_a_trace_counts_once(monkeypatch):
    now = [10.0]
    monkeypatch.setattr("rnnbench_jax.clocks.time.perf_counter", lambda: now[0])
    clock = CompileClock(TRACE)
    clock.note(TRACE[0], 1.0)  # from 9 to 10
    now[0] = 12.0
    clock.note(TRACE[0], 4.0)  # from 8 to 12: the one before was a part of it
    clock.note("/jax/another", 9.0)
    now[0] = 14.0
    clock.note(TRACE[1], 2.0)
    assert clock.seconds == pytest.approx(6.0)


def test_the_first_call_is_trace_and_compilation_and_the_second_neither(network, cells):
    data = network.put(probe_batch(cells["elman"], SPEC, 6, 4))
    times = [network.compile_times()]
    start = time.perf_counter()
    network.sync(network.gradients(data))
    first_s = time.perf_counter() - start
    times.append(network.compile_times())
    network.sync(network.gradients(data))
    times.append(network.compile_times())
    trace_s, compile_s = (times[1][part] - times[0][part] for part in ("trace", "compile"))
    assert trace_s > 0
    assert compile_s > 0
    assert 0.5 * first_s < trace_s + compile_s <= first_s
    assert times[2] == times[1]
