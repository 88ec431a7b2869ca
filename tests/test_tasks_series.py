"""Forecasting: published figures, scaling and windows that never look ahead, and every error."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnbench.errors import RequestError
from rnnbench.tasks import rnnbench_tasks
from rnnbench.tasks.batches import rows_of
from rnnbench.tasks.series import Forecasting, forward_fill

SHIPPED = {task.name: task for task in rnnbench_tasks()}


def write(path, rows, header="day,y,x"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


def random_rows(count=60, seed=5):
    rng = np.random.default_rng(seed)
    y = 50 + rng.normal(size=count).cumsum()
    return [(day, repr(float(y[day])), repr(float(rng.normal(3, 2)))) for day in range(count)]


def forecasting(path, **options):
    return Forecasting("mine", "", path, **{"target": "y", "features": ("x",), **options})


# Figures of SOURCES.md: persistence is exact to its three digits, a linear model to 0.005.


@pytest.mark.parametrize(
    ("name", "length", "changes", "persistence", "linear"),
    [
        ("river", 30, {"features": ()}, 0.294, 0.272),
        ("river", 30, {"features": ("precipitation_mm",)}, 0.294, 0.206),
        ("river", 30, {"features": (), "difference": False}, 0.294, 0.272),
        ("river", 30, {"features": (), "horizon": 3}, 0.597, 0.572),
        ("weather", 48, {"features": ()}, 0.476, 0.463),
        ("weather", 24, {"features": (), "target": "wind_speed_mph", "horizon": 6}, 0.958, 0.860),
    ],
)
def test_baselines_have_the_published_figures(name, length, changes, persistence, linear):
    baselines = replace(SHIPPED[name], **changes).prepare(length).baselines()
    assert baselines["trivial"].value == pytest.approx(persistence, abs=0.0006)
    assert baselines["simple"].value == pytest.approx(linear, abs=0.005)


@pytest.mark.parametrize(
    ("name", "length", "persistence", "at_most"),
    [("river", 30, 0.294, 0.206), ("weather", 48, 0.476, 0.463), ("co2", 52, 0.250, 0.060)],
)
def test_shipped_tasks_can_be_won(name, length, persistence, at_most):
    baselines = SHIPPED[name].prepare(length).baselines()
    assert baselines["trivial"].value == pytest.approx(persistence, abs=0.0006)
    assert baselines["simple"].value < at_most


@pytest.mark.parametrize("length", [5, 30, 90])
def test_nothing_beats_persistence_on_stocks(length):
    assert not SHIPPED["stocks"].ranked
    baselines = SHIPPED["stocks"].prepare(length).baselines()
    assert baselines["simple"].value > baselines["trivial"].value


def test_scores_with_and_without_difference_are_in_the_same_unit():
    for name in ("river", "co2"):
        scores = [
            replace(SHIPPED[name], difference=difference).prepare(40).baselines()["trivial"].value
            for difference in (True, False)
        ]
        assert scores[0] == pytest.approx(scores[1], rel=1e-12)


@pytest.mark.parametrize("difference", [True, False])
def test_the_score_is_the_error_of_the_forecast_in_standard_deviations(tmp_path, difference):
    rows = random_rows()
    data = forecasting(write(tmp_path / "s.csv", rows), horizon=2, difference=difference).prepare(7)
    y = np.array([float(row[1]) for row in rows])
    forecast = np.random.default_rng(1).normal(50, 3, size=12)
    errors = (forecast - y[48:]) / y[:48].std()
    level = (forecast - y[:48].mean()) / y[:48].std()
    last = (y[46:58] - y[:48].mean()) / y[:48].std()
    outputs = ((level - last) / data.scale if difference else level)[:, None]
    (batch,) = data.evaluation(100)
    assert data.score(iter([(outputs, batch)])) == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(20, 70), st.integers(1, 12), st.integers(1, 4), st.sets(st.integers(0, 69), max_size=12),
    st.booleans(),
)  # fmt: skip
def test_windows_end_a_horizon_before_their_target_and_never_cross_the_split(
    tmp_path_factory, count, length, horizon, missing, difference
):
    # x is the row's number, so that each window tells where it lies; y is missing here and there
    rows = [(i, "" if i in missing else (i * 37) % 101 + 0.25 * i, i) for i in range(count)]
    path = write(tmp_path_factory.mktemp("w") / "s.csv", rows)
    start = next(i for i in range(count) if i not in missing)
    cut = start + int(0.8 * (count - start))
    try:
        data = forecasting(path, horizon=horizon, difference=difference).prepare(length)
    except RequestError:
        return
    x = np.arange(start, cut)
    held_out = list(data.evaluation(7))
    trained = [data.batch(0, 0, data.train)]
    seen = []
    for batches, low, high in ((trained, start, cut), (held_out, cut, count)):
        for batch in batches:
            places = np.rint(batch.inputs[:, :, -1] * x.std() + x.mean()).astype(int)
            assert (np.diff(places, axis=1) == 1).all()
            assert places.min() >= start
            targets = places[:, -1] + horizon
            assert targets.min() >= low
            assert targets.max() < high
            assert not set(targets.tolist()) & missing
            seen += targets.tolist()
    wanted = [t for t in range(start + length - 1 + horizon, count) if t not in missing]
    assert sorted(seen) == wanted


def test_the_future_changes_nothing_of_training_and_the_past_does(tmp_path):
    rows = random_rows()
    spoiled = [*rows[:48], *((day, "-1e6", "7e8") for day in range(48, 60))]
    moved = [(0, "51.5", "9.0"), *rows[1:]]
    inputs, targets = {}, {}
    for name, given_rows in (("a", rows), ("b", spoiled), ("c", moved)):
        data = forecasting(write(tmp_path / f"{name}.csv", given_rows), horizon=2).prepare(5)
        batch = data.batch(0, 0, data.train)
        inputs[name], targets[name] = batch.inputs, batch.targets
    assert np.array_equal(inputs["a"], inputs["b"])
    assert np.array_equal(targets["a"], targets["b"])
    assert not np.allclose(inputs["a"], inputs["c"])


def test_a_scaler_fitted_on_all_rows_would_be_noticed(tmp_path):
    rows = random_rows()
    data = forecasting(write(tmp_path / "s.csv", rows), difference=False).prepare(1)
    y = np.array([float(row[1]) for row in rows])
    (batch,) = data.evaluation(100)
    assert np.allclose(batch.targets[:, 0], (y[48:] - y[:48].mean()) / y[:48].std(), rtol=1e-12)
    assert not np.allclose(batch.targets[:, 0], (y[48:] - y.mean()) / y.std(), rtol=1e-2)


def test_missing_values_are_filled_from_the_past_alone(tmp_path):
    given_values = np.array([[np.nan, 1.0], [2.0, np.nan], [np.nan, np.nan], [5.0, 4.0]])
    filled = forward_fill(given_values)
    assert np.array_equal(filled, [[np.nan, 1], [2, 1], [2, 1], [5, 4]], equal_nan=True)
    rows = random_rows()
    rows[0] = (0, "NA", "1.5")
    rows[20] = (20, rows[20][1], "")
    path = write(tmp_path / "s.csv", rows)
    data = forecasting(path, difference=False).prepare(1)
    assert len(data.columns) == 59
    assert data.columns[19, 1] == data.columns[18, 1]


def test_logarithms_are_taken_of_the_columns_named(tmp_path):
    rows = [(i, 2.0 ** (i % 7), i + 1) for i in range(40)]
    data = forecasting(write(tmp_path / "s.csv", rows), log=("y",), difference=False).prepare(1)
    powers = np.array([i % 7 for i in range(40)])
    assert np.allclose(data.columns[:, 0], (powers - powers[:32].mean()) / powers[:32].std())
    assert np.allclose(np.diff(data.columns[:, 1], 2), 0)


def test_time_orders_the_rows(tmp_path):
    rows = [(f"2020-01-{i + 1:02d}", (i * i) % 17, i) for i in range(30)]
    there = forecasting(write(tmp_path / "a.csv", rows), time="day").prepare(3)
    back = forecasting(write(tmp_path / "b.csv", rows[::-1]), time="day").prepare(3)
    unsorted = forecasting(tmp_path / "b.csv").prepare(3)
    assert np.array_equal(there.columns, back.columns)
    assert not np.array_equal(there.columns, unsorted.columns)


def test_gzip_bom_quotes_and_blank_lines_are_read(tmp_path):
    rows = random_rows()
    plain = forecasting(write(tmp_path / "s.csv", rows)).prepare(3)
    text = '\ufeffday,"y", x \r\n' + "".join(f'"{d}","{y}",{x}\r\n\r\n' for d, y, x in rows)
    (tmp_path / "s.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert np.array_equal(forecasting(tmp_path / "s.csv.gz").prepare(3).columns, plain.columns)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 99))
def test_every_epoch_holds_every_row_once(count, size, seed):
    steps = -(-3 * count // size)
    rows = np.concatenate([rows_of(step, count=count, seed=seed, size=size) for step in range(steps)])
    assert len(rows) == steps * size
    for epoch in range(3):
        assert sorted(rows[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_batches_are_pure_and_differ_by_seed_and_step():
    data = SHIPPED["river"].prepare(10)
    again = replace(SHIPPED["river"]).prepare(10)
    first = data.batch(1, 2, 32)
    assert np.array_equal(first.inputs, again.batch(1, 2, 32).inputs)
    assert np.array_equal(first.targets, again.batch(1, 2, 32).targets)
    assert first.inputs.shape == (32, 10, data.shape.features)
    assert first.targets.shape == (32, 1)
    assert not np.array_equal(first.targets, data.batch(2, 2, 32).targets)
    assert not np.array_equal(first.targets, data.batch(1, 3, 32).targets)
    assert np.array_equal(*(np.concatenate([b.inputs for b in data.evaluation(size)]) for size in (1, 64)))


BAD = {
    "text": ("12,abc,1", 'mine.csv:4: column "y": "abc" is not a number'),
    "underscore": ("12,1_0,1", '"1_0" is not a number'),
    "infinite": ("12,inf,1", '"inf" is not a number'),
    "huge": ("12,1e200,1", "1e200 is too large"),
    "short row": ("12,1", "mine.csv:4: this row has 2 fields, the header has 3"),
    "unclosed": ('12,"1,1', "not a well-formed csv row"),
}


@pytest.mark.parametrize(("line", "message"), BAD.values(), ids=BAD)
def test_a_bad_row_is_named_with_its_line(tmp_path, line, message):
    path = tmp_path / "mine.csv"
    path.write_text(f"day,y,x\n1,2,3\n2,3,4\n{line}\n3,4,5\n")
    with pytest.raises(RequestError) as error:
        forecasting(path).prepare(1)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_errors_of_columns_and_times(tmp_path):
    path = write(tmp_path / "s.csv", random_rows())
    cases = [
        ({"target": "Y2", "features": ()}, 'no column "Y2". Allowed: day, x, y'),
        ({"target": "dayy"}, 'no column "dayy". Did you mean "day"?'),
        ({"time": "x2"}, 'no column "x2"'),
        ({"log": ("x",)}, "has no logarithm"),
    ]
    for options, message in cases:
        with pytest.raises(RequestError) as error:
            forecasting(path, **options).prepare(3)
        assert message in str(error.value)
    times = [("1/2/2020", "neither a number nor an ISO date"), ("nan", "neither a number nor an ISO date"),
             ("2020-01-01", "stands here and on line 2"), ("5", "mixes numbers")]  # fmt: skip
    for day, message in times:
        write(path, [("2020-01-01", 1, 2), (day, 2, 3)])
        with pytest.raises(RequestError, match=message):
            forecasting(path, time="day").prepare(1)
    write(path, [(1, 2, 3)], header="y,y,x")
    with pytest.raises(RequestError, match='2 columns are named "y"'):
        forecasting(path).prepare(1)
    path.write_text("day;y;x\n1;2;3\n")
    with pytest.raises(RequestError, match="has no ',' but ';'"):
        forecasting(path).prepare(1)


def test_errors_of_length_and_of_what_cannot_be_learned(tmp_path):
    task = forecasting(write(tmp_path / "s.csv", random_rows()), horizon=3)
    assert task.prepare(45).train == 1
    for length in (46, 10**9):
        with pytest.raises(RequestError, match=r"of 60 rows .* 48 are for training.* give at most 45"):
            task.prepare(length)
    with pytest.raises(RequestError, match="give at least 1"):
        task.prepare(0)
    with pytest.raises(RequestError, match="give a longer series"):
        replace(task, horizon=500).prepare(1)
    flat = [(i, 0.1, i) for i in range(60)]
    with pytest.raises(RequestError, match='"y" never changes'):
        forecasting(write(tmp_path / "flat.csv", flat)).prepare(2)
    gone = [(i, i % 5 if i < 48 else "", i) for i in range(60)]
    with pytest.raises(RequestError, match="no value in the held-out part"):
        forecasting(write(tmp_path / "gone.csv", gone)).prepare(2)
    never = [(i, i, "") for i in range(60)]
    with pytest.raises(RequestError, match="of 0 rows with a value in every column"):
        forecasting(write(tmp_path / "never.csv", never)).prepare(2)


def test_errors_of_files(tmp_path):
    (tmp_path / "sales.csv").write_text("day,y,x\n")
    (tmp_path / "empty.csv").write_text(" \n")
    (tmp_path / "binary.csv").write_bytes(b"\x7fELF\0\1\2")
    (tmp_path / "latin.csv").write_bytes("day,y,x\n1,2,größer\n".encode("latin-1"))
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"day,y,x\n" * 99)[:-9])
    (tmp_path / "not.csv.gz").write_text("day,y,x\n")
    expected = {
        "sale.csv": 'no such file. Did you mean "sales.csv"?',
        "sales.csv": "has a header and no rows",
        "empty.csv": "the file is empty",
        "binary.csv": "binary data",
        "latin.csv": "latin.csv:2: byte 0xf6 is not UTF-8",
        "cut.csv.gz": "not a whole gzip file",
        "not.csv.gz": "not a whole gzip file",
        ".": "this is a directory",
        "nowhere/s.csv": "no such file.",
        "a\0b": "cannot be read",
    }
    for name, message in expected.items():
        with pytest.raises(RequestError) as error:
            forecasting(tmp_path / name).prepare(1)
        assert message in str(error.value), name
