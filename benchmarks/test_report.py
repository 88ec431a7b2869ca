"""The page of 1,000 and of 10,000 synthetic records: seconds to build, bytes, seconds to the first paint.

``taskset -c 0 pytest benchmarks/test_report.py -s`` prints CPU seconds beside those of the clock, which a
busy machine stretches, and the first paint of a page of one sentence: what the browser takes for itself.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from statistics import median

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import synthetic
from playwright.sync_api import Browser, sync_playwright

from rnnbench.report.page import write

RECORDS = {1_000: (2, 5, 25), 10_000: (5, 20, 25)}
"""Records: tasks, cells and lengths, each on four backends."""
MOST_BYTES = {1_000: 3_000_000, 10_000: 10_000_000}
OPENINGS = 5
SENTENCE = '<!DOCTYPE html><html lang="en"><title>One sentence</title><body><p>It is here.</p></body></html>'
PAINTED = "performance.getEntriesByName('first-contentful-paint').length"


@pytest.mark.parametrize("records", RECORDS)
def test_page(records: int, tmp_path: Path) -> None:
    """Built by ``write``, with its files; then opened in chromium, each time afresh."""
    tasks, cells, lengths = RECORDS[records]
    results = synthetic.results(
        tasks=[f"task{number}" for number in range(tasks)],
        cells=[f"cell{number}" for number in range(cells)],
        lengths=range(10, 10 + 10 * lengths, 10),
    )
    assert len(results.records) == records
    clock, cpu = time.perf_counter(), time.process_time()
    page = write(results, tmp_path)
    built_s, built_cpu_s = time.perf_counter() - clock, time.process_time() - cpu
    size = page.stat().st_size
    sentence = tmp_path / "sentence.html"
    sentence.write_text(SENTENCE, encoding="utf-8")
    built = f"{built_s:.1f} s ({built_cpu_s:.1f} s of CPU time)"
    print(f"\n{records} records: built in {built}, {size / 1e6:.2f} MB")
    for what, path in (("the page", page), ("a sentence", sentence)):
        print(f"first paint of {what} after {_paints(path)}")
    assert size < MOST_BYTES[records]


def _paints(page: Path) -> str:
    with sync_playwright() as playwright:
        program = shutil.which("chromium")
        assert program, "needs chromium"
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        clock_s, before_s, busy_s = zip(*(_paint_s(browser, page) for _ in range(OPENINGS)), strict=True)
        browser.close()
    return (
        f"{median(clock_s):.2f} s by the clock ({min(clock_s):.2f} to {max(clock_s):.2f}), of which the main "
        f"thread computed {median(before_s):.2f} s ({median(busy_s):.2f} s until all is done)"
    )


def _paint_s(browser: Browser, page: Path) -> tuple[float, float, float]:
    """The first paint by the clock; CPU time of the page's main thread until then, and until all is done."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(120_000)
    tab = context.new_page()
    browser.start_tracing(page=tab, categories=["toplevel", "loading", "blink.user_timing"])
    tab.goto(page.as_uri(), wait_until="load")
    tab.wait_for_function(PAINTED)
    tab.wait_for_timeout(300)
    events = json.loads(browser.stop_tracing())["traceEvents"]
    context.close()
    paint = next(event for event in events if event["name"] == "firstContentfulPaint")
    thread = paint["pid"], paint["tid"]
    own = [event for event in events if (event["pid"], event["tid"]) == thread]
    started_us = max(event["ts"] for event in own if event["name"] == "navigationStart")
    tasks = [event for event in own if event["name"].endswith("::RunTask") and "tdur" in event]
    before_us = sum(task["tdur"] for task in tasks if task["ts"] < paint["ts"])
    return (paint["ts"] - started_us) / 1e6, before_us / 1e6, sum(task["tdur"] for task in tasks) / 1e6
