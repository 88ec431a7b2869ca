"""torch's optimisers and the clipping do the arithmetic of ``rnnbench.training``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rnnbench_torch import Torch

from rnnbench.contracts import NetworkSpec, Settings, TrainingSpec
from rnnbench.numpy_ops import NumpyOps
from rnnbench.reference import probe_batch, probe_parameters, reference_answers
from rnnbench.testing import CELLS
from rnnbench.training import start_slots, update

pytestmark = pytest.mark.framework
SHAPES = {"W": (3, 4, 5), "b": (4, 5), "head": (5, 2)}
TRAININGS = [
    TrainingSpec(optimizer, lr=0.01, clip=clip) for optimizer in ("sgd", "adam") for clip in (None, 0.5, 1e3)
]


@pytest.mark.parametrize("training", TRAININGS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6)])
def test_three_updates_equal_the_definition(training: TrainingSpec, dtype: Any, tolerance: float) -> None:
    import torch
    from rnnbench_torch.optimizer import make_update

    rng = np.random.default_rng(1)
    parameters = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
    leaves = {name: torch.tensor(value, dtype=getattr(torch, dtype)) for name, value in parameters.items()}
    step = make_update(list(leaves.values()), training)
    slots = start_slots(NumpyOps(), training, parameters)
    for t in (1, 2, 3):
        gradients = {name: rng.standard_normal(shape) * 10.0 ** -(3 * t) for name, shape in SHAPES.items()}
        parameters, slots = update(NumpyOps(), training, parameters, gradients, slots, np.float64(t))
        for name, leaf in leaves.items():
            leaf.grad = torch.tensor(gradients[name], dtype=leaf.dtype)
        step()
        for name, leaf in leaves.items():
            np.testing.assert_allclose(leaf.numpy(), parameters[name], rtol=0, atol=tolerance * t)


def test_clipping_is_exact() -> None:
    import torch
    from rnnbench_torch.optimizer import clip_gradients

    given = [torch.tensor([3.0], dtype=torch.float64), torch.tensor([[4.0]], dtype=torch.float64)]
    clip_gradients(given, 1.0)
    assert [float(g) for g in given] == pytest.approx([0.6, 0.8], abs=1e-15)
    clip_gradients(given, 2.0)
    assert [float(g) for g in given] == pytest.approx([0.6, 0.8], abs=1e-15)
    zeros = [torch.zeros(3)]
    clip_gradients(zeros, 1.0)
    assert zeros[0].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("implementation", ["native", "portable"])
@pytest.mark.parametrize("name", ["lstm", "gru"])
@pytest.mark.parametrize("lengths", [False, True])
def test_a_network_trains_by_the_definition(name: str, implementation: str, lengths: bool) -> None:
    """Clipping counts canonical parameters only: a second bias that counted would shrink every step."""
    training = TrainingSpec("adam", lr=0.01, clip=0.05, l2=0.02)
    session = Torch().open(Settings(dtype="float64"), CELLS)
    cell = CELLS[name]
    spec = NetworkSpec(name, 3, 5, 4, "last", "mse", layers=2, bidirectional="sum", lengths=lengths)
    expected: Any = probe_parameters(cell, spec)
    network = session.build(spec, expected, training, implementation)
    slots = start_slots(NumpyOps(), training, expected)
    for t in (1, 2, 3):
        batch = probe_batch(cell, spec, 6, 3, seed=t)
        data = network.put(batch)
        loss, gradients = network.fetch(network.gradients(data))
        wanted = reference_answers(cell, spec, expected, batch, steps=0, training=training)
        assert float(loss) == pytest.approx(wanted.loss, rel=1e-12)
        for key, value in wanted.gradients.items():
            np.testing.assert_allclose(gradients[key], value, rtol=0, atol=1e-10, err_msg=key)
        expected, slots = update(NumpyOps(), training, expected, gradients, slots, np.float64(t))
        assert float(network.fetch(network.train_step(data))) == pytest.approx(float(loss), rel=1e-12)
        given = network.parameters()
        assert set(given) == set(expected)
        for key, value in given.items():
            np.testing.assert_allclose(value, expected[key], rtol=0, atol=1e-10, err_msg=key)
