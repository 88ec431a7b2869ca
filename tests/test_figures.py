"""What figures draw: fits, fronts, break-evens and blocks, against numbers found another way."""

from __future__ import annotations

import math
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import synthetic

from rnnbench.records import Curve, Finding, Score
from rnnbench.report.drawing import Point, draw_points
from rnnbench.report.lengthwise import memory_against_length, time_against_length
from rnnbench.report.overhead import overheads
from rnnbench.report.panels import BASELINE, Axis, styles
from rnnbench.report.ranking import rank_groups
from rnnbench.report.rawblocks import flagged_blocks, is_doubted, other_blocks
from rnnbench.report.scored import learning_curves, pareto_front, speed_against_score
from rnnbench.report.splitting import Panels, network, short_time
from rnnbench.report.starts import break_evens, phase_bars, total_times
from rnnbench.results.reading import RunResults


def look(results: RunResults) -> dict[str, object]:
    groups = rank_groups(results)
    return styles(sorted({row.label for group in groups for row in group.rows} | set(map(network, groups))))  # type: ignore[return-value]


def lengthwise(costs: dict[str, float], lengths: tuple[int, ...]) -> RunResults:
    several = [synthetic.timed(costs, length=length) for length in lengths]
    return replace(
        several[0],
        records=tuple(
            replace(record, memory={"host_peak_bytes": (3 << 20) + 1024 * record.case.length})
            for each in several
            for record in each.records
        ),
        blocks=tuple(block for each in several for block in each.blocks),
    )


def point(label: str, seconds: float, score: float) -> Point:
    return Point(label, BASELINE, seconds, (score, score - 0.01, score + 0.01))


def test_the_front_is_what_nothing_beats_in_both() -> None:
    draw = np.random.default_rng(3)
    points = [point(str(n), *draw.uniform(0.1, 1.0, 2)) for n in range(40)]
    for higher in (True, False):
        sign = 1 if higher else -1
        expected = {
            p.label
            for p in points
            if not any(
                q.x <= p.x and sign * q.y[0] >= sign * p.y[0] and (q.x < p.x or q.y[0] != p.y[0])
                for q in points
            )
        }
        front = pareto_front(points, higher)
        assert {each.label for each in front} == expected
        assert [each.x for each in front] == sorted(each.x for each in front)
    assert len(pareto_front([point("a", 1.0, 0.5), point("b", 1.0, 0.5)], True)) == 1


def test_time_and_memory_say_their_fits() -> None:
    results = lengthwise({"torch": 1e-5, "jax": 2e-5}, (20, 100, 500))
    groups = rank_groups(results)
    (time,) = time_against_length(groups, look(results), overheads(results, groups)).panels  # type: ignore[arg-type]
    # 2e-4 s a call and 1e-5 s a step, by construction, but for noise of 0.2 %
    fitted = time.alt[time.alt.index("Fitted") :]
    assert "torch native 20" in fitted or "torch native 19" in fitted
    assert " µs a time step" in fitted
    (memory,) = memory_against_length(groups, look(results)).panels  # type: ignore[arg-type]
    assert "torch native 3.0 MiB and 1.0 KiB a time step" in memory.alt
    single = rank_groups(synthetic.timed({"torch": 1e-5}))
    (dots,) = memory_against_length(single, look(results)).panels  # type: ignore[arg-type]
    assert "512.0 MiB" in dots.alt
    assert "Fitted" not in dots.alt


def test_labels_of_a_narrow_logarithmic_axis_do_not_run_into_each_other() -> None:
    look = styles(["gru", "lstm"])
    points = [Point(n, look[n], x, (0.2, math.nan, math.nan)) for n, x in (("gru", 0.308), ("lstm", 0.435))]
    panel = draw_points("p", "t", "a", points, points, Axis("seconds", True, show=short_time), Axis("y"))
    root = ElementTree.fromstring(panel.svg)
    ticks = [
        (float(text.get("x", "nan")), "".join(text.itertext()))
        for text in root.iter("{http://www.w3.org/2000/svg}text")
        if "".join(text.itertext()).endswith(" ms")
    ]
    assert len(ticks) >= 2
    # the old ticks stood 10 ms apart, fourteen of them
    assert len(ticks) <= 4


