"""A report as files: a page, Markdown, or every figure on its own."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from rnnbench.errors import RequestError, nearest
from rnnbench.report.figures import Subject, figures_of
from rnnbench.report.markdown import markdown
from rnnbench.report.page import write
from rnnbench.report.panels import FileFormat

FIGURE_FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)
FORMATS = ("html", "md", *FIGURE_FORMATS)


def write_report(subject: Subject, folder: Path, format: str) -> Path:
    """Write the report below ``folder``; the path of what a person opens.

    ``html``: a page, and its figures as SVG; ``md``: the answer and the tables; ``svg``, ``png`` and
    ``pdf``: all figures, ``figures/<name>.<format>``. Equal results give equal bytes. Raises ``RequestError``
    for an unknown format and where ``folder`` cannot be written to.
    """
    check_format(format)
    if format == "html":
        return write(subject, folder)
    try:
        if format == "md":
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{subject.stem}.md"
            file.write_text(markdown(subject), encoding="utf-8", newline="\n")
            return file
        beside = folder / "figures"
        beside.mkdir(parents=True, exist_ok=True)
        for figure in figures_of(subject):
            for panel in figure.panels:
                (beside / f"{panel.name}.{format}").write_bytes(panel.saved(_figure_format(format)))
        return beside
    except OSError as error:
        raise RequestError(f"cannot be written to: {error.strerror}.", where=str(folder)) from None


def check_format(format: str) -> None:
    """Raise ``RequestError`` for an unknown format."""
    if format not in FORMATS:
        raise RequestError(f'no format "{format}". {nearest(format, FORMATS)}', where="--format")


def _figure_format(format: str) -> FileFormat:
    return next(each for each in FIGURE_FORMATS if each == format)
