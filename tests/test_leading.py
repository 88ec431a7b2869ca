"""The first sentences of a report claim what intervals, ranks and statuses show, and no more."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import synthetic

from rnnbench.records import Curve, Parity, Score
from rnnbench.report.leading import lead
from rnnbench.report.ranking import Ranking, rank_groups
from rnnbench.report.words import moment, spans
from rnnbench.results.reading import RunResults


def sentences(results: RunResults) -> tuple[str, ...]:
    return lead(results, rank_groups(results)).sentences


def joined(*several: RunResults) -> RunResults:
    return replace(
        several[0],
        records=tuple(record for each in several for record in each.records),
        blocks=tuple(block for each in several for block in each.blocks),
    )


def untrained(results: RunResults) -> RunResults:
    return replace(results, records=tuple(replace(each, score=None) for each in results.records))


@pytest.mark.parametrize(
    ("meant", "measured", "words"),
    [
        ([20], [20], "20 steps"),
        ([20, 50], [20, 50, 100], "20 and 50 steps"),
        ([50, 20, 100], [20, 50, 100], "20 to 100 steps"),
        ([20, 50, 100, 500], [20, 50, 100, 200, 500], "20 to 100 and 500 steps"),
        ([20, 100], [20, 50, 100], "20 and 100 steps"),
    ],
)
def test_lengths_are_joined_only_over_what_was_measured(
    meant: list[int], measured: list[int], words: str
) -> None:
    assert spans(meant, measured) == words


def test_the_fastest_is_said_with_margins_that_never_exceed_the_bounds() -> None:
    results = untrained(synthetic.timed({"torch": 1e-5, "jax": 2e-5, "numpy": 4e-5}))
    (group,) = rank_groups(results)
    lows = {row.label: row.to_best.low for row in group.rows if row.to_best and row.to_best.low}
    (said,) = sentences(results)
    cut = {name: math.floor(low * 100) / 100 for name, low in lows.items()}
    assert said == (
        "For sequences of 20 steps, the fastest correct lstm is torch native: "
        f"at least {cut['jax native']}× ahead of jax native and {cut['numpy native']}× of numpy native."
    )
    assert lead(results, rank_groups(results)).place == (
        "On this machine (Example CPU @ 2.5 GHz, 2 cores, Linux), by the time of one training step:"
    )


def test_over_lengths_the_smallest_margin_counts() -> None:
    short = synthetic.timed({"torch": 1e-5, "jax": 2e-5}, length=20)
    long = synthetic.timed({"torch": 1e-5, "jax": 5e-5}, length=100)
    (both,) = sentences(untrained(joined(short, long)))
    (alone,) = sentences(untrained(short))
    assert both.startswith("For sequences of 20 and 100 steps, the fastest correct lstm is torch native")
    assert both.partition(":")[2] == alone.partition(":")[2]
    other = synthetic.timed({"torch": 5e-5, "jax": 1e-5}, length=100)
    turned = sentences(untrained(joined(short, other)))
    assert [said.partition(":")[0] for said in turned] == [
        "For sequences of 20 steps, the fastest correct lstm is torch native",
        "For sequences of 100 steps, the fastest correct lstm is jax native",
    ]


def test_tasks_that_disagree_are_told_apart() -> None:
    copy = synthetic.timed({"torch": 1e-5, "jax": 2e-5})
    adding = synthetic.timed({"torch": 2e-5, "jax": 1e-5}, task="adding")
    found = sentences(untrained(joined(copy, adding)))
    assert "on adding, the fastest correct lstm is jax native" in found[0]
    assert "on copy, the fastest correct lstm is torch native" in found[1]


def test_no_difference_and_a_screening_name_nobody_the_fastest() -> None:
    (tied,) = sentences(untrained(synthetic.timed({"torch": 1e-5, "jax": 1.0005e-5, "numpy": 4e-5})))
    assert "no difference is seen between jax native and torch native for lstm" in tied
    assert "of these " in tied
    assert "of numpy native" in tied
    (screened,) = sentences(untrained(synthetic.timed({"torch": 1e-5, "jax": 9e-5}, processes=1)))
    assert "torch native took the shortest time for lstm (screening: an order, no proof)" in screened
    assert "fastest" not in tied + screened
    sure = lead(*_with_groups(synthetic.timed({"torch": 1e-5, "jax": 9e-5}, processes=1))).sure
    assert "proves no difference" in sure[0]


def test_the_best_score_is_told_from_others_seed_by_seed() -> None:
    def scored(cell: str, finals: tuple[float, ...]) -> RunResults:
        results = synthetic.timed({"torch": 1e-5}, cell=cell)
        (record,) = results.records
        curves = tuple(Curve(seed, (1,), (value,), (1.0,), "steps") for seed, value in enumerate(finals))
        score = Score("recall", True, record.case.key, curves, 0.125, "chance", 0.31, "last", 0.0)
        return replace(results, records=(replace(record, score=score),))

    best, near = scored("gru", (0.91, 0.93, 0.92)), scored("lstm", (0.93, 0.90, 0.92))
    far, lost = scored("elman", (0.5, 0.52, 0.51)), scored("mgu", (0.12, 0.13, 0.125))
    said = sentences(joined(best, near, far, lost))[-1]
    assert said == (
        "Best score on copy at 20 steps: gru, recall 0.920, 0.910–0.930 over 3 seeds, beats both baselines; "
        "seeds do not tell lstm from it."
    )
    assert "no network is shown to beat the trivial baseline (20 steps)" in sentences(lost)[-1]
    control = replace(lost, run=synthetic.run(unranked=("copy",)))
    assert not any("network" in each for each in sentences(control))


def test_what_failed_is_counted_with_its_reasons() -> None:
    results = synthetic.results(tasks=("copy",), lengths=(20,), cells=("lstm",), troubled=False)
    bad = [
        synthetic.record(record.case, status)
        for record, status in zip(results.records, ("mismatch", "timeout", "timeout"), strict=False)
    ]
    said = sentences(replace(results, records=(*bad, *results.records[3:])))[-1]
    assert said == (
        "3 of 4 cases did not end ok and are not ranked: 2 timeout (not done after 120 s) and 1 mismatch "
        "(gradient of layers.0.forward.W_h differs by 37 × the tolerance)."
    )
    assert not any("did not end ok" in each for each in sentences(results))


def test_how_sure_names_processes_bounds_correctness_and_noise() -> None:
    sure = lead(*_with_groups(synthetic.timed({"torch": 1e-5, "jax": 2e-5}))).sure
    assert "3 fresh processes" in sure[0]
    assert "Half of all ratios are known to ±" in sure[0]
    assert sure[1] == (
        "Correct: 2 cases reproduced the float64 reference, outputs and gradients, "
        "the worst at 0.310 of its tolerance."
    )
    assert sure[2].startswith("Noise: rounds of one process spread by 0.2%")


def test_an_empty_run_claims_nothing() -> None:
    empty = lead(*_with_groups(RunResults(synthetic.run(), (), ())))
    assert (empty.sentences, empty.sure) == ((), ())


def _with_groups(results: RunResults) -> tuple[RunResults, tuple[Ranking, ...]]:
    return results, rank_groups(results)


def test_of_those_that_are_tied_only_the_one_with_the_shortest_time_is_said_to_be_ahead() -> None:
    short = synthetic.timed({"torch": 1e-5, "jax": 1.0005e-5, "numpy": 4e-5}, length=20)
    long = synthetic.timed({"torch": 1.0005e-5, "jax": 1e-5, "numpy": 9e-5}, length=100)
    first, other = ([row.label for row in rank_groups(each)[0].ranked] for each in (short, long))
    assert first[0] != other[0], "the story needs another leader at each length"
    for results, leader in ((short, first[0]), (long, other[0])):
        (said,) = sentences(untrained(results))
        assert (
            f"no difference is seen between jax native and torch native for lstm; of these {leader}" in said
        )
    (both,) = sentences(untrained(joined(short, long)))
    lows = [group.ranked[2].to_best.low for group in rank_groups(joined(short, long))]  # type: ignore[union-attr]
    least = math.floor(min(low for low in lows if low is not None) * 100) / 100
    assert both.endswith(
        f"; whichever of these took the shortest time is at least {least:.4g}× ahead of numpy native."
    )


def test_a_run_whose_cases_stand_alone_is_no_screening() -> None:
    alone = synthetic.timed({"torch": 1e-5})
    failed = synthetic.record(synthetic.case(length=50, backend="jax"), "failed")
    results = replace(alone, records=(*alone.records, failed))
    groups = rank_groups(results)
    assert [group.screening for group in groups] == [False, False]
    assert lead(results, groups).sure[0] == "Each case ran in 3 fresh processes."
    assert "screening" not in " ".join((*lead(results, groups).sentences, *lead(results, groups).sure))


def test_gradients_are_only_claimed_where_they_were_compared() -> None:
    results = synthetic.timed({"torch": 1e-5, "jax": 2e-5})
    one, other = results.records
    forward = replace(other, parity=Parity("float32", {"y": 0.12}))
    sure = lead(*_with_groups(replace(results, records=(one, forward)))).sure
    assert "float64 reference, not all of them with gradients, the worst at 0.310" in sure[1]


def test_a_time_of_a_run_is_told_to_the_minute_and_nothing_else_is_taken_for_one() -> None:
    assert moment("2026-03-01T09:59:31+02:00") == "2026-03-01 07:59 UTC"
    assert moment("2026-03-01") == "2026-03-01 00:00"
    assert moment("0001-01-01T00:00:00+14:00") == "0001-01-01T00:00:00+14:00"
    assert moment("<b>\n") == "<b>\\n"
