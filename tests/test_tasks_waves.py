"""Waves from three numbers: against a recurrence, closed forms and a fit of the right functions."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from faulty_plugin import toy  # type: ignore[attr-defined]

from rnnbench.contracts import Settings, TaskDeclaration, TrainingSpec
from rnnbench.errors import RequestError
from rnnbench.planning.networks import network_spec
from rnnbench.records import Case
from rnnbench.suite.loading import parse_suite
from rnnbench.suite.schema import schema
from rnnbench.tasks.declared import declare
from rnnbench.tasks.waves import Wave
from rnnbench.testing import CELLS
from rnnbench.training import initialise


@pytest.mark.parametrize("given", ["first", "repeated"])
def test_a_wave_follows_its_recurrence_from_the_vector_that_is_given(given: Any) -> None:
    data = Wave("wave", "", given).prepare(30)
    batch = data.batch(3, 5, 7)
    assert batch.inputs.shape == (7, 30, 3)
    assert batch.targets.shape == (7, 30, 1)
    assert batch.lengths is None
    u, v, w = batch.inputs[:, 0].T
    y = batch.targets[:, :, 0]
    # y_{t+1} = 2 cos(2πf) y_t - y_{t-1}, from two values
    turn = 2 * np.pi * (5 + 3 * v) / 80
    np.testing.assert_allclose(y[:, 0], (1 + u / 2) * np.sin(np.pi * w), atol=1e-15)
    for t in range(1, 29):
        np.testing.assert_allclose(y[:, t + 1], 2 * np.cos(turn) * y[:, t] - y[:, t - 1], atol=1e-13)
    later = batch.inputs[:, 1:]
    expected = np.broadcast_to(batch.inputs[:, :1], later.shape) if given == "repeated" else 0 * later
    assert np.array_equal(later, expected)
    assert ((2 * np.pi / turn >= 10) & (2 * np.pi / turn <= 40)).all()
    # where it stands is all that differs
    other = Wave("wave", "", "first" if given == "repeated" else "repeated").prepare(30).batch(3, 5, 7)
    assert np.array_equal(other.targets, batch.targets)
    assert np.array_equal(other.inputs[:, 0], batch.inputs[:, 0])
    assert not np.array_equal(data.batch(3, 6, 7).inputs, batch.inputs)
    assert not np.array_equal(data.batch(4, 5, 7).inputs, batch.inputs)


def test_length_1_is_one_to_one_and_0_is_refused() -> None:
    batch = Wave("wave", "").prepare(1).batch(0, 0, 4)
    assert batch.inputs.shape == (4, 1, 3)
    assert batch.targets.shape == (4, 1, 1)
    with pytest.raises(RequestError, match="length 0 is too short; give at least 1"):
        Wave("wave", "").prepare(0)


def test_the_evaluation_part_is_the_same_for_every_size_and_apart_from_training() -> None:
    data = Wave("wave", "", evaluation=510).prepare(4)
    whole = np.concatenate([batch.inputs for batch in data.evaluation(1000)])
    parts = [batch.inputs for batch in data.evaluation(33)]
    assert whole.shape == (510, 4, 3)
    assert {len(part) for part in parts[:-1]} == {33}
    assert np.array_equal(np.concatenate(parts), whole)
    assert not np.isin(data.batch(0, 0, 500).inputs[:, 0], whole[:, 0]).any()


def test_baselines_are_the_closed_forms() -> None:
    data = Wave("wave", "", evaluation=20_000).prepare(12)
    found = data.baselines()
    assert found["trivial"].name == "mean"
    assert found["trivial"].value == pytest.approx(13 / 24, abs=0.01)
    # at t = 0 the best linear function of the vector is (3/π) w, with error E[(a sin πw)²] - 3 E[w sin πw]²
    first = Wave("wave", "", "repeated", evaluation=20_000).prepare(1).baselines()["simple"]
    assert first.value == pytest.approx(13 / 24 - 3 / math.pi**2, abs=0.01)
    assert first.value < found["simple"].value < found["trivial"].value
    assert data.score((batch.targets, batch) for batch in data.evaluation(99)) == 0.0


def test_a_suite_declares_it_and_its_options_are_checked() -> None:
    text = """
tasks: {tone: {kind: wave, given: repeated, evaluation: 40}}
axes: {cell: gru, length: [1, 20]}
"""
    suite = parse_suite(text, name="s")
    task = declare(suite.tasks["tone"])
    assert task == Wave("tone", task.about, "repeated", 40)
    with pytest.raises(RequestError, match=r"s.yaml:2: tasks.tone.given: .*'last' was given"):
        parse_suite(text.replace("repeated", "last"), name="s")
    with pytest.raises(RequestError, match=r'tasks.x.every: no option "every"'):
        declare(TaskDeclaration("x", "wave", {"every": 3}))
    kinds = schema()["properties"]["tasks"]["additionalProperties"]["oneOf"]
    (wave,) = [each for each in kinds if each["properties"]["kind"] == {"const": "wave"}]
    assert '"first", "repeated"' in json.dumps(wave["properties"]["given"])


@pytest.mark.parametrize("given", ["first", "repeated"])
def test_a_network_learns_it(given: Any) -> None:
    """One to many needs no other network: what is given at the first step is carried by the state."""
    data, cell = Wave("wave", "", given).prepare(6), CELLS["gru"]
    spec = network_spec(Case("wave", 6, "gru", "toy", "portable", hidden=16), data.shape)
    session = toy.Toy().open(Settings(dtype="float64"), CELLS)
    parameters = initialise(cell, spec, "glorot", 1.0, 0)
    network = session.build(spec, parameters, TrainingSpec("adam", 0.02), "portable")
    for step in range(150):
        network.train_step(network.put(data.batch(0, step, 32)))
    batch = data.batch(1, 0, 200)
    outputs = network.forward(network.put(batch))[0]
    error = float(np.mean((outputs - batch.targets) ** 2))
    assert error < 0.5 * data.baselines()["simple"].value
    # without its vector there is nothing to go by
    blind = replace(batch, inputs=0 * batch.inputs)
    assert np.mean((network.forward(network.put(blind))[0] - batch.targets) ** 2) > 0.4
