"""Sequence-to-sequence tasks: what is asked and answered, what is held out, and how it is counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pytest

from rnnbench.contracts import Batch, SequenceTask, TaskData
from rnnbench.errors import RequestError
from rnnbench.plugins import discover
from rnnbench.tasks.sequences import Dates, Reverse, write_day

TASKS = discover().tasks
REVERSE, DATES = TASKS["reverse"].prepare(12), TASKS["dates"].prepare(20)


def characters() -> dict[int, str]:
    """Token -> character, found by writing days whose tokens are known to stand in the training batches."""
    return dict(enumerate(" ,./0123456789" + "".join(sorted(set(
        "JanuaryFebruaryMarchAprilMayJuneJulyAugustSeptemberOctoberNovemberDecember"
        "MondayTuesdayWednesdayThursdayFridaySaturdaySunday"
    ))), start=1))  # fmt: skip


def sources(batch: Batch) -> list[str]:
    names = characters()
    assert batch.lengths is not None
    return [
        "".join(names[token] for token in row[:length])
        for row, length in zip(batch.inputs.tolist(), batch.lengths, strict=True)
    ]


def test_an_answer_is_the_source_backward_and_the_end() -> None:
    batch = REVERSE.batch(3, 7, 200)
    assert batch.lengths is not None
    assert batch.target_lengths is not None
    assert set(batch.lengths.tolist()) == set(range(6, 13))
    for row, answer, L, S in zip(
        batch.inputs, batch.targets, batch.lengths, batch.target_lengths, strict=True
    ):
        assert S == L + 1
        assert answer[:S].tolist() == [*row[:L][::-1].tolist(), 0]
        assert not row[L:].any()
        assert not answer[S:].any()
        assert set(row[:L].tolist()) <= set(range(1, 9))


def test_a_date_is_read_whichever_way_it_is_written() -> None:
    batch = DATES.batch(0, 0, 400)
    formats = ("%d %b %Y", "%b %d, %Y", "%d/%m/%Y", "%d.%m.%Y", "%B %d, %Y", "%d %B %Y", "%a, %d %b %Y")
    seen = set()
    for text, answer in zip(sources(batch), batch.targets.tolist(), strict=True):
        said = "".join("0123456789-"[token] for token in answer)
        fitting = [way for way, form in enumerate(formats) if said in _read(text, form)]
        assert fitting, (text, said)
        seen.update(fitting)
    assert seen == set(range(7))


def _read(text: str, form: str) -> list[str]:
    try:
        return [datetime.strptime(text, form).date().isoformat()]
    except ValueError:
        return []


def test_the_longest_date_fits_and_a_shorter_length_is_refused() -> None:
    days = [datetime(2026, 9, day).date() for day in range(1, 31)]
    assert max(len(write_day(day, way)) for day in days for way in range(7)) == 18
    with pytest.raises(RequestError, match="at least 18"):
        Dates("dates", "").prepare(17)
    with pytest.raises(RequestError, match="at least 1"):
        Reverse("reverse", "").prepare(0)


def test_no_day_that_is_asked_for_is_trained_on() -> None:
    asked = {tuple(row) for batch in DATES.evaluation(64) for row in batch.targets.tolist()}
    trained = {tuple(row) for step in range(40) for row in DATES.batch(1, step, 250).targets.tolist()}
    assert len(asked) > 400
    assert len(trained) > 5000
    assert not asked & trained


@pytest.mark.parametrize("data", [REVERSE, DATES], ids=["reverse", "dates"])
def test_training_is_fed_the_targets_a_step_late_and_evaluation_nothing(data: TaskData) -> None:
    batch = data.batch(1, 2, 5)
    assert batch.decoder_inputs is not None
    assert (batch.decoder_inputs[:, 0] == data.shape.output_size).all()
    assert (batch.decoder_inputs[:, 1:] == batch.targets[:, :-1]).all()
    assert data.shape.decoder
    assert data.shape.lengths
    assert data.shape.readout == "each"
    again = data.batch(1, 2, 5)
    assert (again.inputs == batch.inputs).all()
    assert not np.array_equal(data.batch(1, 3, 5).inputs, batch.inputs)
    for size in (7, 500):
        parts = list(data.evaluation(size))
        assert all(part.decoder_inputs is None for part in parts)
        assert [len(part.targets) for part in parts] == [*[size] * (500 // size), *[500 % size] * (size == 7)]
    whole = next(data.evaluation(500)).inputs
    assert (np.concatenate([part.inputs for part in data.evaluation(7)]) == whole).all()


def perfect(batch: Batch, classes: int) -> np.ndarray:
    outputs: np.ndarray = np.eye(classes)[batch.targets]
    return outputs


def test_the_score_counts_tokens_up_to_the_end_of_the_answer() -> None:
    classes = REVERSE.shape.output_size

    def pairs(wrong: int, *, behind: bool) -> Iterator[tuple[np.ndarray, Batch]]:
        """Perfect answers of five sequences, of which one is wrong at its last valid step, or behind it."""
        batch = next(REVERSE.evaluation(5))
        outputs = perfect(batch, classes)
        assert batch.target_lengths is not None
        last = int(batch.target_lengths[wrong]) - 1 + behind
        outputs[wrong, last:] = np.eye(classes)[3]
        yield outputs, batch

    batch = next(REVERSE.evaluation(5))
    assert batch.target_lengths is not None
    short = int(np.argmin(batch.target_lengths))
    assert batch.target_lengths[short] < batch.targets.shape[1]
    assert REVERSE.score(pairs(short, behind=True)) == 1.0
    count = int(batch.target_lengths.sum())
    assert REVERSE.score(pairs(short, behind=False)) == pytest.approx(1 - 1 / count)


def test_baselines_are_what_a_count_and_a_linear_model_reach() -> None:
    found = {name: it.value for name, it in REVERSE.baselines().items()}
    # the commonest symbol is right for an eighth, and after step 10 or so the end is the commonest
    assert 1 / 8 < found["trivial"] < 0.25
    # symbols stand at a place that moves with the length: a linear model finds some of them
    assert found["trivial"] + 0.1 < found["simple"] < 0.7
    assert REVERSE.baselines() == REVERSE.baselines()


def test_they_are_known_to_be_sequences_before_any_data_is_read() -> None:
    assert {name for name, task in TASKS.items() if isinstance(task, SequenceTask)} == {"reverse", "dates"}
