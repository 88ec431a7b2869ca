"""What the tests in a browser look at."""

from __future__ import annotations

from collections.abc import Callable

import synthetic
from playwright.sync_api import Page

RESULTS = synthetic.results(tasks=("copy",), lengths=(20, 100), cells=("gru", "lstm"))

Open = Callable[..., Page]
"""Opens a file in a fresh context, with a fragment, a width and options of a browser context."""
