"""Groups, ranks and sentences: nothing is claimed that the intervals do not show."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import synthetic
from msgspec import structs

from rnnbench.records import Curve, Score
from rnnbench.report.answers import learning, level, speed, summary, verdict
from rnnbench.report.matrix import Field, matrix
from rnnbench.report.ranking import rank_groups
from rnnbench.results.reading import RunResults

RESULTS = synthetic.results(tasks=("copy",), lengths=(20, 100), cells=("gru", "lstm"))


def test_the_first_of_a_group_is_the_fastest_and_its_ratio_is_one() -> None:
    (group,) = rank_groups(synthetic.timed({"numpy": 4e-5, "torch": 1e-5, "jax": 2e-5}))
    assert [(row.label, row.rank) for row in group.rows] == [
        ("torch native", 1), ("jax native", 2), ("numpy native", 3),
    ]  # fmt: skip
    ratios = [row.to_best.value for row in group.rows if row.to_best]
    # 1e-5 × 20 + 2e-4 = 4e-4; the others 6e-4 and 1e-3
    assert ratios == pytest.approx([1.0, 1.5, 2.5], rel=0.01)


def test_every_record_stands_in_one_group_and_only_what_is_ok_has_a_rank() -> None:
    groups = rank_groups(RESULTS)
    keys = [row.record.case.key for group in groups for row in group.rows]
    assert sorted(keys) == sorted(record.case.key for record in RESULTS.records)
    for group in groups:
        ranks = [row.rank for row in group.ranked]
        assert ranks == sorted(ranks, key=int)
        assert ranks[0] == 1
        assert all(row.to_best is not None and row.to_best.value >= 0.99 for row in group.ranked)
        assert all((row.rank is not None) == (row.record.status == "ok") for row in group.rows)
    assert rank_groups(replace(RESULTS, records=())) == ()


def test_only_ok_is_ranked_even_where_there_are_times() -> None:
    results = synthetic.timed({"torch": 1e-5, "jax": 2e-5})
    mismatch = synthetic.record(results.records[0].case, "mismatch")
    (group,) = rank_groups(replace(results, records=(mismatch, results.records[1])))
    assert [(row.label, row.rank) for row in group.rows] == [("jax native", 1), ("torch native", None)]
    found = verdict(group)
    assert found is not None
    assert found.alone
    assert "only jax native was timed" in speed([group])[0].sentences[0]
    assert "Not timed there: torch native" in speed([group])[0].sentences[0]


def test_a_clear_difference_is_said_with_its_lower_bound() -> None:
    groups = rank_groups(synthetic.timed({"torch": 1e-5, "jax": 2e-5, "numpy": 4e-5}))
    found = verdict(groups[0])
    assert found is not None
    assert found.ahead is not None
    assert 1.4 < found.ahead < 1.5  # never more than the estimate, 1.5
    assert speed(groups)[0].sentences == (
        f"At T 20 torch native is fastest, at least {math.floor(found.ahead * 100) / 100}× ahead of all "
        "others timed.",
    )
    assert summary(groups) == "Fastest (training step): torch native in 1 of 1 group."


def test_no_difference_is_said_where_the_interval_includes_one() -> None:
    groups = rank_groups(synthetic.timed({"torch": 1e-5, "jax": 1.0005e-5}))
    assert [row.rank for row in groups[0].rows] == [1, 1]
    (answer,) = speed(groups)
    assert "no difference is seen between" in answer.sentences[0]
    assert "fastest" not in answer.sentences[0]
    assert "Fastest" not in summary(groups)


def test_groups_with_other_settings_are_never_compared() -> None:
    results = synthetic.timed({"torch": 1e-5})
    other = synthetic.timed({"jax": 2e-5}, hidden=128)
    both = replace(results, records=results.records + other.records, blocks=results.blocks + other.blocks)
    groups = rank_groups(both)
    assert [len(group.rows) for group in groups] == [1, 1]
    assert [group.title for group in groups] == ["copy · T 20 · lstm · H 128", "copy · T 20 · lstm · H 64"]


def test_two_environments_stand_in_one_group_under_names_of_their_own() -> None:
    cases = [synthetic.case(env=env) for env in ("present", "old")]
    blocks = [
        block
        for case, per_step_s in zip(cases, (1e-5, 2e-5), strict=True)
        for block in synthetic.blocks(case, per_step_s, spread=0.002)
    ]
    (group,) = rank_groups(RunResults(synthetic.run(), tuple(map(synthetic.record, cases)), tuple(blocks)))
    assert group.title == "copy · T 20 · lstm"
    assert [row.label for row in group.rows] == ["torch native present", "torch native old"]
    (alone,) = rank_groups(synthetic.timed({"torch": 1e-5}))
    assert alone.rows[0].label == "torch native"


@pytest.mark.parametrize(
    ("finals", "words"),
    [
        ((0.9, 0.88, 0.89), "beats both baselines"),
        ((0.3, 0.31, 0.3), "beats the trivial baseline, not told apart from the simple one"),
        ((0.2, 0.21, 0.2), "beats the trivial baseline, worse than the simple one"),
        ((0.2, 0.1, 0.9), "not told apart from the trivial baseline"),
        ((0.1256, 0.1261, 0.1254), "not told apart from the trivial baseline"),
        ((0.01, 0.012, 0.0), "worse than the trivial baseline"),
        ((0.9,), "one seed, too few to compare"),
        ((0.9, math.nan, 0.9), "1 of 3 seeds ended without a finite score"),
        ((), "no seed was trained to an end"),
    ],
)
def test_learning_is_told_beyond_noise(finals: tuple[float, ...], words: str) -> None:
    assert level(scored(finals)) == words


def scored(finals: tuple[float, ...], stopped: str = "steps", steps: int = 1) -> Score:
    curves = tuple(Curve(seed, (steps,), (value,), (1.0,), stopped) for seed, value in enumerate(finals))
    return Score("recall", True, "k", curves, 0.125, "chance", 0.31, "last")


def test_training_that_the_budget_cut_short_is_not_judged_as_failing() -> None:
    assert level(scored((0.0, 0.01, 0.0), "budget")) == "cut short by the budget, so not judged"
    learned = level(scored((0.9, 0.88, 0.89), "budget"))
    assert learned == "beats both baselines, though cut short by the budget"
    results = synthetic.timed({"torch": 1e-5})
    (record,) = results.records
    cut = replace(scored((0.0, 0.01, 0.0), "budget", 78), trained_on=record.case.key)
    (answer,) = learning(rank_groups(replace(results, records=(replace(record, score=cut),))))
    assert answer.sentences == ("lstm: cut short by the budget, so not judged at T 20 (after 78 steps).",)


def test_lower_is_better_turns_the_comparison() -> None:
    curves = tuple(Curve(seed, (1,), (0.1 + seed / 1000,), (1.0,), "steps") for seed in range(3))
    assert level(Score("mse", False, "k", curves, 0.167, "mean")) == "beats the trivial baseline"
    assert level(Score("mse", True, "k", curves, 0.167, "mean")) == "worse than the trivial baseline"


def test_every_row_shows_its_own_score_where_each_was_trained() -> None:
    results = synthetic.timed({"torch": 1e-5, "jax": 2e-5})
    finals = {"torch": (0.91, 0.92, 0.93), "jax": (0.12, 0.13, 0.14)}
    records = tuple(
        replace(each, score=replace(scored(finals[each.case.backend]), trained_on=each.case.key))
        for each in results.records
    )
    groups = rank_groups(replace(results, records=records))
    shown = {row.record.case.backend: row.score.values for row in groups[0].rows if row.score}
    assert shown == finals
    (answer,) = learning(groups)
    assert "trained on jax native and torch native" in answer.subject
    assert answer.sentences == (
        "lstm on torch native: beats both baselines at T 20.",
        "lstm on jax native: not told apart from the trivial baseline at T 20.",
    )


def test_a_score_that_was_not_checked_to_be_followed_is_not_claimed() -> None:
    results = synthetic.timed({"torch": 1e-5, "jax": 2e-5})
    quoted = replace(results.records[1], score=scored((0.9, 0.8, 0.9)))
    groups = rank_groups(replace(results, records=(replace(results.records[0], score=None), quoted)))
    assert groups[0].score is None
    assert [row.score for row in groups[0].rows] == [None, None]


def test_a_leader_that_drifted_is_not_called_fastest_without_saying_so() -> None:
    results = synthetic.timed({"torch": 1e-5, "jax": 3e-5})
    torch, jax = (record.case for record in results.records)
    blocks = [
        *synthetic.blocks(torch, 1e-5, rounds=20, spread=0.002, drift=0.05),
        *synthetic.blocks(jax, 3e-5, rounds=20, spread=0.002),
    ]
    groups = rank_groups(replace(results, blocks=tuple(blocks)))
    assert speed(groups)[0].sentences[0].endswith("though its times drifted over the rounds.")
    assert "In 1 of these the first drifted" in summary(groups)
    assert "drifted" not in summary(rank_groups(results))


def test_an_interval_too_wide_is_no_difference_seen() -> None:
    results = synthetic.timed({"torch": 1e-5, "jax": 1e-5})
    jax = results.records[1].case.key
    wide = tuple(
        structs.replace(each, seconds=each.seconds * math.exp(2 + 0.33 * (each.process - 1)))
        if each.case == jax
        else each
        for each in results.blocks
    )
    groups = rank_groups(replace(results, blocks=wide))
    between = groups[0].rows[1].to_best
    assert between is not None
    assert between.low is not None
    assert between.low > 1
    assert "no difference is seen between" in speed(groups)[0].sentences[0]


def test_the_score_is_that_of_the_case_that_was_trained() -> None:
    results = synthetic.timed({"torch": 1e-5, "jax": 2e-5})
    trained, quoted = results.records
    wrong = replace(synthetic.score(quoted.case), trained_on=trained.case.key, trivial=0.99)
    found = replace(results, records=(replace(quoted, score=wrong), trained))
    (group,) = rank_groups(found)
    assert group.score == trained.score


def test_the_matrix_has_a_word_in_every_field() -> None:
    found = matrix(rank_groups(synthetic.results()))
    assert len(found.fields) == len(found.rows) == 4
    assert all(field.text for row in found.fields for field in row)
    one = synthetic.timed({"torch": 1e-5})
    other = synthetic.record(synthetic.case(cell="gru", backend="jax"), "skipped")
    found = matrix(rank_groups(replace(one, records=(*one.records, other))))
    fields = {
        (row, column): found.fields[i][j]
        for i, row in enumerate(found.rows)
        for j, column in enumerate(found.columns)
    }
    assert fields["torch native", "gru"].text == "not planned"
    assert fields["jax native", "gru"].text == "skipped"
    assert "not installed" in fields["jax native", "gru"].detail
    assert all(field.detail for field in fields.values() if field.ratio is None)
    untimed = replace(
        one, records=tuple(replace(each, case=replace(each.case, measure=("score",))) for each in one.records)
    )
    ((field,),) = matrix(rank_groups(replace(untimed, blocks=()))).fields
    assert (field.text, field.detail) == ("not timed", "no case of it measures a time")


def test_the_tint_of_a_field_deepens_with_its_ratio() -> None:
    ratios = (None, 1.0, 1.1, 1.49, 1.5, 2.0, 3.9, 4.0, 8.0, 1e9)
    assert [Field("ok", "", "", ratio).tint for ratio in ratios] == [0, 0, 1, 1, 2, 3, 3, 4, 5, 5]
