"""A browser for the report's tests: Debian's chromium, driven by Playwright, without any network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic
from browsed import RESULTS, Open
from playwright.sync_api import Browser, Page, sync_playwright

from rnnbench.compare import compare_axis
from rnnbench.report.figures import Subject, figures
from rnnbench.report.forest import forest_figure
from rnnbench.report.page import render
from rnnbench.report.timeline import history_figure

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all tests; each has a context of its own."""
    program = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(PROGRAMS)} is installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a mismatch, findings, scores and all figures."""
    return _written(tmp_path_factory, render(RESULTS, figures(RESULTS)))


@pytest.fixture(scope="session")
def full_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every status and finding, a comparison before them, another run after them; two figures."""
    live = synthetic.timed({"torch": 1e-5, "jax": 2e-5, "tensorflow": 0.5e-5, "numpy": 1.0002e-5})
    comparison = compare_axis(live, "backend", "torch")
    later = replace(live, run=synthetic.run("later", started="2026-04-01T09:00:00+00:00"))
    subject = Subject(synthetic.everything(), comparison, (live, later))
    drawn = (forest_figure(comparison), history_figure((live, later)))
    return _written(tmp_path_factory, render(subject, drawn))


@pytest.fixture(scope="session")
def long_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So many cases that the table has three leaves; no figures."""
    results = synthetic.results(
        tasks=("copy",), lengths=range(10, 290, 5), cells=("lstm",), processes=2, troubled=False
    )
    return _written(tmp_path_factory, render(results, ()))


@pytest.fixture(scope="session")
def hostile_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every name of it is an attack, or ten thousand letters."""
    names = (*synthetic.HOSTILE, "w" * 10_000)
    drawn = figures(synthetic.hostile(synthetic.HOSTILE_LABELS[:2]))
    return _written(tmp_path_factory, render(synthetic.hostile(names), drawn))


@pytest.fixture
def said() -> list[str]:
    """What a page wrote to its console or asked the network for."""
    return []


@pytest.fixture
def opened(browser: Browser, said: list[str]) -> Iterator[Open]:
    """Opens a file with the network away; afterwards nothing may have been said."""
    contexts = []

    def open_page(path: Path, fragment: str = "", *, width: int = 1280, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        context.set_default_timeout(20_000)
        contexts.append(context)

        def refuse(route: Any) -> None:
            said.append(f"asked for {route.request.url}")
            route.abort()

        context.route(lambda url: not url.startswith(("file://", "blob:")), refuse)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.goto(f"{path.as_uri()}{fragment}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def _written(factory: pytest.TempPathFactory, html: str) -> Path:
    path = factory.mktemp("report") / "report.html"
    path.write_text(html, encoding="utf-8", newline="\n")
    return path
