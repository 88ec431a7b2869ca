"""``python tests/golden_page.py`` writes ``tests/golden/report.html`` anew; look at what changed in it.

A run with every status and some findings. Without figures: their bytes change with the version of matplotlib.
"""

from __future__ import annotations

from pathlib import Path

import synthetic

from rnnbench.report.page import render

PAGE = Path(__file__).parent / "golden" / "report.html"
COMMAND = "python tests/golden_page.py"


def content() -> str:
    """The page as it is now."""
    return render(synthetic.results(tasks=("copy",), lengths=(20, 100), cells=("gru", "lstm")), ())


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(content(), encoding="utf-8", newline="\n")
