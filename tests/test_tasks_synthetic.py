"""Copy and adding against closed forms; batches as pure functions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnbench.contracts import Batch
from rnnbench.errors import RequestError
from rnnbench.tasks.synthetic import Adding, Copy

COPY = Copy("copy", "")
ADDING = Adding("adding", "")


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    norm = np.log(np.exp(logits).sum(-1))
    picked = np.take_along_axis(logits, targets[..., None].astype(int), -1)[..., 0]
    return float(np.mean(norm - picked))


def blank_then_uniform(batch: Batch, symbols: int = 10) -> np.ndarray:
    """The best a network without memory can do: blanks, then all symbols alike."""
    logits = np.full((*batch.targets.shape, 9), -60.0)
    logits[:, :-symbols, 0] = 0.0
    logits[:, -symbols:, 1:] = 0.0
    return logits


def perfect(batch: Batch, classes: int) -> np.ndarray:
    return np.eye(classes)[batch.targets]


@pytest.mark.parametrize("length", [1, 20, 100])
def test_copy_without_memory_has_the_closed_form_loss_and_recall(length):
    data = COPY.prepare(length)
    batches = list(data.evaluation(100))
    losses = [cross_entropy(blank_then_uniform(batch), batch.targets) for batch in batches]
    assert np.mean(losses) == pytest.approx(10 * np.log(8) / (length + 20), rel=1e-9)
    recall = data.score((blank_then_uniform(batch), batch) for batch in batches)
    assert recall == pytest.approx(0.125, abs=3 * 0.0047)
    assert data.baselines()["trivial"].value == 0.125


def test_copy_scores_only_the_recalled_symbols():
    data = COPY.prepare(100)
    assert data.score((perfect(batch, 9), batch) for batch in data.evaluation(64)) == 1.0
    # nothing but blanks is right at 92 % of all steps, and recalls nothing
    blanks = ((np.eye(9)[np.zeros_like(batch.targets)], batch) for batch in data.evaluation(64))
    assert data.score(blanks) == 0.0
    wrong_before = ((perfect(batch, 9), batch) for batch in data.evaluation(64))
    assert data.score((np.concatenate([1 - o[:, :110], o[:, 110:]], 1), b) for o, b in wrong_before) == 1.0


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(2, 9), st.integers(0, 2**40))
def test_copy_recalls_after_the_cue_what_stood_before_the_delay(length, symbols, alphabet, seed):
    data = Copy("c", "", symbols=symbols, alphabet=alphabet).prepare(length)
    batch = data.batch(seed, 3, 5)
    assert batch.inputs.shape == batch.targets.shape == (5, length + 2 * symbols)
    assert batch.inputs.dtype == batch.targets.dtype == np.int32
    assert batch.lengths is None
    assert batch.inputs[:, symbols - 1 + length].tolist() == [alphabet + 1] * 5
    assert (batch.inputs == alphabet + 1).sum() == 5
    assert np.array_equal(batch.inputs[:, :symbols], batch.targets[:, -symbols:])
    assert (batch.inputs > 0).sum() == 5 * (symbols + 1)
    assert not batch.targets[:, :-symbols].any()
    assert 1 <= batch.inputs[:, :symbols].min() <= batch.inputs[:, :symbols].max() <= alphabet
    assert data.shape.vocab == alphabet + 2
    assert data.shape.output_size == alphabet + 1


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 200), st.integers(0, 2**40))
def test_adding_sums_one_marked_number_of_each_half(length, seed):
    batch = ADDING.prepare(length).batch(seed, 1, 6)
    values, marks = batch.inputs[..., 0], batch.inputs[..., 1]
    half = length // 2
    assert batch.inputs.dtype == batch.targets.dtype == np.float64
    assert (marks[:, :half].sum(1) == 1).all()
    assert (marks[:, half:].sum(1) == 1).all()
    assert set(np.unique(marks)) <= {0.0, 1.0}
    assert np.allclose((values * marks).sum(1), batch.targets[:, 0], rtol=1e-15)
    assert values.min() >= 0
    assert values.max() < 1


def test_adding_at_chance_is_one_sixth():
    many = Adding("a", "", evaluation=100_000).prepare(2)
    ones = ((np.ones_like(batch.targets), batch) for batch in many.evaluation(5000))
    assert many.score(ones) == pytest.approx(1 / 6, abs=3 * 0.00062)
    baselines = ADDING.prepare(60).baselines()
    assert baselines["trivial"].value == pytest.approx(1 / 6, abs=3 * 0.0044)
    # the best linear forecast explains 2/L of the variance
    assert baselines["simple"].value == pytest.approx((1 - 2 / 60) / 6, abs=3 * 0.0044)


def test_adding_two_numbers_is_linear_at_length_two():
    assert ADDING.prepare(2).baselines()["simple"].value < 1e-6


def test_adding_mse_is_an_average_over_sequences_not_batches():
    data = Adding("a", "", evaluation=7).prepare(4)
    (whole,) = data.evaluation(7)
    by_hand = np.mean((0.3 - whole.targets) ** 2)
    assert data.score((np.full(b.targets.shape, 0.3, np.float32), b) for b in data.evaluation(3)) == (
        pytest.approx(by_hand, rel=1e-6)
    )


@pytest.mark.parametrize("data", [COPY.prepare(7), ADDING.prepare(7)], ids=["copy", "adding"])
def test_batches_are_functions_of_seed_and_step(data):
    first = data.batch(3, 5, 8)
    again = data.batch(3, 5, 8)
    assert np.array_equal(first.inputs, again.inputs)
    assert np.array_equal(first.targets, again.targets)
    for other in (data.batch(4, 5, 8), data.batch(3, 6, 8), data.batch(5, 3, 8)):
        assert not np.array_equal(first.inputs, other.inputs)


@pytest.mark.parametrize("task", [COPY, ADDING], ids=["copy", "adding"])
@pytest.mark.parametrize("size", [1, 249, 250, 333, 5000])
def test_evaluation_is_the_same_for_every_size(task, size):
    whole = np.concatenate([batch.inputs for batch in task.prepare(5).evaluation(100)])
    parts = list(task.prepare(5).evaluation(size))
    assert np.array_equal(np.concatenate([batch.inputs for batch in parts]), whole)
    assert len(whole) == task.evaluation
    assert {len(batch.inputs) for batch in parts[:-1]} <= {size}
    assert 0 < len(parts[-1].targets) <= size


def test_training_never_meets_the_held_out_sequences():
    data = ADDING.prepare(3)
    held_out = {batch.inputs.tobytes() for batch in data.evaluation(1)}
    trained = {
        row.tobytes() for seed in range(4) for step in range(4) for row in data.batch(seed, step, 250).inputs
    }
    assert len(trained) == 4000
    assert not held_out & trained


@pytest.mark.parametrize(("task", "length"), [(COPY, 0), (COPY, -3), (ADDING, 1)])
def test_lengths_that_are_too_short_are_refused(task, length):
    with pytest.raises(RequestError, match=f"length {length} is too short; give at least [12]"):
        task.prepare(length)
