"""The readout by ridge regression: scikit-learn on states computed apart, and all the way to a score."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pytest
import synthetic
from fakes import CASE, FakeFloor, station
from sklearn.linear_model import Ridge

from rnnbench.contracts import Batch, DecoderSpec, NetworkSpec, Settings, TaskShape
from rnnbench.errors import RequestError, Unsupported
from rnnbench.measuring.bench import Bench
from rnnbench.measuring.ridge import Readout, RidgeSums
from rnnbench.measuring.scoring import Trained, follow, train_all_seeds
from rnnbench.planning.plan import plan
from rnnbench.plugins import Plugins, discover
from rnnbench.records import Case, Record, Train
from rnnbench.results.encoding import decode, encode
from rnnbench.suite.loading import parse_suite

H, SIZE, T = 40, 16, 12


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    pytest.importorskip("rnnbench_numpy")
    return discover()


@dataclass
class Recall:
    """What stood three steps before, as a number or as its sign; of ragged sequences."""

    loss: Any = "mse"
    scale: float = 1.0

    @property
    def shape(self) -> TaskShape:
        outputs = 1 if self.loss == "mse" else 2
        return TaskShape(outputs, "each", self.loss, "mse", higher_is_better=False, features=1, lengths=True)

    def batch(self, seed: int, step: int, size: int) -> Batch:
        rng = np.random.default_rng([seed, step])
        x = self.scale * rng.uniform(-1, 1, (size, T, 1))
        past = np.concatenate([np.zeros((size, 3, 1)), x[:, :-3]], 1)
        y = past if self.loss == "mse" else (past[..., 0] > 0).astype(np.int32)
        lengths = rng.integers(5, T + 1, size).astype(np.int32)
        for values in (x,) if self.loss != "mse" else (x, y):
            values[np.arange(T) >= lengths[:, None]] = np.nan
        return Batch(x, y, lengths)

    def evaluation(self, size: int) -> Iterator[Batch]:
        yield self.batch(99, 0, 64)

    def score(self, pairs: Iterator[tuple[np.ndarray, Batch]]) -> float:
        errors = []
        for y, batch in pairs:
            assert batch.lengths is not None
            valid = np.arange(T) < batch.lengths[:, None]
            if self.loss == "mse":
                errors.append((y[valid] - batch.targets[valid]) ** 2)
            else:
                errors.append(y[valid].argmax(-1) != batch.targets[valid])
        return float(np.mean(np.concatenate(errors)))

    def prepare(self, length: int) -> Recall:
        return self


def bench_with(plugins: Plugins, task: Any, **changes: Any) -> Bench:
    """A bench on NumPy in float64 with an echo state network for the task, under the id "n"."""
    session = plugins.backends["numpy"].open(Settings(dtype="float64"), plugins.cells)
    bench = Bench(session, "numpy", plugins, {"task": task})
    shape = task.shape
    spec = NetworkSpec("esn", 1, H, shape.output_size, shape.readout, shape.loss, lengths=shape.lengths)
    bench.build(
        id="n", spec=asdict(replace(spec, **changes)), training=asdict(Train(optimizer="ridge").spec),
        implementation="portable", task="task", length=T, size=SIZE, init="glorot", forget_bias=0.0, seed=5,
        gain=1.0,
    )  # fmt: skip
    return bench


def states(p: dict[str, np.ndarray], batch: Batch) -> list[np.ndarray]:
    """Of each sequence (L,H), by plain loops."""
    W_in = np.vstack([p["layers.0.forward.b"], p["layers.0.forward.W_x"][:, 0]])
    W = p["layers.0.forward.W_h"][:, 0]
    assert batch.lengths is not None
    found = []
    for x, length in zip(batch.inputs, batch.lengths, strict=True):
        h, rows = np.zeros(H), []
        for t in range(length):
            h = 0.7 * h + 0.3 * np.tanh(np.concatenate([[1.0], x[t]]) @ W_in + h @ W)
            rows.append(h)
        found.append(np.array(rows))
    return found


@pytest.mark.parametrize("penalty", [1e-3, 1.0, 100.0])
def test_the_sums_give_what_scikit_learn_gives(penalty: float) -> None:
    rng = np.random.default_rng(0)
    # nearly collinear, far from zero, and in uneven pieces
    x = rng.standard_normal((500, 3)) @ rng.standard_normal((3, 12)) + 0.01 * rng.standard_normal((500, 12))
    x += 100 * rng.standard_normal(12)
    y = x[:, :2] ** 2 / 100 + rng.standard_normal((500, 2))
    sums = RidgeSums(12, 2)
    for part in np.split(np.arange(500), [1, 40, 40, 333]):
        sums.add(x[part], y[part])
    W, b = sums.solve(penalty)
    expected = Ridge(alpha=penalty, solver="svd").fit(x, y)
    assert sums.count == 500
    np.testing.assert_allclose(W, expected.coef_.T, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(x @ W + b, expected.predict(x), atol=1e-8 * np.abs(y).max())
    # a negative control: an intercept that is penalised is another regression
    assert np.abs(W - Ridge(alpha=penalty, fit_intercept=False).fit(x, y).coef_.T).max() > 1e-3


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_the_readout_is_that_of_scikit_learn_on_states_computed_apart(plugins: Plugins, loss: Any) -> None:
    task = Recall(loss)
    bench = bench_with(plugins, task)
    before = bench.parameters("n")["values"]
    handlers = bench.handlers()
    first = handlers["fit"](id="n", steps=20, at_most_s=math.inf)
    second = handlers["fit"](id="n", steps=10, at_most_s=math.inf)
    assert (first["steps"], second["steps"], len(first["losses"])) == (20, 30, 20)
    handlers["solve"](id="n", alpha=0.5)
    after = bench.parameters("n")["values"]
    x, y = [], []
    for step in range(30):
        batch = task.batch(5, step, SIZE)
        assert batch.lengths is not None
        for rows, targets, length in zip(states(before, batch), batch.targets, batch.lengths, strict=True):
            x.append(rows)
            y.append(targets[:length] if loss == "mse" else np.eye(2)[targets[:length]])
    expected = Ridge(alpha=0.5).fit(np.concatenate(x), np.concatenate(y))
    np.testing.assert_allclose(after["head.W"], expected.coef_.T.reshape(H, -1), atol=1e-8)
    np.testing.assert_allclose(after["head.b"], np.ravel(expected.intercept_), atol=1e-8)
    for name in before:
        if name.startswith("layers."):
            np.testing.assert_array_equal(after[name], before[name])
    # a loss is the error of the head before, the initial one, on a batch before it counts
    one = np.concatenate(states(before, task.batch(5, 0, SIZE)))
    error = one @ before["head.W"] + before["head.b"] - np.concatenate(y[:SIZE])
    assert first["losses"][0] == pytest.approx(np.mean(error**2), rel=1e-12)
    third = bench.fit("n", 5, math.inf)
    assert max(third["losses"]) < 0.8 * min(first["losses"])


def test_a_memory_is_learned_and_evaluated_in_the_network_itself(plugins: Plugins) -> None:
    # small inputs keep tanh nearly linear, and what stood three steps before nearly linear in the state
    task = Recall(scale=0.05)
    bench = bench_with(plugins, task)
    guess, p = bench.evaluate("n")["score"], bench.parameters("n")["values"]
    bench.fit("n", 30, math.inf)
    bench.solve("n", 1e-6)
    found = bench.evaluate("n")
    assert found["finite"] is True

    def flat(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        assert batch.lengths is not None
        return np.concatenate(states(p, batch)), batch.targets[np.arange(T) < batch.lengths[:, None]]

    parts = [flat(task.batch(5, step, SIZE)) for step in range(30)]
    model = Ridge(alpha=1e-6, solver="svd").fit(*map(np.concatenate, zip(*parts, strict=True)))
    x, y = flat(task.batch(99, 0, 64))
    assert found["score"] == pytest.approx(np.mean((model.predict(x).reshape(y.shape) - y) ** 2), rel=1e-6)
    assert found["score"] < 0.7 * y.var() < guess
    bench.solve("n", 1e9)
    assert bench.evaluate("n")["score"] == pytest.approx(y.var(), rel=0.05), "shrunk to the mean"


def test_it_beats_the_baselines_of_a_shipped_task(plugins: Plugins) -> None:
    data = plugins.tasks["adding"].prepare(T)
    session = plugins.backends["numpy"].open(Settings(), plugins.cells)
    bench = Bench(session, "numpy", plugins, plugins.tasks)
    spec = NetworkSpec("esn", 2, 64, 1, "last", "mse")
    bench.build(
        id="n", spec=asdict(spec), training=asdict(Train(optimizer="ridge").spec), implementation="portable",
        task="adding", length=T, size=32, init="glorot", forget_bias=0.0, seed=0, gain=1.0,
    )  # fmt: skip
    bench.fit("n", 100, math.inf)
    bench.solve("n", Train().ridge_alpha)
    assert bench.evaluate("n")["score"] < 0.7 * min(each.value for each in data.baselines().values())


def test_features_that_are_no_numbers_end_the_fit_and_do_not_count(plugins: Plugins) -> None:
    class Broken(Recall):
        def batch(self, seed: int, step: int, size: int) -> Batch:
            batch = super().batch(seed, step, size)
            return replace(batch, inputs=np.full_like(batch.inputs, np.nan)) if step == 2 else batch

    bench = bench_with(plugins, Broken())
    losses = bench.fit("n", 10, math.inf)["losses"]
    assert len(losses) == 3
    assert math.isnan(losses[-1])
    bench.solve("n", 1.0)
    assert np.isfinite(bench.parameters("n")["values"]["head.W"]).all()


def test_fitting_ends_with_its_time(plugins: Plugins) -> None:
    assert bench_with(plugins, Recall()).fit("n", 10, 0.0)["steps"] == 1


def test_no_update_is_made_for_ridge() -> None:
    """What is timed as a training step is plain SGD; the readout's is no step at all."""
    train = Train(optimizer="ridge", lr=0.5, clip=None, l2=0.1)
    assert (train.spec.optimizer, train.spec.lr, train.spec.l2) == ("sgd", 0.5, 0.0)


