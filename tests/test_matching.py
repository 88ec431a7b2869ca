"""``match``: hidden sizes by the number of parameters, against closed forms and a search by brute force."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from typer.testing import CliRunner

from rnnbench.cli.app import app
from rnnbench.contracts import NetworkSpec
from rnnbench.errors import RequestError
from rnnbench.planning.networks import match_hidden, matched_parameters
from rnnbench.planning.plan import plan
from rnnbench.plugins import discover
from rnnbench.report.page import render
from rnnbench.suite.loading import Match, parse_suite
from rnnbench.suite.overrides import Overrides

TEXT = """axes:
  task: [adding]
  length: [9]
  cell: [elman, lstm, gru]
  backend: numpy
defaults:
  match: {parameters: 3000}
"""
# with I=2 features, O=1 output: gates (I H + H² + H), of a GRU a bias more, and the head
LAYERS: dict[str, Callable[[int, int], int]] = {
    "elman": lambda i, h: i * h + h * h + h,
    "lstm": lambda i, h: 4 * (i * h + h * h + h),
    "gru": lambda i, h: 3 * (i * h + h * h + h) + h,
}


def nearest(count: Callable[[int], int], budget: int) -> int:
    return min(range(1, 400), key=lambda hidden: abs(count(hidden) - budget))


@pytest.mark.parametrize("head", [True, False])
def test_each_cell_gets_the_size_whose_count_is_nearest(head: bool) -> None:
    settings = (f"match.head={str(head).lower()}", "layers=1,2", "bidirectional=concat,none")
    found = plan(parse_suite(TEXT), discover(), overrides=Overrides(settings=settings))
    assert len(found.cases) == 12
    for case in found.cases:
        layer, ways = LAYERS[case.cell], 2 if case.bidirectional == "concat" else 1

        def count(
            h: int, layers: int = case.layers, layer: Callable[[int, int], int] = layer, ways: int = ways
        ) -> int:
            own = ways * (layer(2, h) + (layers - 1) * layer(ways * h, h))
            return own + head * (ways * h + 1)

        assert case.hidden == nearest(count, 3000)
        assert found.parameters[case.key] == count(case.hidden)


def test_embeddings_do_not_count() -> None:
    cells = discover().cells
    spec = NetworkSpec("gru", 8, 1, 2, "last", "cross_entropy", vocab=1000)
    hidden = match_hidden(cells["gru"], spec, Match(5000))
    plain = match_hidden(cells["gru"], replace(spec, vocab=None), Match(5000))
    assert hidden == plain == nearest(lambda h: 3 * (8 * h + h * h + h) + h + 2 * h + 2, 5000)
    with_norm = replace(spec, hidden=hidden, norm="layer")
    counts = [
        matched_parameters(cells["gru"], each, Match(1))
        for each in (with_norm, replace(with_norm, norm="none"))
    ]
    assert counts[0] - counts[1] == 2 * hidden


@pytest.mark.parametrize(
    ("cell", "inputs", "budget"),
    [("sru", 32, 3700), ("sru", 64, 14_150), ("lru", 32, 8700), ("lru", 64, 20_000)],
)
def test_a_count_that_falls_where_two_sizes_are_equal_is_searched_past_it(
    cell: str, inputs: int, budget: int
) -> None:
    cells, match = discover().cells, Match(budget)
    spec = NetworkSpec(cell, inputs, 1, 2, "last", "cross_entropy", vocab=50)

    def count(hidden: int) -> int:
        return matched_parameters(cells[cell], replace(spec, hidden=hidden), match)

    assert match_hidden(cells[cell], spec, match) == nearest(count, budget)


def test_where_no_size_is_near_enough_the_two_nearest_are_named() -> None:
    said = (
        "s.yaml:7: defaults.match.parameters: no hidden size gives elman of 1 layer 8 parameters, "
        "head counted, embeddings not counted, within 10%: 6 with hidden 1 and 13 with hidden 2. "
        "Give another number"
    )
    with pytest.raises(RequestError) as refused:
        plan(parse_suite(TEXT.replace("3000", "8"), name="s"), discover())
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT + "  hidden: 8\n",
         "s.yaml:8: defaults.hidden: is what defaults.match chooses; keep one of the two"),
        (TEXT + "include:\n  - {hidden: 8}\n",
         "s.yaml:9: include[0].hidden: is what defaults.match chooses; keep one of the two"),
        (TEXT.replace("parameters: 3000", "head: false"),
         "s.yaml:7: defaults.match.parameters: is missing. Give a whole number from 1 to 1,000,000,000."),
        (TEXT.replace("3000", "3000, heads: true"),
         's.yaml:7: defaults.match.heads: unknown key. Did you mean "head"?'),
        (TEXT.replace("{parameters: 3000}", "3000"),
         "s.yaml:7: defaults.match: 3000 is not allowed. "
         "Give a mapping from parameters, and perhaps head, to values."),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_with_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_suite(text, name="s")
    assert str(refused.value) == message


def test_the_plan_states_what_counts(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(TEXT)
    said = CliRunner().invoke(app, ["plan", str(file)]).output
    assert "chosen for 3,000 parameters each: head counted, embeddings not counted" in " ".join(said.split())
    given = json.loads(CliRunner().invoke(app, ["plan", str(file), "--json"]).output)
    for case in given["cases"]:
        hidden = case["hidden"]
        assert given["parameters"][case["key"]] == LAYERS[case["cell"]](2, hidden) + hidden + 1
    results = synthetic.results()
    sentence = parse_suite(TEXT).match.sentence  # type: ignore[union-attr]
    page = render(replace(results, run=replace(results.run, match=sentence)), [])
    assert "Hidden sizes are chosen for 3,000 parameters each" in page
    assert "Hidden sizes are chosen" not in render(results, [])
