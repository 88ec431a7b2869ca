"""Gradient flow on its way: from the worker's parameters into records, from records into figure and table."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from test_conductor import run
from test_page import Page

from rnnbench.contracts import NetworkSpec
from rnnbench.gradient_flow import closed_form, measure_flow
from rnnbench.records import Case, Flow, GradientFlow
from rnnbench.reference import probe_batch
from rnnbench.report import flows
from rnnbench.report.drawing import draw_curves
from rnnbench.report.figures import figures
from rnnbench.report.page import render
from rnnbench.report.panels import Curve
from rnnbench.results.encoding import decode, encode
from rnnbench.results.reading import RunResults
from rnnbench.testing import CELLS
from rnnbench.training import initialise


@pytest.mark.slow
def test_a_run_records_the_flow_before_and_after_training_once_for_all_backends(tmp_path: Path) -> None:
    results = run(tmp_path / "run", "measure=score,gradient_flow", backends=("toy", "chatty"))
    found = {record.case.backend: record.gradient_flow for record in results.records}
    assert set(found) == {"toy", "chatty"}
    flow = found["toy"]
    assert flow is not None
    assert found["chatty"] == flow
    (before,), (after,) = flow.before, flow.after
    assert before.layer == after.layer == "layers.0.forward"
    assert before.gradient != after.gradient
    # no initial parameters: a network that was not trained would flow as before
    assert flow.trained_on in {record.case.key for record in results.records}
    bare = run(tmp_path / "bare", "measure=gradient_flow", backends=("toy",)).records[0]
    assert bare.gradient_flow == GradientFlow(before=flow.before)
    assert bare.score is None


def measured(name: str, init: str, gain: float, bias: float, **changes: Any) -> tuple[Case, GradientFlow]:
    cell, spec = CELLS[name], NetworkSpec(name, 2, 5, 1, "last", "mse")
    batch = replace(probe_batch(cell, spec, 22, 3), state=None)
    flow = measure_flow(cell, spec, initialise(cell, spec, init, bias, 0, gain), batch)
    known = closed_form(cell, spec, init, gain, bias)
    fields = {"cell": name, "init": init, "gain": gain, "forget_bias": bias, **changes}
    after = tuple(
        replace(each, gradient=tuple(0.5 * g for g in each.gradient[:1]) + each.gradient[1:]) for each in flow
    )
    return synthetic.case(**fields), GradientFlow(flow, after, closed_form=known)


def results_of(*networks: tuple[Case, GradientFlow]) -> RunResults:
    records = [replace(synthetic.record(case), gradient_flow=flow) for case, flow in networks]
    return RunResults(synthetic.run(), tuple(records), (), ())


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Curve]]:
    """Title of a panel -> its curves."""
    found: dict[str, list[Curve]] = {}

    def keep(name: str, title: str, alt: str, curves: Any, x: Any, y: Any) -> Any:
        found[title] = list(curves)
        return draw_curves(name, title, alt, curves, x, y)

    monkeypatch.setattr(flows, "draw_curves", keep)
    return found


def test_measured_curves_lie_on_their_closed_forms(drawn: dict[str, list[Curve]]) -> None:
    networks = [measured("elman_linear", "orthogonal", gain, 0.0) for gain in (0.9, 1.1)]
    networks += [measured("lstm", "zero", 1.0, bias) for bias in (0.0, 3.0)]
    networks += [measured("gru", "glorot", 1.0, 0.0)]
    panels = flows.flow_figure(results_of(*networks)).panels
    assert len(panels) == 1
    (curves,) = drawn.values()
    dashed = [curve for curve in curves if curve.style.dash == flows.BEFORE]
    dotted = [curve for curve in curves if curve.style.dash == flows.CLOSED]
    assert (len(dashed), len(dotted)) == (5, 4)
    for base in (0.9, 1.1, 0.5, 1 / (1 + math.exp(-3))):
        expected = base ** np.arange(21)
        for kind in (dashed, dotted):
            near = [curve for curve in kind if np.allclose(curve.y, expected, rtol=1e-9)]
            assert len(near) == 1, base
    # a line before training has its label only where there is none after it
    assert {curve.label for curve in dashed} == {""}
    labels = [curve.label for curve in curves if curve.label]
    assert labels == ["elman_linear orthogonal ×0.9 bias 0", "elman_linear orthogonal ×1.1 bias 0",
                      "lstm zero ×1 bias 0", "lstm zero ×1 bias 3", "gru glorot ×1 bias 0"]  # fmt: skip
    assert "elman_linear orthogonal ×0.9 bias 0 before training 0.122 over 20 steps" in panels[0].alt


def test_cells_stand_together_only_where_all_else_is_equal(drawn: dict[str, list[Curve]]) -> None:
    same = [measured(name, "orthogonal", 1.0, 1.0) for name in ("elman", "gru", "lstm")]
    other = [measured("elman", "orthogonal", gain, 1.0) for gain in (0.5, 2.0)]
    lone = [measured("mgu", "glorot", 1.0, 1.0)]
    clipped = [measured("gru", "identity", 1.0, 1.0)]
    flows.flow_figure(results_of(*same, *other, *lone, *clipped))
    shown = {title: [curve.label for curve in curves if curve.label] for title, curves in drawn.items()}
    assert shown == {
        "copy, T 20, orthogonal": ["elman", "gru", "lstm"],
        "copy, T 20, elman": ["×1", "×0.5", "×2"],
        "copy, T 20, gru": ["orthogonal", "identity"],
        "copy, T 20, mgu": [""][:0],
    }


def test_the_table_says_reach_radius_and_saturation() -> None:
    networks = [measured("elman_linear", "orthogonal", 0.9, 0.0), measured("lstm", "zero", 1.0, 3.0)]
    linear, _, lstm, _ = flows.flow_rows(results_of(*networks))
    assert (linear.network, linear.when) == (
        "copy · T 20 · elman_linear · orthogonal · ×0.9 · bias 0",
        "before",
    )
    assert (linear.reach, linear.closed, linear.radius) == ("0.122", "0.9^20 = 0.122", "0.900, at most 0.900")
    assert (linear.sigmoids, lstm.sigmoids, lstm.tanhs) == ("–", "33%", "0%")
    results = results_of(*networks)
    text = Page(render(results, figures(results))).text
    assert "How far gradients reach" in text
    assert "0.9^20 = 0.122" in text
    plain = synthetic.results(tasks=("copy",), lengths=(20,), cells=("gru",), backends=("torch",))
    assert "Gradient flow" not in Page(render(plain, ())).text
    assert all(figure.name != flows.FLOW for figure in figures(plain))


def test_what_vanishes_or_overflows_is_left_out_of_the_figure(drawn: dict[str, list[Curve]]) -> None:
    odd = Flow("layers.0.forward", (2.0, 1.0, 0.0, math.inf, 4.0), (), math.nan, math.nan, None, None)
    record = replace(synthetic.record(synthetic.case()), gradient_flow=GradientFlow((odd,)))
    assert decode(type(record), encode(record)).gradient_flow is not None
    flows.flow_figure(RunResults(synthetic.run(), (record,), (), ()))
    (curves,) = drawn.values()
    assert [(curve.x, curve.y) for curve in curves] == [((0.0, 1.0, 4.0), (1.0, 0.5, 2.0))]
    gone = replace(odd, gradient=(0.0, 0.0))
    assert (
        flows.flow_figure(
            RunResults(synthetic.run(), (replace(record, gradient_flow=GradientFlow((gone,))),), (), ())
        ).panels
        == ()
    )
