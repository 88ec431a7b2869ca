"""Reports of one run, of several and of comparisons, in every format; hostile names stay text in each."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from markdown_it import MarkdownIt
from test_page import Page

import rnnbench
from rnnbench.compare import compare_axis, compare_runs
from rnnbench.errors import RequestError
from rnnbench.records import STATUSES
from rnnbench.report.figures import Subject
from rnnbench.report.files import FORMATS, write_report
from rnnbench.report.forest import describe_comparison, forest_figure
from rnnbench.report.markdown import markdown
from rnnbench.report.page import render
from rnnbench.report.timeline import history_figure
from rnnbench.report.trust import fingerprint

LIVE = synthetic.timed({"torch": 1e-5, "jax": 2e-5, "numpy": 1.0002e-5})


def test_the_words_of_all_findings_are_known_here() -> None:
    sources = Path(rnnbench.__file__).parent.rglob("*.py")
    words = {word for each in sources for word in re.findall(r'Finding\(\s*"(\w+)"', each.read_text("utf-8"))}
    assert words == set(synthetic.FINDINGS)


def test_every_status_and_finding_stands_with_its_reason_on_the_page_and_in_markdown() -> None:
    results = synthetic.everything()
    texts = [Page(render(results, ())).text, _text(markdown(Subject(results)))]
    for text in texts:
        for status in STATUSES[1:]:
            assert status.replace("_", " ") in text
            assert synthetic.REASONS[status] in text
        for word in synthetic.FINDINGS:
            assert f"why it is {word}" in text


def test_a_comparison_says_what_changed_first_and_no_more_than_its_verdicts() -> None:
    comparison = compare_axis(LIVE, "backend", "torch")
    found = describe_comparison(comparison)
    verdicts = [line.verdict for line in found.lines if line.what == "training step"]
    assert verdicts == ["REGRESSION", "unchanged"]
    assert found.lines[0].name.endswith("jax ÷ torch")
    text = Page(render(Subject(LIVE, comparison), ())).text
    assert text.index("What changed") < text.index("The answer")
    assert "1 regression" not in Page(render(LIVE, ())).text
    (panel,) = forest_figure(comparison).panels
    ratios = {row.case.backend: row.ratio for row in comparison.rows if row.what == "train_step"}
    assert f"{ratios['jax'].value:.2f}×" in panel.alt  # type: ignore[union-attr]
    assert panel.alt.index("REGRESSION") < panel.alt.index("unchanged")


def test_stored_times_are_called_weak_evidence() -> None:
    comparison = compare_runs(LIVE, replace(LIVE, run=synthetic.run("later")))
    text = Page(render(Subject(LIVE, comparison), ())).text
    assert "weak evidence" in text
    assert "REGRESSION" not in text
    machine = {**LIVE.run.machine, "cpu": "Other CPU"}
    comparison = compare_runs(LIVE, replace(LIVE, run=synthetic.run("later", machine=machine)))
    found = describe_comparison(comparison)
    assert {line.verdict for line in found.lines} == {"INCOMPARABLE"}
    assert any(said.startswith("3 incomparable: ") and "Other CPU" in said for said in found.sentences)


def test_several_runs_stand_on_one_page_and_their_history_has_its_change() -> None:
    runs = []
    for number in range(14):
        per_step_s = 1e-5 if number < 7 else 2e-5
        results = synthetic.timed({"torch": per_step_s})
        started = f"2026-03-{number + 1:02}T09:00:00+00:00"
        runs.append(replace(results, run=synthetic.run(f"run-{number}", started=started)))
    figure = history_figure(runs)
    (panel,) = figure.panels
    # 1e-5 × 20 + 2e-4 = 4e-4 s, then 6e-4
    assert "a change at run 8, 2026-03-08T09:00" in panel.alt
    assert "+50" in panel.alt or "+49" in panel.alt
    text = Page(render(Subject(runs[-1], None, tuple(runs[:2])), ())).text
    assert text.index("The other runs") < text.index("run-1,") < text.index("run-0,")
    assert "The other runs" not in Page(render(runs[-1], ())).text
    assert history_figure(runs[:1]).panels == ()
    (calm,) = history_figure(runs[:3]).panels
    assert "no change point" in calm.alt


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_written_and_the_same_again(format: str, tmp_path: Path) -> None:
    results = synthetic.results(
        tasks=("copy",), lengths=(20, 100), cells=("lstm",), backends=("torch", "jax")
    )
    subject = Subject(results, compare_axis(results, "backend", "torch"))
    contents = []
    for name in ("one", "two"):
        path = write_report(subject, tmp_path / name, format)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        contents.append({file.name: file.read_bytes() for file in files})
    assert contents[0] == contents[1]
    expected = {"html": "comparison.html", "md": "comparison.md"}.get(format, f"forest-0.{format}")
    assert expected in contents[0]
    starts = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}
    assert all(each.startswith(starts.get(format, b"")) for each in contents[0].values())


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for format in FORMATS:
        with pytest.raises(RequestError, match="cannot be written to"):
            write_report(Subject(LIVE), tmp_path / "file", format)
    with pytest.raises(RequestError, match='no format "tiff"'):
        write_report(Subject(LIVE), tmp_path, "tiff")


@pytest.mark.parametrize("name", ["mine.html", "deep/er/mine.HTM", "mine.md"])
def test_a_file_is_written_where_one_is_named(name: str, tmp_path: Path) -> None:
    path = write_report(Subject(LIVE), tmp_path / name, "")
    assert path == tmp_path / name
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]
    folder = tmp_path / "folder"
    ending = "md" if name.endswith("md") else "html"
    write_report(Subject(LIVE), folder, ending)
    assert path.read_bytes() == (folder / f"report.{ending}").read_bytes()


def test_a_file_that_cannot_be_what_is_asked_for_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r'asks for "md"\. Leave it out, or give a folder'):
        write_report(Subject(LIVE), tmp_path / "mine.html", "md")
    with pytest.raises(
        RequestError, match=r"many figures\. Give a folder, and --format png: --out .*slides "
    ):
        write_report(Subject(LIVE), tmp_path / "slides.png", "")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old.html").mkdir()
    assert write_report(Subject(LIVE), tmp_path / "old.html", "md") == tmp_path / "old.html" / "report.md"
    assert write_report(Subject(LIVE), tmp_path / "v1.2", "md") == tmp_path / "v1.2" / "report.md"


def test_the_suite_stands_on_the_page_line_by_line_as_it_was_read() -> None:
    text = "axes:\n  cell: [lstm]  # <script>\n  backend: [\u202etorch]\n"
    html = render(replace(LIVE, run=synthetic.run(suite_text=text)), ())
    assert "axes:\n  cell: [lstm]  # &lt;script&gt;\n  backend: [\\u202etorch]</pre>" in html
    assert "as it was read" not in render(LIVE, ())
    long = "\n".join(f"# {number}" for number in range(1_000))
    assert "# 299\n# and 700 more lines, in run.json" in render(
        replace(LIVE, run=synthetic.run(suite_text=long)), ()
    )


def test_hostile_names_are_text_in_markdown_and_in_comparisons() -> None:
    results = synthetic.hostile()
    long = replace(results.records[0], status="failed", reason="x" * 10_000 + "<img src=x>")
    results = replace(
        results, records=(*results.records, replace(long, case=synthetic.case(task="t" * 10_000)))
    )
    comparison = compare_runs(results, results)
    subject = Subject(results, comparison, (results,))
    html = MarkdownIt("commonmark").enable("table").render(markdown(subject))
    tags = {tag for tag, _ in Page(html).tags}
    assert tags <= {
        "h1",
        "h2",
        "p",
        "ul",
        "li",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "strong",
        "pre",
        "code",
    }
    assert "<script>alert('1')</script>" in Page(html).text
    page = render(subject, ())
    assert "<img" not in page
    assert not set("\u202e\u200f\a\t") & set(page + markdown(subject))
    assert max(map(len, Page(page).words)) < 60_000


def test_the_fingerprint_is_of_the_terms_and_not_of_the_hour() -> None:
    run = synthetic.run()
    same = replace(run, name="later", started="2026-04-01", machine={**run.machine, "load": 3.0})
    assert fingerprint(same) == fingerprint(run)
    assert fingerprint(replace(run, machine={**run.machine, "cpu": "Other"})) != fingerprint(run)
    torch = {**run.environments["torch"], "versions": {"torch": "2.14.0"}}
    assert fingerprint(replace(run, environments={**run.environments, "torch": torch})) != fingerprint(run)


def test_settings_stand_side_by_side_with_gaps_and_the_noise_floor_is_the_spread() -> None:
    text = Page(render(LIVE, ())).text
    assert "Fairness: settings side by side" in text
    assert "mkldnn on –" in text
    assert "blas – OpenBLAS" in text
    spread = text[text.index("Noise floor") :]
    assert "training step 3 0.2%" in spread[:600]
    assert "rnnbench contributors (2026)" in text


def _text(written: str) -> str:
    return Page(MarkdownIt("commonmark").enable("table").render(written)).text
