"""Writes docs/gallery.md and its pictures from runs of the shipped suites.

``python scripts/gallery.py RUN...``; each RUN is the folder of a run. For each suite the page has the
command, the answer in words as the report gives it, and the first panel of some of its figures.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from rnnbench.report.figures import Subject, figures_of
from rnnbench.report.leading import lead
from rnnbench.report.markdown import escaped
from rnnbench.report.panels import Panel
from rnnbench.results import open_run

DOCS = Path(__file__).resolve().parent.parent / "docs"
PICTURES = DOCS / "images" / "gallery"
SHOWN = {
    "quick": ("tradeoff", "matrix"),
    "questions": ("time", "total"),
    "keras": ("matrix",),
    "scan": ("time",),
    "gradient_flow": ("flow",),
    "comparison": ("tradeoff", "learning"),
    "variants": ("tradeoff",),
}
"""Suite -> names of figures; of a suite that is not named here, the first."""
HEAD = """# Gallery

Written by `scripts/gallery.py` from runs of the shipped suites: the answer of each report in its own words,
and some of its figures. They hold for the machine they were made on; run the command to have yours.
"""


def main() -> None:
    """Write the page and the pictures that it shows."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for old in PICTURES.glob("*.png"):
        old.unlink()
    sections = [section(Path(folder)) for folder in sys.argv[1:]]
    lines = [line for lines in sections for line in lines]
    (DOCS / "gallery.md").write_text("\n".join([HEAD, *lines]), encoding="utf-8")


def section(folder: Path) -> Iterator[str]:
    """The lines on one run; its pictures are written."""
    subject = Subject(open_run(folder))
    run = subject.results.run
    said = lead(subject.results, subject.groups)
    yield f"## {escaped(run.suite)}\n"
    yield f"{escaped(run.about, 2_000)}\n"
    yield f"```text\nrnnbench run {run.suite}\n```\n"
    yield f"{run.started[:10]}. {escaped(said.place, 2_000)}\n"
    yield from (f"- {escaped(sentence, 2_000)}" for sentence in said.sentences)
    yield ""
    yield from (f"{escaped(sentence, 2_000)}\n" for sentence in said.sure)
    for panel in panels(subject):
        file = PICTURES / f"{run.suite}-{panel.name}.png"
        file.write_bytes(panel.saved("png"))
        yield f"![{escaped(panel.alt, 2_000)}]({file.relative_to(DOCS).as_posix()})\n"


def panels(subject: Subject) -> Iterator[Panel]:
    """The first panel of each figure that is shown of this suite."""
    drawn = {figure.name: figure.panels[0] for figure in figures_of(subject, most=1)}
    yield from (drawn[name] for name in SHOWN.get(subject.results.run.suite, tuple(drawn)[:1]))


if __name__ == "__main__":
    main()
