from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import synthetic
from rich.console import Console

from rnnbench.records import Curve, Finding, Parity, Record, Score
from rnnbench.report.answers import learning, level, speed, summary, verdict
from rnnbench.report.figures import figures
from rnnbench.report.inlining import inline
from rnnbench.report.matrix import matrix
from rnnbench.report.page import render, write
from rnnbench.report.panels import spread, styles
from rnnbench.report.ranking import rank_groups, ranking
from rnnbench.report.terminal import table
from rnnbench.report.words import digits, listed, safe, seconds, size, times
from rnnbench.results.reading import RunResults

RESULTS = synthetic.results(tasks=("copy",), lengths=(20, 100), cells=("gru", "lstm"))
BACKENDS = ("torch", "jax", "numpy")


def timed(per_step: dict[str, float], *, processes: int = 3, **changes: object) -> RunResults:
    """One group: a time per step for each backend, all ``ok``."""
    cases = [synthetic.case(backend=backend, **changes) for backend in per_step]
    blocks = [
        block
        for case in cases
        for block in synthetic.blocks(case, per_step[case.backend], processes=processes, spread=0.002)
    ]
    return RunResults(synthetic.run(), tuple(map(synthetic.record, cases)), tuple(blocks))


class Page(HTMLParser):
    """Tags, attributes and text of a page; void of any opinion."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_first_of_a_group_is_the_fastest_and_its_ratio_is_one() -> None:
    (group,) = rank_groups(timed({"numpy": 4e-5, "torch": 1e-5, "jax": 2e-5}))
    assert [(row.label, row.rank) for row in group.rows] == [
        ("torch native", 1), ("jax native", 2), ("numpy native", 3),
    ]  # fmt: skip
    ratios = [row.to_best.value for row in group.rows if row.to_best]
    # 1e-5 × 20 + 2e-4 = 4e-4; the others 6e-4 and 1e-3
    assert ratios == pytest.approx([1.0, 1.5, 2.5], rel=0.01)


def test_ranking_is_one_tidy_table() -> None:
    found = ranking(RESULTS)
    assert len(found) == len(RESULTS.records)
    assert set(found["key"]) == {record.case.key for record in RESULTS.records}
    for _, rows in found.groupby("group"):
        ranks = rows["rank"].dropna().tolist()
        assert ranks == sorted(ranks)
        assert ranks[0] == 1
        assert (rows["ratio"].dropna() >= 0.99).all()
    assert found.loc[found["status"] != "ok", "rank"].isna().all()
    assert ranking(replace(RESULTS, records=())).empty


def test_only_ok_is_ranked_even_where_there_are_times() -> None:
    results = timed({"torch": 1e-5, "jax": 2e-5})
    mismatch = synthetic.record(results.records[0].case, "mismatch")
    (group,) = rank_groups(replace(results, records=(mismatch, results.records[1])))
    assert [(row.label, row.rank) for row in group.rows] == [("jax native", 1), ("torch native", None)]
    found = verdict(group)
    assert found is not None
    assert found.alone
    assert "only jax native was timed" in speed([group])[0].sentences[0]
    assert "Not timed there: torch native" in speed([group])[0].sentences[0]


def test_a_clear_difference_is_said_with_its_lower_bound() -> None:
    groups = rank_groups(timed({"torch": 1e-5, "jax": 2e-5, "numpy": 4e-5}))
    found = verdict(groups[0])
    assert found is not None
    assert found.ahead is not None
    assert 1.4 < found.ahead < 1.5  # never more than the estimate, 1.5
    assert speed(groups)[0].sentences == (
        f"At T 20 torch native is fastest, at least {digits(found.ahead)}× ahead of all others timed.",
    )
    assert summary(groups) == "Fastest (training step): torch native in 1 of 1 group."


def test_no_difference_is_said_where_the_interval_includes_one() -> None:
    groups = rank_groups(timed({"torch": 1e-5, "jax": 1.0005e-5}))
    assert [row.rank for row in groups[0].rows] == [1, 1]
    (answer,) = speed(groups)
    assert "no difference is seen between" in answer.sentences[0]
    assert "fastest" not in answer.sentences[0]
    assert "Fastest" not in summary(groups)


def test_a_screening_claims_nothing() -> None:
    results = timed({"torch": 1e-5, "jax": 9e-5}, processes=1)
    groups = rank_groups(results)
    said = " ".join([summary(groups), *speed(groups)[0].sentences])
    assert "screening" in said
    assert "fastest" not in said.lower()
    page = Page(render(results, ()))
    assert "no interval: screening" in page.text
    assert not [attributes for tag, attributes in page.tags if attributes.get("class") in ("best", "first")]


def test_groups_with_other_settings_are_never_compared() -> None:
    results = timed({"torch": 1e-5})
    other = timed({"jax": 2e-5}, hidden=128)
    both = replace(results, records=results.records + other.records, blocks=results.blocks + other.blocks)
    groups = rank_groups(both)
    assert [len(group.rows) for group in groups] == [1, 1]
    assert [group.title for group in groups] == ["copy · T 20 · lstm · H 128", "copy · T 20 · lstm · H 64"]


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
    results = timed({"torch": 1e-5})
    (record,) = results.records
    cut = replace(scored((0.0, 0.01, 0.0), "budget", 78), trained_on=record.case.key)
    (answer,) = learning(rank_groups(replace(results, records=(replace(record, score=cut),))))
    assert answer.sentences == ("lstm: cut short by the budget, so not judged at T 20 (after 78 steps).",)


def test_lower_is_better_turns_the_comparison() -> None:
    curves = tuple(Curve(seed, (1,), (0.1 + seed / 1000,), (1.0,), "steps") for seed in range(3))
    assert level(Score("mse", False, "k", curves, 0.167, "mean")) == "beats the trivial baseline"
    assert level(Score("mse", True, "k", curves, 0.167, "mean")) == "worse than the trivial baseline"


def test_every_row_shows_its_own_score_where_each_was_trained() -> None:
    results = timed({"torch": 1e-5, "jax": 2e-5})
    finals = {"torch": (0.91, 0.92, 0.93), "jax": (0.12, 0.13, 0.14)}
    records = tuple(
        replace(each, score=replace(scored(finals[each.case.backend]), trained_on=each.case.key))
        for each in results.records
    )
    groups = rank_groups(replace(results, records=records))
    shown = ranking(replace(results, records=records)).set_index("backend")["score_mean"]
    assert shown.to_dict() == pytest.approx({"torch": 0.92, "jax": 0.13})
    (answer,) = learning(groups)
    assert "trained on jax native and torch native" in answer.subject
    assert answer.sentences == (
        "lstm on torch native: beats both baselines at T 20.",
        "lstm on jax native: not told apart from the trivial baseline at T 20.",
    )


def test_a_score_that_was_not_checked_to_be_followed_is_not_claimed() -> None:
    results = timed({"torch": 1e-5, "jax": 2e-5})
    quoted = replace(results.records[1], score=scored((0.9, 0.8, 0.9)))
    groups = rank_groups(replace(results, records=(replace(results.records[0], score=None), quoted)))
    assert groups[0].score is None
    assert [row.score for row in groups[0].rows] == [None, None]


def test_a_leader_that_drifted_is_not_called_fastest_without_saying_so() -> None:
    results = timed({"torch": 1e-5, "jax": 3e-5})
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
    results = timed({"torch": 1e-5, "jax": 1e-5})
    jax = results.records[1].case.key
    wide = tuple(
        replace(each, seconds=each.seconds * math.exp(2 + 0.33 * (each.process - 1)))
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


def test_a_negative_control_is_said_to_be_one_everywhere() -> None:
    assert "negative control" in learning(rank_groups(RESULTS, ("copy",)))[0].subject
    assert "negative control" not in learning(rank_groups(RESULTS))[0].subject
    assert "negative control: not ranked" in Page(render(RESULTS, (), ("copy",))).text
    assert not ranking(RESULTS, ("copy",))["score_ranked"].any()


def test_the_score_is_that_of_the_case_that_was_trained() -> None:
    results = timed({"torch": 1e-5, "jax": 2e-5})
    trained, quoted = results.records
    wrong = replace(synthetic.score(quoted.case), trained_on=trained.case.key, trivial=0.99)
    found = replace(results, records=(replace(quoted, score=wrong), trained))
    (group,) = rank_groups(found)
    assert group.score == trained.score


def test_the_matrix_has_a_word_in_every_field() -> None:
    found = matrix(rank_groups(synthetic.results()))
    assert len(found.fields) == len(found.rows) == 4
    assert all(field.text for row in found.fields for field in row)
    one = timed({"torch": 1e-5})
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
    html = render(results, figures(results))
    page = Page(html)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "img", "link", "object"})
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "<script>alert('1')</script>" in page.text
    assert "$x^2$ \\alpha {{ 7 * 7 }}" in page.text
    assert "49" not in {word.strip() for word in page.words}
    assert "right\\u202eto left\\u200f" in page.text
    assert not set("\u202e\u200f\a\t") & set(html)


def test_the_page_loads_nothing_and_runs_nothing(tmp_path: Path) -> None:
    page = Page(write(RESULTS, tmp_path).read_text(encoding="utf-8"))
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
        assert "url(http" not in (attributes.get("style") or "")
    policies = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]


def test_every_id_is_unique_and_every_reference_has_its_target() -> None:
    page = Page(render(RESULTS, figures(RESULTS)))
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


def test_figures_answer_their_questions_and_say_it_in_words() -> None:
    drawn = {figure.name: figure for figure in figures(RESULTS)}
    assert list(drawn) == ["time", "score", "tradeoff", "learning", "first", "matrix"]
    assert [panel.title for panel in drawn["time"].panels] == ["copy, gru", "copy, lstm"]
    assert [panel.title for panel in drawn["learning"].panels] == ["copy, T 20", "copy, T 100"]
    for figure in drawn.values():
        for panel in figure.panels:
            assert len(panel.alt) > 40
            assert panel.png.startswith(b"\x89PNG")
            root = ElementTree.fromstring(inline(panel))
            assert (root.get("role"), root.get("aria-label")) == ("img", panel.alt)
            assert "1b1f24" not in inline(panel)  # its ink is the page's


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


def test_equal_results_give_equal_bytes_in_any_process(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, 'tests'); import synthetic\nfrom pathlib import Path\n"
        "from rnnbench.report.page import write\n"
        "write(synthetic.results(tasks=('copy',), lengths=(20, 100), cells=('lstm',)), Path(sys.argv[1]))\n"
    )
    root = Path(__file__).parent.parent
    found = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": f"UTC+{seed}"}
        subprocess.run([sys.executable, "-c", script, folder], cwd=root, env=environment, check=True)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        found.append({str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files})
    assert found[0] == found[1]
    assert {"report.html", "figures/time-0.svg", "figures/time-0.png"} <= set(found[0])


def test_the_terminal_takes_names_literally() -> None:
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        console.print(table(synthetic.hostile()))
        text = console.export_text(styles=True)
    assert "[bold red]markup[/bold red]" in text
    assert not set("\u202e\u200f\a\t") & set(text)


def test_the_terminal_has_a_row_per_case_and_its_interval() -> None:
    results = timed({"torch": 1e-5, "jax": 2e-5})
    noisy = replace(results.records[1], findings=(Finding("noisy", "spread of 9 %"),))
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        console.print(table(replace(results, records=(results.records[0], noisy))))
        lines = console.export_text().splitlines()
    (torch,) = [line for line in lines if "torch native" in line]
    (jax,) = [line for line in lines if "jax native" in line]
    assert "1.00×" in torch
    assert "µs" in torch
    assert "1.50×" in jax or "1.49×" in jax or "1.51×" in jax
    assert "noisy" in jax


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


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (seconds(0.00123456), "1.23 ms"),
        (seconds(0.0), "0 s"),
        (seconds(12.3), "12.3 s"),
        (seconds(1.5e-3, "µs"), "1500 µs"),
        (seconds(None), "–"),
        (seconds(math.inf), "∞"),
        (digits(0.9996), "1.000"),
        (digits(1e9), "1.00e+09"),
        (digits(-0.5), "-0.500"),
        (digits(math.nan), "–"),
        (size(0), "0 B"),
        (size(1536), "1.5 KiB"),
        (size(3 << 30), "3.00 GiB"),
        (times(1.234), "1.23×"),
        (listed(["a", "b", "c"]), "a, b and c"),
        (listed([]), ""),
        (safe("a\x1b[31mb"), "a\\u001b[31mb"),
        (safe("x" * 30, 10), "x" * 9 + "…"),
        (safe("👩‍🔬"), "👩‍🔬"),
    ],
)
def test_words(said: str, words: str) -> None:
    assert said == words
