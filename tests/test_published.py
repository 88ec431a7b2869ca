"""Figures of others: read whole, found by shape, shown beside ours in order of time and never compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnbench.planning.plan import plan
from rnnbench.plugins import discover
from rnnbench.published import published_beside
from rnnbench.records import Block, Case, Record, Run
from rnnbench.report.page import render
from rnnbench.report.published import shapes_beside
from rnnbench.results.reading import RunResults
from rnnbench.suite.loading import load_suite

SHORT = Case(
    "frames", 100, "lstm", "torch", "native", hidden=320, batch=64, measure=("forward", "train_step")
)


def run_of(suite: str) -> Run:
    return Run("r", suite, "", (), "", "", 2, 2, None, {}, {})


def test_braun_short_is_found_in_the_order_of_its_chart() -> None:
    found = published_beside("braun2018", SHORT)
    assert [figure.implementation for figure in found[:2]] == ["TensorFlow cuDNN", "PyTorch cuDNN"]
    assert [figure.seconds for figure in found] == [
        pytest.approx(ms / 1000) for ms in (10, 11, 13, 16, 18, 31, 31, 36, 44, 47, 54)
    ]
    assert {(figure.machine, figure.year) for figure in found} == {("GTX 1080", "2018")}


@pytest.mark.parametrize(
    "case",
    [
        replace(SHORT, hidden=321),
        replace(SHORT, batch=32),
        replace(SHORT, cell="gru"),
        replace(SHORT, layers=4, bidirectional="concat"),
        replace(SHORT, measure=("forward",)),
    ],
)
def test_another_shape_or_phase_has_no_figure(case: Case) -> None:
    assert published_beside("braun2018", case) == []


def test_the_same_shape_in_a_suite_of_ones_own_has_no_figure() -> None:
    assert published_beside("sales", SHORT) == published_beside("braun2018b", SHORT) == []
    assert published_beside("braun2018_gpu", SHORT) == published_beside("braun2018", SHORT)


def test_ours_stand_among_theirs_by_time_with_machine_and_interval() -> None:
    # geometric mean of 0.012 and 0.014 is 0.01296: between 11 and 13 ms
    blocks = tuple(
        Block(SHORT.key, "train_step", process, 0, 0, 10, ten_calls_s)
        for process, ten_calls_s in enumerate((0.12, 0.14))
    )
    (shape,) = shapes_beside(RunResults(run_of("braun2018"), (Record(SHORT, "ok"),), blocks))
    assert shape.title == "CE-short, training step"
    assert [line.name for line in shape.lines[:4]] == [
        "TensorFlow cuDNN",
        "PyTorch cuDNN",
        "torch native",
        "Keras on TensorFlow cuDNN",
    ]
    assert [line.time for line in shape.lines[1:4]] == ["11.0 ms", "13.0 ms", "13.0 ms"]
    assert [line.machine for line in shape.lines[1:3]] == ["GTX 1080, 2018", "this run"]
    assert shape.lines[2].interval
    assert not shape.lines[1].interval


def test_the_page_shows_them_for_that_suite_alone() -> None:
    for suite, shown in (("braun2018", True), ("mine", False)):
        page = render(RunResults(run_of(suite), (Record(SHORT, "ok"),), ()), ())
        assert ("Beside published figures" in page) is shown
        assert ("GTX 1080, 2018" in page) is shown


def test_a_run_that_repeats_nobody_shows_nothing() -> None:
    assert shapes_beside(RunResults(run_of("quick"), (Record(SHORT, "ok"),), ())) == []


@pytest.mark.parametrize(
    ("name", "cases_per_backend", "published"),
    [
        ("braun2018", 3, {"CE-short", "CE-long"}),
        ("braun2018_gpu", 5, {"CE-short", "CE-long", "4x320 CE-long"}),
        ("deepbench_gpu", 53, None),
        ("deepbench_inference_gpu", 69, None),
    ],
)
def test_suites_hold_the_shapes_that_were_published(
    name: str, cases_per_backend: int, published: set[str] | None
) -> None:
    suite = load_suite(name)
    planned = plan(suite, discover(()))
    cases = [*planned.cases, *(refused.case for refused in planned.refused)]
    backends = {case.backend for case in cases}
    assert len(cases) == cases_per_backend * len(backends)
    found = {figure.shape for case in cases for figure in published_beside(suite.name, case)}
    if published is not None:
        assert found == published


def test_every_published_training_shape_of_deepbench_is_in_its_suite() -> None:
    planned = plan(load_suite("deepbench_gpu"), discover(()))
    cases = [*planned.cases, *(refused.case for refused in planned.refused)]
    found = {figure.shape for case in cases for figure in published_beside("deepbench_gpu", case)}
    assert len(found) == 16
