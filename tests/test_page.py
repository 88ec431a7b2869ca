"""The page and its figures: everything is on it, nothing is loaded, no name does anything."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from base64 import b64encode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import synthetic

from rnnbench.records import Curve, Parity, Record, Score
from rnnbench.report.answers import learning, speed, summary
from rnnbench.report.figures import figures
from rnnbench.report.inlining import Looks, inline
from rnnbench.report.page import render, write
from rnnbench.report.panels import spread, styles
from rnnbench.report.ranking import rank_groups
from rnnbench.report.splitting import Figure
from rnnbench.report.terminal import table
from rnnbench.results.reading import RunResults

RESULTS = synthetic.results(tasks=("copy",), lengths=(20, 100), cells=("gru", "lstm"))
BACKENDS = ("torch", "jax", "numpy")


@pytest.fixture(scope="module")
def drawn() -> tuple[Figure, ...]:
    """Drawing is slow; no test changes what it gets."""
    return figures(RESULTS)


class Page(HTMLParser):
    """Tags, attributes and text of a page; void of any opinion."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.code: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.code.append((self.cdata_elem, data))
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_a_screening_claims_nothing() -> None:
    results = synthetic.timed({"torch": 1e-5, "jax": 9e-5}, processes=1)
    groups = rank_groups(results)
    said = " ".join([summary(groups), *speed(groups)[0].sentences])
    assert "screening" in said
    assert "fastest" not in said.lower()
    page = Page(render(results, ()))
    assert "no interval: screening" in page.text
    assert not [attributes for tag, attributes in page.tags if attributes.get("class") in ("best", "first")]


def test_a_negative_control_is_said_to_be_one_everywhere() -> None:
    control = replace(RESULTS, run=synthetic.run(unranked=("copy",)))
    assert "negative control" in learning(rank_groups(control))[0].subject
    assert "negative control" not in learning(rank_groups(RESULTS))[0].subject
    assert "negative control: not ranked" in Page(render(control, ())).text
    assert "negative control" not in Page(render(RESULTS, ())).text
    assert not any(group.score_ranked for group in rank_groups(control))
    assert all(group.rows[0].rank == 1 for group in rank_groups(control))


def test_the_page_holds_every_case_reason_finding_and_fact() -> None:
    results = synthetic.results()
    page = Page(render(results, ()))
    for record in results.records:
        assert record.reason in page.text
        for finding in record.findings:
            assert finding.text in page.text
    for said in ("oneDNN LSTM", "Example CPU @ 2.5 GHz", "8.00 GiB", "2.13.0", "OpenBLAS", "37.2", "mkldnn"):
        assert said in page.text
    assert "rnnbench run suites/long_deps.yaml --set defaults.hidden=64" in page.text
    assert page.text.count("mismatch") >= 2


def test_a_run_that_did_not_finish_says_so_and_lists_its_problems() -> None:
    results = replace(RESULTS, run=synthetic.run(finished=""), problems=("records.jsonl:3: torn",))
    text = Page(render(results, ())).text
    assert "did not finish" in text
    assert "records.jsonl:3: torn" in text
    assert "did not finish" not in Page(render(RESULTS, ())).text


def test_an_empty_run_is_a_page() -> None:
    empty = RunResults(synthetic.run(), (), ())
    assert "No case ended with a record" in Page(render(empty, figures(empty))).text
    assert table(empty).row_count == 0


def test_hostile_names_stay_text() -> None:
    results = synthetic.hostile()
    html = render(results, figures(synthetic.hostile(synthetic.HOSTILE_LABELS)))
    page = Page(html)
    assert {tag for tag, _ in page.tags}.isdisjoint({"iframe", "img", "link", "object"})
    assert [tag for tag, _ in page.code] == ["style", "script", "script"]
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "<script>alert('1')</script>" in page.text
    assert "$x^2$ \\alpha {{ 7 * 7 }}" in page.text
    assert "49" not in {word.strip() for word in page.words}
    for label in ("<b>\"'&$x^2$</b>", "{{7*7}}\\alpha$"):
        assert sum(label in word for word in page.words) > 3, "in figures, letter by letter"
    assert "right\\u202eto left\\u200f" in page.text
    assert not set("\u202e\u200f\a\t") & set(html)


