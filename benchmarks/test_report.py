"""The page of 1,000 and of 10,000 synthetic records: seconds to build, bytes, seconds to the first paint.

``pytest benchmarks/test_report.py -s`` prints CPU seconds beside those of the clock: a busy machine stretches
the latter.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import synthetic
from playwright.sync_api import sync_playwright

from rnnbench.report.page import write

RECORDS = {1_000: (2, 5, 25), 10_000: (5, 20, 25)}
"""Records: tasks, cells and lengths, each on four backends."""
MOST_BYTES = {1_000: 3_000_000, 10_000: 10_000_000}
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


@pytest.mark.parametrize("records", RECORDS)
def test_page(records: int, tmp_path: Path) -> None:
    """Built by ``write``, with its files; then opened five times in chromium, each time afresh."""
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
    paints = _paints_s(page)
    said = ", ".join(f"{paint_s:.2f} ({busy_s:.2f})" for paint_s, busy_s in paints)
    print(
        f"\n{records} records: built in {built_s:.1f} s ({built_cpu_s:.1f} s of CPU time), "
        f"{size / 1e6:.2f} MB, first paint after {said} s"
    )
    assert size < MOST_BYTES[records]


def _paints_s(page: Path) -> list[tuple[float, float]]:
    """Of five openings: the first paint by the clock, and CPU time of the main thread until all is done."""
    found = []
    with sync_playwright() as playwright:
        program = shutil.which("chromium")
        assert program, "needs chromium"
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(5):
            context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
            context.set_default_timeout(120_000)
            tab = context.new_page()
            session = context.new_cdp_session(tab)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            tab.goto(page.as_uri(), wait_until="commit")
            tab.wait_for_selector("#controls:not([hidden])")
            metrics = {
                each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]
            }
            found.append((tab.evaluate(PAINT) / 1000, metrics["TaskDuration"]))
            context.close()
        browser.close()
    return found