def test_scoring_reads_batches_solves_and_evaluates() -> None:
    floor, trained = FakeFloor(), Trained()
    train = replace(CASE.train, optimizer="ridge", ridge_alpha=0.3, evaluate_every=10)
    shape = TaskShape(1, "last", "mse", "recall", higher_is_better=True, features=1)
    one = station(train=train)
    train_all_seeds(floor, one, shape, math.inf, lambda text: None, trained)  # type: ignore[arg-type]
    assert [do for _, do, _ in floor.asked] == ["fit", "solve", "evaluate"] * 2
    assert floor.asked[1][2] == {"id": "train-0", "alpha": 0.3}
    assert [(curve.steps, curve.stopped) for curve in trained.curves] == [((10,), "steps")] * 2
    floor.asked.clear()
    assert follow(floor, one, trained.first_losses, math.inf) == 0.0  # type: ignore[arg-type]
    assert [do for _, do, _ in floor.asked] == ["fit"]


def planned(plugins: Plugins, train: str) -> dict[str, Train]:
    text = f"axes: {{task: [adding], length: [20], cell: [esn, lstm], backend: [numpy]}}\n{train}"
    return {case.cell: case.train for case in plan(parse_suite(text), plugins).cases}


def test_a_reservoir_is_planned_with_ridge_and_evaluated_once(plugins: Plugins) -> None:
    found = planned(plugins, "defaults: {train: {optimizer: adam, steps: 300, ridge_alpha: 0.2}}")
    assert found["lstm"] == Train(steps=300, ridge_alpha=0.2)
    assert found["esn"] == Train(optimizer="ridge", steps=300, ridge_alpha=0.2, evaluate_every=300)


