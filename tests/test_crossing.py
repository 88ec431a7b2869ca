"""From which length on a scan pays: no more is said than intervals show."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import synthetic

from rnnbench.records import Block
from rnnbench.report.crossing import crossings, quicker
from rnnbench.report.page import render
from rnnbench.report.ranking import rank_groups
from rnnbench.results.reading import RunResults
from rnnbench.stats import Interval

SPREAD = (0.99, 1.0, 1.01)
"""Of three processes, on portable's times."""


def measured(
    gains: Mapping[int, float], *, spread: tuple[float, ...] = SPREAD, **changes: object
) -> RunResults:
    """portable ÷ scan by length, the same in every round."""
    blocks, cases = [], []
    for length, gain in gains.items():
        for name, seconds in (("scan", 1e-3), ("portable", 1e-3 * gain)):
            fields = {"cell": "mingru", "backend": "jax", "measure": ("gradients",), **changes}
            case = synthetic.case(length=length, implementation=name, **fields)
            cases.append(case)
            for process, factor in enumerate(spread):
                taken = seconds * (factor if name == "portable" else 1)
                blocks += [
                    Block(case.key, "gradients", process, number, 0, 10, 10 * taken) for number in range(4)
                ]
    return RunResults(synthetic.run(), tuple(map(synthetic.record, cases)), tuple(blocks))


def said(results: RunResults) -> list[str]:
    return [sentence for each in crossings(results, rank_groups(results)) for sentence in each.sentences]


# log-medians of ±1 % over three processes: t(99 %, 2) = 9.925 × 0.01 / √3 makes bounds of 5.9 %
@pytest.mark.parametrize(
    ("gains", "sentence"),
    [
        (
            {64: 0.5, 256: 0.8, 512: 1.3, 1024: 2.0},
            "scan overtakes portable between T = 256 and T = 512, at least 1.89× at T = 1024.",
        ),
        (
            {64: 0.5, 256: 1.01, 512: 1.02, 1024: 2.0},
            "scan overtakes portable between T = 64 and T = 1024, at least 1.89× at T = 1024; "
            "no difference is seen at T 256 and 512.",
        ),
        (
            {64: 2.0, 1024: 4.0},
            "scan is quicker than portable at every length measured, T 64 and 1024, "
            "at least 3.78× at T = 1024.",
        ),
        (
            {64: 0.25, 1024: 0.5},
            "portable is quicker than scan at every length measured, T 64 and 1024, "
            "at least 1.89× at T = 1024.",
        ),
        (
            {64: 1.0, 1024: 0.97},
            "no difference is seen between scan and portable at any length measured, T 64 and 1024.",
        ),
        (
            {64: 1.03, 128: 1.5, 1024: 2.0},
            "scan is quicker than portable from T = 128 on, at least 1.89× at T = 1024; "
            "no difference is seen at T 64.",
        ),
        (
            {64: 0.5, 1024: 1.0},
            "portable is quicker than scan up to T = 64; no difference is seen at T 1024.",
        ),
        (
            {64: 2.0, 1024: 0.5},
            "portable overtakes scan between T = 64 and T = 1024, at least 1.89× at T = 1024.",
        ),
        (
            {64: 2.0, 128: 0.5, 256: 2.0, 512: 1.0},
            "neither of scan and portable stays ahead: scan is quicker at T 64, portable is quicker at T "
            "128, scan is quicker at T 256 and no difference is seen at T 512.",
        ),
    ],
)
def test_every_course_has_its_sentence(gains: dict[int, float], sentence: str) -> None:
    assert said(measured(gains)) == [f"On jax {sentence}"]


def test_wide_intervals_show_nothing() -> None:
    results = measured({64: 0.5, 1024: 2.0}, spread=(0.7, 1.0, 1.4))
    assert said(results) == [
        "On jax no difference is seen between scan and portable at any length measured, T 64 and 1024."
    ]


def test_a_screening_says_that_it_is_one() -> None:
    (sentence,) = said(measured({64: 0.5, 1024: 2.0}, spread=(1.0,)))
    assert sentence == (
        "On jax scan overtakes portable between T = 64 and T = 1024 (screening, no interval)."
    )


def test_verdicts_need_bounds_on_one_side_of_one() -> None:
    assert quicker(Interval(1.5, 1.01, 2.2, 3)) == "scan"
    assert quicker(Interval(0.7, 0.5, 0.99, 3)) == "portable"
    assert quicker(Interval(1.5, 0.99, 2.2, 3)) == ""
    # no more than an order of magnitude is no knowledge
    assert quicker(Interval(9.0, 1.5, 50.0, 3)) == ""


def test_what_was_not_timed_is_named_and_other_implementations_say_nothing() -> None:
    results = measured({64: 0.5, 256: 2.0, 1024: 3.0})
    late = [record for record in results.records if record.case.length == 1024]
    records = tuple(
        synthetic.record(record.case, "timeout") if record is late[1] else record
        for record in results.records
    )
    assert said(RunResults(results.run, records, results.blocks)) == [
        "On jax scan overtakes portable between T = 64 and T = 256, at least 1.89× at T = 256. "
        "Not compared at T 1024."
    ]
    assert said(RunResults(results.run, records[:2], results.blocks)) == []
    assert said(synthetic.results(tasks=("copy",), lengths=(20, 50), cells=("lstm",))) == []


def test_each_backend_and_setting_has_its_own_sentence_and_the_page_shows_all() -> None:
    jax, torch = measured({64: 0.5, 1024: 2.0}), measured({64: 3.0, 1024: 3.0}, backend="torch")
    wide = measured({64: 1.0, 1024: 1.0}, hidden=128)
    both = RunResults(
        jax.run, jax.records + torch.records + wide.records, jax.blocks + torch.blocks + wide.blocks
    )
    answers = crossings(both, rank_groups(both))
    assert [(answer.subject, len(answer.sentences)) for answer in answers] == [
        ("mingru · copy · H 128 (forward and backward)", 1),
        ("mingru · copy · H 64 (forward and backward)", 2),
    ]
    page = render(both, ())
    assert "From which length on a scan pays" in page
    assert "scan overtakes portable between T = 64 and T = 1024" in page
    assert "From which length on a scan pays" not in render(synthetic.timed({"torch": 1e-5}), ())


def test_hostile_names_stay_text() -> None:
    results = measured({64: 0.5, 1024: 2.0}, backend="<b>jax</b>", cell="<i>")
    assert "<b>jax" not in render(results, ())