def test_the_page_loads_nothing_and_runs_nothing_but_its_own(drawn: tuple[Figure, ...]) -> None:
    page = Page(render(RESULTS, drawn))
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
        assert "style" not in attributes, (tag, attributes)
    (_, style), (_, script), (_, data) = page.code
    assert "url(" not in style.replace("url(#", "")
    assert "@import" not in style
    digests = [b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in (script, style)]
    policies = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [
        f"default-src 'none'; script-src 'sha256-{digests[0]}'; style-src 'sha256-{digests[1]}'; "
        "base-uri 'none'; form-action 'none'"
    ]
    assert [a.get("type") for tag, a in page.tags if tag == "script"] == [None, "application/json"]
    assert len(json.loads(data)["rows"]) == len(RESULTS.records)


def test_every_id_is_unique_and_every_reference_has_its_target(drawn: tuple[Figure, ...]) -> None:
    page = Page(render(RESULTS, drawn))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert len(ids) > 100
    for _, attributes in page.tags:
        for name in ("href", "xlink:href"):
            if attributes.get(name):
                assert str(attributes[name])[1:] in ids
        clip = attributes.get("clip-path")
        if clip:
            assert clip[5:-1] in ids


def test_a_lost_seed_and_an_endless_score_are_not_drawn_over() -> None:
    case, other = synthetic.case(), synthetic.case(length=50)
    steps = (100, 200)
    curves = (
        Curve(0, steps, (0.5, math.nan), (1.0, math.nan), "budget"),
        Curve(1, steps, (0.5, math.inf), (1.0, 1.0), "budget"),
        Curve(2, (), (), (), "budget"),
    )
    scores = [Score("mse", False, each.key, curves, math.nan, "x") for each in (case, other)]
    records = (Record(case, "diverged", score=scores[0]), Record(other, "diverged", score=scores[1]))
    results = RunResults(synthetic.run(), records, ())
    assert figures(results) == ()
    assert "without a finite score" in Page(render(results, ())).text


def test_a_parity_error_of_nan_is_the_worst() -> None:
    parity = Parity("float32", {"loss": math.nan, "y": 3.0})
    record = replace(synthetic.record(synthetic.case(), "mismatch"), parity=parity)
    text = Page(render(RunResults(synthetic.run(), (record,), ()), ())).text
    assert "∞ mismatch loss" in text


@pytest.mark.slow  # another process
def test_equal_results_give_equal_bytes_in_any_process(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, 'tests'); import synthetic\nfrom pathlib import Path\n"
        "from rnnbench.report.page import write\n"
        "write(synthetic.results(tasks=('copy',), lengths=(20, 100), cells=('lstm',)), Path(sys.argv[1]))\n"
    )
    # this process, which has drawn much else, and a fresh one with another order of sets and another clock
    write(synthetic.results(tasks=("copy",), lengths=(20, 100), cells=("lstm",)), tmp_path / "here")
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": "UTC+1"}
    root = Path(__file__).parent.parent
    subprocess.run([sys.executable, "-c", script, tmp_path / "there"], cwd=root, env=environment, check=True)
    found = []
    for folder in (tmp_path / "here", tmp_path / "there"):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        found.append({str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files})
    assert found[0] == found[1]
    assert {"report.html", "figures/time-0.svg"} <= set(found[0])


def test_figures_answer_their_questions_and_say_it_in_words(drawn: tuple[Figure, ...]) -> None:
    panels = {figure.name: [panel.title for panel in figure.panels] for figure in drawn}
    assert list(panels) == [
        "time", "memory", "score", "tradeoff", "learning", "seconds", "first", "total", "matrix", "blocks",
        "spread",
    ]  # fmt: skip
    assert panels["time"] == ["copy, gru", "copy, lstm"]
    assert panels["learning"] == ["copy, T 20", "copy, T 100"]
    for figure in drawn:
        for panel in figure.panels:
            assert len(panel.alt) > 40
            assert panel.saved("png").startswith(b"\x89PNG")
            root = ElementTree.fromstring(inline(panel, looks := Looks()))
            assert (root.get("role"), root.get("aria-label")) == ("img", panel.alt)
            assert "1b1f24" not in inline(panel, looks) + looks.rules  # its ink is the page's


def test_styles_differ_and_kinds_share_a_colour() -> None:
    names = [f"{backend} {each}" for backend in BACKENDS for each in ("native", "portable")]
    found = styles(names, [name.split()[0] for name in names])
    assert found["torch native"].colour == found["torch portable"].colour
    assert found["torch native"].dash != found["torch portable"].dash
    assert len({(style.colour, style.marker, str(style.dash)) for style in found.values()}) == len(names)


def test_labels_are_moved_apart_and_no_further() -> None:
    assert spread([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])
    assert spread([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    found = spread([0.2, 0.21, 0.22, 0.8], 0.1)
    assert found == pytest.approx([0.11, 0.21, 0.31, 0.8])
