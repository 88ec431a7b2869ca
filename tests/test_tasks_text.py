"""Text classification: splits, vocabulary, padding, the published baseline, and every error."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnbench.contracts import Batch
from rnnbench.errors import RequestError
from rnnbench.tasks import rnnbench_tasks
from rnnbench.tasks.baselines import fit_tfidf
from rnnbench.tasks.text import TextClassification, words_of

SENTIMENT = next(task for task in rnnbench_tasks() if task.name == "sentiment")


def write(path, rows, separator="\t"):
    path.write_text(
        "".join(separator.join(row) + "\n" for row in [("label", "text"), *rows]), encoding="utf-8"
    )
    return TextClassification("mine", "", path, "tsv")


def own_words(count=50):
    """Every text has a word that stands twice in it and nowhere else."""
    return [(str(i % 2 if i % 5 else 2), f"own{i} common own{i}") for i in range(count)]


def test_sentiment_has_the_published_baselines():
    baselines = SENTIMENT.prepare(71).baselines()
    assert baselines["trivial"].value == pytest.approx(0.5, abs=0.002)
    # 0.82 with a standard error of 0.016 on 596 sentences
    assert baselines["simple"].value == pytest.approx(0.82, abs=0.035)
    assert SENTIMENT.prepare(3).baselines()["simple"].value < 0.75


def test_sentiment_is_split_four_to_one_in_every_class():
    corpus = SENTIMENT.prepare(20).corpus
    assert len(corpus.labels) == 2979
    assert not set(corpus.train) & set(corpus.held_out)
    assert len(corpus.train) + len(corpus.held_out) == 2979
    for label in (0, 1):
        share = np.mean(corpus.labels[corpus.held_out] == label)
        assert share == pytest.approx(np.mean(corpus.labels == label), abs=0.001)
        assert np.sum(corpus.labels[corpus.held_out] == label) == round(0.2 * np.sum(corpus.labels == label))


def test_the_vocabulary_is_of_the_training_part_only(tmp_path):
    data = write(tmp_path / "t.tsv", own_words()).prepare(3)
    for part, known in ((data.corpus.train, True), (data.corpus.held_out, False)):
        for row in part:
            start = data.corpus.starts[row]
            own, common, again = data.corpus.tokens[start : start + 3]
            assert own == again
            assert (own > 1) is np.bool_(known)
            assert common == 2
    held_out = {f"own{row}" for row in data.corpus.held_out}
    assert len(data.corpus.words) == 1 + len(data.corpus.train)
    assert not held_out & set(data.corpus.words)


def test_held_out_texts_change_nothing_of_training(tmp_path):
    rows = own_words()
    task = write(tmp_path / "a.tsv", rows)
    before = task.prepare(3)
    spoiled = [
        (label, f"new{i} new{i} common" if i in before.corpus.held_out else text)
        for i, (label, text) in enumerate(rows)
    ]
    after = write(tmp_path / "b.tsv", spoiled).prepare(3)
    assert np.array_equal(before.batch(1, 0, 40).inputs, after.batch(1, 0, 40).inputs)
    assert before.corpus.words == after.corpus.words
    # the control: a training text does change it
    first = before.corpus.train[0]
    moved = [(label, "other other" if i == first else text) for i, (label, text) in enumerate(rows)]
    assert write(tmp_path / "c.tsv", moved).prepare(3).corpus.words != before.corpus.words


words = st.lists(st.sampled_from(["a", "bb", "c!", "d, e", "don't", "Ü", "?", "…"]), max_size=9)


@settings(max_examples=50, deadline=None)
@given(st.lists(words, min_size=8, max_size=30), st.integers(1, 12), st.integers(1, 9))
def test_lengths_padding_and_truncation(tmp_path_factory, texts, length, size):
    rows = [(str(i % 2), f"{' '.join(text)}") for i, text in enumerate(texts)]
    task = write(
        tmp_path_factory.mktemp("t") / "t.tsv", [*rows, ("0", "x"), ("0", "y"), ("1", "x"), ("1", "y")]
    )
    data = task.prepare(length)
    for batch in (data.batch(0, 0, size), data.batch(7, 3, size), *data.evaluation(size)):
        valid = np.arange(length) < batch.lengths[:, None]
        assert batch.inputs.shape == valid.shape
        assert batch.inputs.dtype == batch.lengths.dtype == batch.targets.dtype == np.int32
        assert batch.lengths.min() >= 1
        assert batch.lengths.max() <= length
        assert (batch.inputs[valid] >= 1).all()
        assert (batch.inputs[~valid] == 0).all()
        assert batch.inputs.max() < data.shape.vocab
    long = task.prepare(40)
    whole, cut = (np.concatenate([b.inputs for b in d.evaluation(99)]) for d in (long, data))
    assert np.array_equal(whole[:, :length], cut)


def test_padding_does_not_reach_baselines_or_score():
    short, long = SENTIMENT.prepare(80).baselines(), SENTIMENT.prepare(200).baselines()
    assert short == long
    data = SENTIMENT.prepare(30)
    train = data.batch(0, 0, 400)
    model = fit_tfidf(train, vocab=data.shape.vocab)
    (batch,) = data.evaluation(596)
    behind = np.arange(30) >= batch.lengths[:, None]
    poisoned = Batch(np.where(behind, np.int32(-7777), batch.inputs), batch.targets, batch.lengths)
    assert np.array_equal(model(batch), model(poisoned))
    # the control: what stands before the length does count
    inside = Batch(np.where(behind, batch.inputs, np.int32(1)), batch.targets, batch.lengths)
    assert not np.allclose(model(batch), model(inside))


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("truncation", ["pre", "post"])
def test_padding_and_truncation_are_before_or_behind(padding, truncation):
    task = replace(SENTIMENT, padding=padding, truncation=truncation)
    data, whole = task.prepare(9), SENTIMENT.prepare(200)
    (batch,), (given,) = data.evaluation(596), whole.evaluation(596)
    assert data.shape.lengths == (batch.lengths is not None) == (padding == "post")
    assert given.lengths.min() < 9 < given.lengths.max()
    for row, text, length in zip(batch.inputs, given.inputs, given.lengths, strict=True):
        words = list(text[:length])
        words = words[-9:] if truncation == "pre" else words[:9]
        zeros = [0] * (9 - len(words))
        assert list(row) == (zeros + words if padding == "pre" else words + zeros)
    assert np.array_equal(batch.targets, given.targets)
    # padding says nothing about a class, truncation does
    simple = data.baselines()["simple"].value
    assert simple == replace(task, padding="post").prepare(9).baselines()["simple"].value
    assert (simple == SENTIMENT.prepare(9).baselines()["simple"].value) == (truncation == "post")


def test_score_is_accuracy_over_texts_whatever_the_size():
    data = SENTIMENT.prepare(10)
    rng = np.random.default_rng(3)
    outputs = rng.normal(size=(len(data.corpus.held_out), 2)).astype(np.float32)
    expected = np.mean((outputs[:, 1] > outputs[:, 0]) == data.corpus.labels[data.corpus.held_out])
    for size in (596, 100, 7):
        pairs = ((outputs[i * size : (i + 1) * size], b) for i, b in enumerate(data.evaluation(size)))
        assert data.score(pairs) == pytest.approx(expected, abs=1e-12)
    right = ((np.eye(2)[batch.targets], batch) for batch in data.evaluation(50))
    assert data.score(right) == 1.0


def test_batches_are_pure_and_never_held_out():
    data, again = SENTIMENT.prepare(12), replace(SENTIMENT).prepare(12)
    first = data.batch(1, 2, 32)
    for name in ("inputs", "targets", "lengths"):
        assert np.array_equal(getattr(first, name), getattr(again.batch(1, 2, 32), name))
    assert not np.array_equal(first.inputs, data.batch(1, 3, 32).inputs)
    assert not np.array_equal(first.inputs, data.batch(2, 2, 32).inputs)


def test_repeated_rows_stand_on_one_side(tmp_path):
    rows = own_words(20)
    once = write(tmp_path / "a.tsv", rows).prepare(3).corpus
    thrice = write(tmp_path / "b.tsv", rows * 3).prepare(3).corpus
    assert np.array_equal(once.tokens, thrice.tokens)
    assert np.array_equal(once.held_out, thrice.held_out)


def test_csv_tsv_and_jsonl_read_alike(tmp_path):
    rows = [(str(i % 3), f'say "{i % 4}", twice or {i} times') for i in range(30)]
    tsv = write(tmp_path / "t.tsv", rows).prepare(6)
    (tmp_path / "t.csv").write_text(
        "text,label\n" + "".join('"{}",{}\n'.format(text.replace('"', '""'), label) for label, text in rows)
    )
    (tmp_path / "t.jsonl").write_text(
        "".join(json.dumps({"label": int(label), "text": text, "id": None}) + "\n\n" for label, text in rows)
    )
    for layout in ("csv", "jsonl"):
        other = TextClassification("m", "", tmp_path / f"t.{layout}", layout).prepare(6)
        assert np.array_equal(other.corpus.tokens, tsv.corpus.tokens)
        assert np.array_equal(other.corpus.labels, tsv.corpus.labels)
        assert other.corpus.classes == ("0", "1", "2")


def test_words():
    assert words_of("It DOESN'T work… why?!") == ["it", "doesn't", "work", "why", "?", "!"]
    assert words_of("Größe 42 — naïve") == ["größe", "42", "naïve"]
    assert words_of(" … ") == []


def test_errors_of_classes(tmp_path):
    cases = [
        ([("a", "x"), ("a", "y")], "t.tsv", 'column "label" holds one class only, "a"'),
        ([("a", "x"), ("a", "y"), ("b", "z")], "t.tsv:4", 'class "b" has one text only'),
        ([("a", "x"), (" ", "y")], "t.tsv:3", "the label is missing"),
        # the second "b" repeats the first one: it does not make two
        ([("a", "x"), ("a", "y"), ("b", "z"), ("b", "z")], "t.tsv:4", 'class "b" has one text only'),
        ([("a", "x", "3")], "t.tsv:2", "this row has 3 fields, the header has 2"),
        ([], "t.tsv", "has a header and no rows"),
    ]
    for rows, where, message in cases:
        task = write(tmp_path / "t.tsv", rows)
        with pytest.raises(RequestError) as error:
            task.prepare(5)
        assert error.value.where == str(tmp_path / where)
        assert message in error.value.message
    with pytest.raises(RequestError, match=r'no column "labels"\. Did you mean "label"'):
        replace(task, label="labels").prepare(5)
    with pytest.raises(RequestError, match="length 0 is too short"):
        SENTIMENT.prepare(0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ("[" * 100_000, "not JSON"),
        ('{"text": "a", "lable": 1}', 'no key "label". Did you mean "lable"?'),
        ('{"text": ["a"], "label": 1}', '"text" holds list'),
        ('{"text": "a", "label": null}', "the label is missing"),
    ],
)
def test_errors_of_json_lines(tmp_path, line, message):
    path = tmp_path / "t.jsonl"
    path.write_text(f'{{"text": "a", "label": 1}}\n{line}\n')
    with pytest.raises(RequestError) as error:
        TextClassification("m", "", path, "jsonl").prepare(3)
    assert message in error.value.message
    assert error.value.where == f"{path}:2"
