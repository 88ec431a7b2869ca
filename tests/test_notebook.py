"""In a notebook the report shows itself; no name leaves its frame."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import synthetic
from test_page import Page

import rnnbench
from rnnbench.errors import RequestError
from rnnbench.notebook import compare
from rnnbench.results import create
from rnnbench.results.reading import RunResults


class Frame(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def stored(results: RunResults, folder: Path) -> Path:
    with create(folder, results.run) as writer:
        for record in results.records:
            writer.record(record)
        for block in results.blocks:
            writer.block(block)
    return folder


def shown(html: str) -> str:
    """The page inside the only tag there is."""
    ((tag, attributes),) = Frame(html).tags
    assert tag == "iframe"
    assert attributes["sandbox"] == "allow-scripts allow-downloads"
    return attributes["srcdoc"] or ""


def test_what_load_returns_is_a_table_that_shows_the_report(tmp_path: Path) -> None:
    run = stored(synthetic.timed({"torch": 1e-5, "jax": 2e-5}), tmp_path / "run")
    table = rnnbench.load(run)
    assert isinstance(table, pd.DataFrame)
    assert list(table["backend"]) == ["torch", "jax"]
    page = Page(shown(table._repr_html_()))
    assert "the fastest correct lstm is torch native" in page.text
    assert "svg" in {tag for tag, _ in page.tags}
    selected = table[table["backend"] == "jax"]
    assert type(selected) is pd.DataFrame
    assert "iframe" not in (selected._repr_html_() or "")


def test_what_compare_returns_shows_its_verdicts(tmp_path: Path) -> None:
    first = synthetic.timed({"torch": 1e-5, "jax": 2e-5})
    base = stored(first, tmp_path / "base")
    later = replace(synthetic.timed({"torch": 4e-5, "jax": 2e-5}), run=synthetic.run("later"))
    head = stored(later, tmp_path / "head")
    between = compare(base, head)
    verdicts = {row.case.backend: row.verdict for row in between.comparison.rows if row.what == "train_step"}
    assert verdicts == {"torch": "suspect", "jax": "within_spread"}
    assert "SUSPECT" in Page(shown(between._repr_html_())).text
    along = compare("torch", base, by="backend")
    assert "REGRESSION" in Page(shown(along._repr_html_())).text
    with pytest.raises(RequestError):
        compare("nowhere", head)


def test_runs_are_chosen_and_judged_as_on_the_command_line(tmp_path: Path) -> None:
    """Runs beside the base tell by how much runs differ; a head among the bases is not its own base."""
    for day, factor in enumerate((1.0, 1.01, 0.99, 1.12), start=1):
        timed = synthetic.timed({"torch": 1e-5 * factor, "jax": 2e-5 * factor})
        run = replace(timed.run, name=f"day{day}", started=f"2026-01-0{day}T00:00:00+00:00")
        stored(replace(timed, run=run), tmp_path / f"day{day}")
    for base in (tmp_path / "day3", tmp_path):
        found = compare(base, tmp_path / "day4").comparison
        assert found.base.run == "day3"
        rows = [row for row in found.rows if row.what == "train_step"]
        assert {row.verdict for row in rows} == {"within_spread"}
        assert all("3 runs of it here differ by up to" in row.text for row in rows)
    with pytest.raises(RequestError, match="is the same run as HEAD"):
        compare(tmp_path / "day4", tmp_path / "day4")


def test_hostile_names_stay_in_their_frame(tmp_path: Path) -> None:
    table = rnnbench.load(stored(synthetic.hostile(synthetic.HOSTILE_LABELS), tmp_path / "run"))
    page = shown(table._repr_html_())
    assert "<b>\"'&$x^2$</b>" in Page(page).text
