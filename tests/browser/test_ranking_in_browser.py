"""The page's script: sorting, filtering, searching, links, leaves, copies."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import parse_qs

import pytest
from browsed import RESULTS, Open
from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

NAMES = "#ranked tbody th.name"


def column(page: Page, title: str) -> list[str]:
    """The first line of every cell of a column."""
    heads = page.locator("#ranked thead th").all_inner_texts()
    place = next(index for index, text in enumerate(heads) if text.startswith(title))
    cells = page.locator(f"#ranked tbody tr[data-series] > :nth-child({place + 1})").all_inner_texts()
    return [text.split("\n")[0] for text in cells]


def head_of(page: Page, title: str) -> Locator:
    return page.locator("#ranked").get_by_role("columnheader", name=title)


def state(page: Page) -> dict[str, list[str]]:
    return parse_qs(page.evaluate("location.hash").removeprefix("#"))


def seconds_of(text: str) -> float:
    """A time as the page writes it; what has none is last."""
    number, _, unit = text.partition(" ")
    return float(number) * {"s": 1.0, "ms": 1e-3, "µs": 1e-6}[unit] if unit else math.inf


def timed() -> list[Any]:
    return [record for record in RESULTS.records if record.status == "ok"]


def test_the_script_lays_rows_as_the_page_has_them_without_it(opened: Open, report: Path) -> None:
    def rows(page: Page) -> list[str]:
        bodies = page.locator("#ranked").inner_html().split("<tbody>")[1:]
        return [re.sub(r">\s+<", "><", body).strip() for body in bodies]

    with_script, without = (opened(report, java_script_enabled=enabled) for enabled in (True, False))
    assert rows(with_script) == rows(without)
    with_script.locator("#ranked tbody").first.evaluate("body => body.remove()")
    assert len(rows(with_script)) == 3
    head_of(with_script, "#").get_by_role("button").click()
    assert rows(with_script) == rows(without)
    assert len(rows(without)) == 4
    for name in ("#controls", "#leaves", "#theme"):
        assert not without.locator(name).is_visible()


def test_sorting_by_a_column_and_back(opened: Open, report: Path) -> None:
    page = opened(report)
    first = page.locator(NAMES).all_inner_texts()
    head = head_of(page, "time")
    assert head.get_attribute("aria-sort") is None
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    rising = [seconds_of(text) for text in column(page, "time")]
    assert rising == sorted(rising)
    assert len(rising) == len(RESULTS.records)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    falling = [seconds_of(text) for text in column(page, "time")]
    without = sum(map(math.isinf, rising))
    assert without > 0
    assert all(map(math.isinf, falling[-without:])), "what has no number is last in both orders"
    assert falling[:-without] == sorted(falling[:-without], reverse=True)
    assert page.locator("#ranked tr.group").count() == 0
    head_of(page, "#").get_by_role("button").click()
    assert page.locator(NAMES).all_inner_texts() == first
    assert page.locator("[aria-sort]").count() == 1


def test_filters_and_search_leave_what_was_asked_for(opened: Open, report: Path) -> None:
    page = opened(report)
    page.locator(".axis[data-axis=cell] > summary").click()
    page.get_by_label("lstm", exact=True).check()
    page.keyboard.press("Escape")
    assert page.locator(".axis[open]").count() == 0
    page.locator(".axis[data-axis=backend] > summary").click()
    for name in ("jax", "torch"):
        page.get_by_label(name, exact=True).check()
    found = page.locator("#ranked tbody tr[data-series]")
    wanted = [r for r in RESULTS.records if r.case.cell == "lstm" and r.case.backend in ("jax", "torch")]
    assert found.count() == len(wanted) == 4
    assert f"of 4 that were chosen, of {len(RESULTS.records)} in all" in page.locator("#count").inner_text()
    page.get_by_label("Search", exact=True).fill("T 100  TORCH")
    assert [name.split("\n")[0] for name in page.locator(NAMES).all_inner_texts()] == ["torch native"]
    page.get_by_label("Search", exact=True).fill("nobody has this")
    assert "No row of" in page.locator("#count").inner_text()
    page.get_by_role("button", name="Show all").click()
    assert found.count() == len(RESULTS.records)


def test_a_link_shows_what_was_seen(opened: Open, report: Path) -> None:
    page = opened(report)
    page.locator(".axis[data-axis=status] > summary").click()
    page.get_by_label("ok", exact=True).check()
    page.get_by_label("Search", exact=True).fill("gru")
    head_of(page, "÷ best").get_by_role("button").dblclick()
    assert state(page) == {"axis.status": ["ok"], "q": ["gru"], "sort": ["-ratio"]}
    seen = page.locator(NAMES).all_inner_texts()
    other = opened(report, page.evaluate("location.hash"))
    assert other.locator(NAMES).all_inner_texts() == seen
    assert other.get_by_label("Search", exact=True).input_value() == "gru"
    assert other.get_by_label("ok", exact=True).is_checked()
    assert head_of(other, "÷ best").get_attribute("aria-sort") == "descending"
    strange = opened(report, "#sort=<img src=x>&leaf=-7&axis.cell=nobody&q=%00")
    assert "No row of" in strange.locator("#count").inner_text()


def test_leaves_of_a_long_table(opened: Open, long_report: Path) -> None:
    page = opened(long_report)
    rows = page.locator("#ranked tbody tr[data-series]")
    assert (rows.count(), page.locator("#count").inner_text()) == (100, "Rows 1 to 100 of 224.")
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Next").click()
    assert (rows.count(), page.locator("#count").inner_text()) == (24, "Rows 201 to 224 of 224.")
    assert state(page) == {"leaf": ["3"]}
    assert page.get_by_role("button", name="Next").is_disabled()
    page.get_by_label("Search", exact=True).fill("numpy")
    assert page.locator("#count").inner_text().startswith("Rows 1 to 56 of 56 ")
    without = opened(long_report, java_script_enabled=False)
    assert without.locator("#ranked tbody tr[data-series]").count() == 100
    assert "The first 100 of 224 cases" in without.locator("#count").inner_text()
    assert "rnnbench export" in without.locator("#count").inner_text()


def test_a_downloaded_csv_holds_the_numbers_of_the_records(opened: Open, report: Path) -> None:
    page = opened(report)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download").click()
    assert waiting.value.suggested_filename == "ranking.csv"
    with Path(waiting.value.path()).open(newline="", encoding="utf-8") as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    assert len(rows) == len(RESULTS.records)
    for record in RESULTS.records:
        row, case = rows[record.case.key], record.case
        assert (row["task"], row["length"], row["cell"], row["backend"], row["status"]) == (
            case.task, str(case.length), case.cell, case.backend, record.status.replace("_", " ")
        )  # fmt: skip
        assert row["reason"] == record.reason
        if record.status != "ok":
            assert row["time_s"] == row["rank"] == ""
            continue
        blocks = [block for block in RESULTS.blocks if (block.case, block.phase) == (case.key, "train_step")]
        logs = [
            math.log(median(b.seconds / b.loops for b in blocks if b.process == number))
            for number in range(3)
        ]
        assert float(row["time_s"]) == pytest.approx(math.exp(sum(logs) / 3), rel=1e-6)
        assert float(row["time_low_s"]) < float(row["time_s"]) < float(row["time_high_s"])
        assert record.score is not None
        assert float(row["score"]) == pytest.approx(sum(record.score.values) / 3, rel=1e-6)
        assert int(row["peak_bytes"]) == 512 << 20


def test_copies_hold_the_rows_that_are_chosen(opened: Open, report: Path) -> None:
    page = opened(
        report, "#axis.status=ok&q=lstm&sort=time", permissions=["clipboard-read", "clipboard-write"]
    )
    copied: dict[str, str] = {}
    for name in ("CSV", "JSON", "Markdown"):
        page.locator("#format").select_option(name)
        page.locator("#copy").click()
        page.get_by_role("button", name="Copied").wait_for()
        copied[name] = page.evaluate("navigator.clipboard.readText()")
        page.get_by_role("button", name="Copy", exact=True).wait_for()
    wanted = [record for record in timed() if record.case.cell == "lstm"]
    found = json.loads(copied["JSON"])
    assert {each["key"] for each in found} == {record.case.key for record in wanted}
    assert [each["time_s"] for each in found] == sorted(each["time_s"] for each in found)
    lines = list(csv.reader(copied["CSV"].splitlines()))
    assert [line[0] for line in lines[1:]] == [each["key"] for each in found]
    table = copied["Markdown"].splitlines()
    assert len(table) == 2 + len(wanted)
    assert len({line.count(" | ") for line in table}) == 1


def test_a_number_opens_to_its_blocks(opened: Open, report: Path) -> None:
    page = opened(report)
    flagged = next(record for record in timed() if record.findings)
    quiet = next(record for record in timed() if not record.findings)
    for record, words in ((flagged, "process 2:"), (quiet, "median of each process:")):
        case = record.case
        page.get_by_label("Search", exact=True).fill(f"{case.key}")
        raw = page.locator("#ranked .raw")
        assert raw.count() == 1
        assert not raw.locator("span").is_visible()
        raw.locator("summary").focus()
        page.keyboard.press("Enter")
        assert words in raw.locator("span").inner_text()
        assert "24 blocks of 3 processes" in raw.locator("span").inner_text()


def test_rows_and_figures_point_at_each_other(opened: Open, report: Path) -> None:
    page = opened(report)
    page.locator("#ranked tr[data-series='jax native']").first.hover()
    lit = page.locator("figure svg .lit")
    assert lit.count() > 3
    series = set(lit.evaluate_all("all => all.map((each) => each.dataset.series)"))
    assert "jax native" in series
    assert series.isdisjoint({"torch native", "numpy native"})
    assert page.locator("main.tracing").count() == 1
    page.locator("#time svg [data-series='numpy native']").first.dispatch_event("pointerover")
    rows = page.locator("#ranked tr.lit")
    assert set(rows.evaluate_all("all => all.map((each) => each.dataset.series)")) == {"numpy native"}


def test_the_table_is_worked_with_the_keyboard_alone(opened: Open, report: Path) -> None:
    page = opened(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.get_by_label("Search", exact=True).focus()
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim().split(/\\s/)[0]"))
        if (
            page.evaluate("document.activeElement.closest('#ranked thead')?.nodeName")
            and page.evaluate("document.activeElement.textContent") == "score"
        ):
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Space")
    assert head_of(page, "score").get_attribute("aria-sort") == "ascending"
    assert page.evaluate("document.activeElement.textContent") == "score", "focus stays where it was"
    assert {"length", "cell", "backend", "status", "Show", "Copy", "Download", "time"} <= reached
