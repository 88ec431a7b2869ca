"""The page as a whole: nothing is loaded or blocked, it can be read by everyone, and names break nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import synthetic
from axe_playwright_python.sync_playwright import Axe
from browsed import Open
from playwright.sync_api import expect

from rnnbench.compare import compare_axis

pytestmark = pytest.mark.browser

DRAWN = {"exclude": [["figure svg > *"]]}
"""A figure is one image with a text alternative: what it is made of is no content, and many elements."""
OWN = {"include": [["#comparison"], ["#others"], ["#troubled"], ["#findings"]]}
"""What only a page of several runs, of a comparison or of much trouble has."""
SCREENSHOTS = Path(__file__).parents[2] / "docs" / "images"


def test_without_a_script_everything_is_there(opened: Open, report: Path) -> None:
    page = opened(report, java_script_enabled=False)
    for title in ("The answer", "Ranking", "Figures", "Can I trust it?"):
        assert page.get_by_role("heading", name=title, exact=True).is_visible()
    assert page.locator("figure svg").count() > 5
    assert page.locator("#ranked tbody tr[data-series]").count() == 16
    order = page.locator("main h2").all_inner_texts()
    assert order == ["The answer", "Ranking", "Figures", "Can I trust it?"]


def test_the_policy_holds_against_what_comes_after(opened: Open, report: Path, said: list[str]) -> None:
    """A negative control: the page's own policy, not its author's care, keeps others' code out."""
    page = opened(report)
    ran = page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'taken'";
            const blocked = [];
            document.addEventListener("securitypolicyviolation", (e) => blocked.push(e.effectiveDirective));
            document.body.append(script);
            document.body.setAttribute("style", "color: red");
            return new Promise((done) => setTimeout(() => done([document.title, blocked.sort()]), 100));
        }"""
    )
    assert ran[0] != "taken"
    assert ran[1] == ["script-src-elem", "style-src-attr"]
    assert page.evaluate("getComputedStyle(document.body).color") != "rgb(255, 0, 0)"
    assert len(said) == 2
    said.clear()


def test_the_first_screen_says_what_to_use_how_sure_that_is_and_how_to_repeat_it(
    opened: Open, report: Path
) -> None:
    page = opened(report)  # 1280 × 900
    for part, words in (
        ("ul.lead", "the fastest correct lstm is torch native: at least"),
        (".sure", "fresh processes, in turns with the others; bounds hold at 99 %"),
        (".repeat", "rnnbench run suites/long_deps.yaml --set defaults.hidden=64"),
    ):
        found = page.locator(f"#answer {part}")
        assert words in found.inner_text()
        box = found.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 900


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(opened: Open, report: Path, full_report: Path, scheme: str) -> None:
    page = opened(report, color_scheme=scheme, reduced_motion="reduce")
    page.locator("#ranked .raw > summary").first.click()
    page.locator(".axis > summary").first.click()
    other = opened(full_report, color_scheme=scheme, reduced_motion="reduce")
    for seen, context in ((page, DRAWN), (other, OWN)):
        found = Axe().run(seen, context=context).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found] == []


def test_every_status_and_finding_can_be_seen_with_its_reason(opened: Open, full_report: Path) -> None:
    page = opened(full_report, width=360)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for status, reason in synthetic.REASONS.items():
        if status != "ok":
            row = page.locator("#troubled tr").filter(has_text=status.replace("_", " ")).first
            row.scroll_into_view_if_needed()
            # what is far below is laid out some frames after it came into view
            expect(row).to_contain_text(reason, use_inner_text=True)
    for word in synthetic.FINDINGS:
        assert page.locator("#findings tr").filter(has_text=f"why it is {word}").first.is_visible()
    expect(page.locator("#comparison")).to_contain_text("REGRESSION", use_inner_text=True)
    assert page.locator("#others h3").count() == 2


def test_in_print_stands_what_is_read_and_nothing_to_click(opened: Open, report: Path) -> None:
    page = opened(report, color_scheme="dark")
    page.emulate_media(media="print")
    for gone in ("#controls", "#answer nav", "#theme"):
        assert not page.locator(gone).is_visible()
    for there in ("#ranked", "figure svg", "#trust"):
        assert page.locator(there).first.is_visible()


def test_in_a_notebook_the_page_works_in_its_frame(opened: Open, tmp_path: Path) -> None:
    from rnnbench.notebook import Compared

    live = synthetic.timed({"torch": 1e-5, "jax": 2e-5})
    shown = Compared(compare_axis(live, "backend", "torch"), live)._repr_html_()
    (tmp_path / "notebook.html").write_text(f"<!DOCTYPE html><title>a notebook</title>{shown}", "utf-8")
    page = opened(tmp_path / "notebook.html")
    frame = page.frame_locator("iframe")
    head = frame.locator("#ranked").get_by_role("columnheader", name="time")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert frame.locator("figure svg").count() > 3


def test_axe_would_find_something(opened: Open, report: Path) -> None:
    page = opened(report)
    page.evaluate(
        "document.querySelector('#search').parentElement.replaceWith(document.querySelector('#search'))"
    )
    found = Axe().run(page, context="#controls").response["violations"]
    assert "label" in {each["id"] for each in found}


def test_the_theme_follows_the_system_until_it_is_chosen(opened: Open, report: Path) -> None:
    page = opened(report, color_scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    button = page.get_by_role("button", name="Colours")
    seen = [(button.inner_text(), page.evaluate(paper))]
    for _ in range(2):
        button.click()
        seen.append((button.inner_text(), page.evaluate(paper)))
    assert seen == [
        ("Colours: as the system", dark), ("Colours: light", "rgb(255, 255, 255)"), ("Colours: dark", dark)
    ]  # fmt: skip
    page.emulate_media(color_scheme="light")
    assert page.evaluate(paper) == dark
    page.reload()
    assert page.evaluate(paper) == dark, "a choice is kept"
    page.emulate_media(media="print")
    assert page.evaluate(paper) == "rgb(255, 255, 255)", "nobody prints on black"


@pytest.mark.parametrize("width", [360, 1280])
def test_hostile_names_break_no_layout(opened: Open, hostile_report: Path, width: int) -> None:
    page = opened(hostile_report, width=width)
    wide = "[document.documentElement.scrollWidth, document.body.scrollWidth]"
    assert page.evaluate(wide) == [width, width]
    page.locator("#ranked").get_by_role("columnheader", name="case").get_by_role("button").click()
    for axis in page.locator(".axis > summary").all():
        axis.click()
        assert page.evaluate(wide)[0] == width
    assert page.locator("script").count() == 2
    assert page.locator("#ranked").inner_text().count("<script>alert('1')</script>") > 1


@pytest.mark.parametrize("width", [360, 1280])
def test_screenshots(opened: Open, report: Path, tmp_path: Path, width: int) -> None:
    """Into ``docs/images`` where RNNBENCH_SCREENSHOTS says so, for people to look at."""
    folder = SCREENSHOTS if "RNNBENCH_SCREENSHOTS" in os.environ else tmp_path
    page = opened(report, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.screenshot(path=folder / f"report-{width}.png")
    page.locator("#ranking").scroll_into_view_if_needed()
    page.evaluate("document.getElementById('ranking').scrollIntoView()")
    page.screenshot(path=folder / f"ranking-{width}.png")
    assert (folder / f"report-{width}.png").stat().st_size > 10_000