def test_seconds_of_learning_are_updates_times_the_quickest_step() -> None:
    results = synthetic.timed({"torch": 1e-5, "jax": 5e-5})
    groups = rank_groups(results)
    step_s = min(row.times["train_step"].value for row in groups[0].ranked)
    steps = learning_curves(groups, look(results), by_seconds=False)  # type: ignore[arg-type]
    seconds = learning_curves(groups, look(results), by_seconds=True)  # type: ignore[arg-type]
    assert "over 250 to 1500 updates" in steps.panels[0].alt
    said = seconds.panels[0].alt.split(" over ")[1].split(" seconds")[0].split(" to ")
    assert [float(each) for each in said] == pytest.approx([250 * step_s, 1500 * step_s], rel=0.01)


def test_speed_against_score_names_the_front() -> None:
    def scored(cell: str, cost: float, final: float) -> RunResults:
        results = synthetic.timed({"torch": cost}, cell=cell)
        (record,) = results.records
        curves = tuple(Curve(seed, (100,), (final + seed / 1000,), (1.0,), "steps") for seed in range(3))
        score = Score("recall", True, record.case.key, curves, 0.125, "chance", None, "", 0.0)
        return replace(results, records=(replace(record, score=score),))

    several = [scored("gru", 2e-5, 0.8), scored("lstm", 4e-5, 0.9), scored("elman", 5e-5, 0.5)]
    results = replace(
        several[0],
        records=tuple(r for each in several for r in each.records),
        blocks=tuple(b for each in several for b in each.blocks),
    )
    (panel,) = speed_against_score(rank_groups(results), look(results)).panels  # type: ignore[arg-type]
    assert "On the Pareto front: gru and lstm." in panel.alt
    # 100 × (2e-5 × 20 + 2e-4) s
    assert (
        "gru 0.801 in 60.0 ms" in panel.alt or "gru 0.801 in 59.9 ms" in panel.alt or "60.1 ms" in panel.alt
    )


def test_break_even_is_where_the_totals_cross() -> None:
    results = synthetic.timed({"torch": 4e-5, "jax": 1e-5})
    phases = {
        "torch": {"first_train_step_s": 0.1},
        "jax": {"first_train_step_s": 2.1, "compile_train_step_s": 2.0},
    }
    records = tuple(
        replace(each, phases={"import_s": 1.0, "build_s": 0.0, **phases[each.case.backend]})
        for each in results.records
    )
    groups = rank_groups(replace(results, records=records))
    (found,) = break_evens(groups)
    calls = {row.label: row.times["train_step"].value for row in groups[0].ranked}
    assert (found.label, found.other) == ("jax native", "torch native")
    n, total = 0, {"jax native": 3.1, "torch native": 1.1}
    while total["jax native"] > total["torch native"]:
        n += 1
        total = {name: total[name] + calls[name] for name in total}
    assert found.calls == n + 1
    (panel,) = total_times(groups, look(results)).panels  # type: ignore[arg-type]
    assert f"jax native has caught up with torch native after {n + 1} calls" in panel.alt
    (bars,) = phase_bars(replace(results, records=records), groups).panels
    assert "jax native: import 1.00 s, build 0 s, compile 2.00 s, first calls 100 ms" in bars.alt


def test_blocks_of_doubted_phases_stand_in_full_and_the_rest_as_a_histogram() -> None:
    results = synthetic.timed({"torch": 1e-5, "jax": 2e-5})
    doubt = Finding("noisy", "forward: rounds of one process spread by 23%")
    first = replace(results.records[0], findings=(doubt,))
    assert is_doubted(first, "forward")
    assert not is_doubted(first, "train_step")
    assert is_doubted(replace(first, findings=(Finding("drift", "calls grew slower"),)), "train_step")
    assert not is_doubted(
        replace(first, findings=(Finding("no_interval", "forward: one process"),)), "forward"
    )
    results = replace(results, records=(first, results.records[1]))
    (panel,) = flagged_blocks(results).panels
    assert panel.alt.startswith(
        "forward pass of torch native, copy T 20 lstm, block by block: process 1: median"
    )
    assert doubt.text in panel.alt
    others = {each.title: each.alt for each in other_blocks(results).panels}
    # three processes of eight rounds, of one case forward and of both in the training step
    assert "24 blocks" in others["forward pass"]
    assert "48 blocks" in others["training step"]


def test_a_figure_draws_no_more_panels_than_it_may_and_says_so() -> None:
    panels = Panels(most=2)
    drawn: list[str] = []

    def draw(name: str) -> object:
        drawn.append(name)
        return name

    for name in "abc":
        panels.add(draw, name)  # type: ignore[arg-type]
    assert drawn == ["a", "b"]
    assert "2 of 3 panels" in panels.figure("f", "F", "Caption.").caption
    assert Panels().figure("f", "F", "Caption.").caption == "Caption."