def test_whoever_is_asked_for_ridge_is_a_reservoir(plugins: Plugins) -> None:
    found = planned(plugins, "defaults: {train: {optimizer: ridge, steps: 300}}")
    assert found["lstm"] == found["esn"] == Train(optimizer="ridge", steps=300, evaluate_every=300)
    often = planned(plugins, "defaults: {train: {optimizer: ridge, evaluate_every: 50}}")
    assert often["lstm"] == often["esn"] == Train(optimizer="ridge", evaluate_every=50)


def test_an_alpha_of_zero_is_refused() -> None:
    with pytest.raises(RequestError, match=r"train.ridge_alpha: 0 is not allowed. Give a number above 0"):
        parse_suite("axes: {task: [adding]}\ndefaults: {train: {optimizer: ridge, ridge_alpha: 0}}\n")


def test_the_name_that_it_had_is_answered_with_the_one_that_it_has() -> None:
    with pytest.raises(RequestError, match=r"train.penalty: unknown key. Its name is ridge_alpha now"):
        parse_suite("axes: {task: [adding]}\ndefaults: {train: {optimizer: ridge, penalty: 1}}\n")
    record = replace(synthetic.record(CASE), case=replace(CASE, train=Train(ridge_alpha=0.7)))
    line = encode(record)
    old = line.replace(b'"ridge_alpha":0.7', b'"penalty":0.7')
    assert old != line
    assert decode(Record, old) == record
    # as the blocks of such a file have it: under another key its times would be lost
    kept = Case("a", 1, "b", "c", "d", train=Train(ridge_alpha=0.5))
    assert kept.key == "a-T1-b-H64-c-d-cpu-9af6d9ae"


def test_a_decoder_has_no_ridge() -> None:
    spec = NetworkSpec("esn", 3, 4, 5, "each", "cross_entropy", decoder=DecoderSpec(embedding=3))
    with pytest.raises(Unsupported, match="not a decoder"):
        Readout.begin(spec, {}, lambda spec, parameters: pytest.fail("nothing is built"))


def test_alpha_tells_cases_apart() -> None:
    case = Case("adding", 20, "esn", "numpy", "portable", train=Train(optimizer="ridge"))
    assert case.key != replace(case, train=replace(case.train, ridge_alpha=2.0)).key
    assert case.network != replace(case, train=replace(case.train, ridge_alpha=2.0)).network
