"""A report as files: a page, Markdown, or every figure on its own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import get_args

from rnnbench.errors import RequestError, nearest
from rnnbench.report.figures import Subject, figures_of, most_panels
from rnnbench.report.markdown import markdown
from rnnbench.report.page import render, write
from rnnbench.report.panels import FileFormat

FIGURE_FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)
FORMATS = ("html", "md", *FIGURE_FORMATS)
ENDINGS = {f".{format}": format for format in FORMATS} | {".htm": "html", ".markdown": "md"}
"""Of a file that a report is to be written to."""


def write_report(subject: Subject, out: Path, format: str) -> Path:
    """Write the report, below the folder ``out`` or to the file of that name; the path of what is opened.

    ``html``: a page, and below a folder its figures as SVG; ``md``: the answer and the tables; ``svg``,
    ``png`` and ``pdf``: all figures, ``figures/<name>.<format>``. Equal results give equal bytes. Raises
    ``RequestError`` as ``choose_format`` does, and where ``out`` cannot be written to.
    """
    format = choose_format(format, out)
    try:
        if _is_file(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            return _write(out, _text_of(subject, format))
        if format == "html":
            return write(subject, out)
        if format == "md":
            out.mkdir(parents=True, exist_ok=True)
            return _write(out / f"{subject.stem}.md", _text_of(subject, format))
        beside = out / "figures"
        beside.mkdir(parents=True, exist_ok=True)
        for figure in figures_of(subject):
            for panel in figure.panels:
                (beside / f"{panel.name}.{format}").write_bytes(panel.saved(_figure_format(format)))
        return beside
    except OSError as error:
        raise RequestError(f"cannot be written to: {error.strerror}.", where=str(out)) from None


def choose_format(format: str, out: Path | None) -> str:
    """The format that is asked for; without one that of the file that ``out`` names, else ``html``.

    Raises ``RequestError`` for an unknown format, for a file of another one, and for a file that is to hold
    the figures, which are several.
    """
    if format and format not in FORMATS:
        raise RequestError(f'no format "{format}". {nearest(format, FORMATS)}', where="--format")
    if out is None or not _is_file(out):
        return format or "html"
    named = ENDINGS[out.suffix.lower()]
    if named in FIGURE_FORMATS:
        raise RequestError(
            f"names one file, and a report has many figures. Give a folder, and --format {named}: "
            f"--out {shlex.quote(str(out.with_suffix('')))} --format {named}",
            where=f"--out {out}",
        )
    if format and format != named:
        raise RequestError(
            f'names a file of {named}, and --format asks for "{format}". Leave it out, or give a folder.',
            where=f"--out {out}",
        )
    return named


def _is_file(out: Path) -> bool:
    return out.suffix.lower() in ENDINGS and not out.is_dir()


def _text_of(subject: Subject, format: str) -> str:
    if format == "md":
        return markdown(subject)
    return render(subject, figures_of(subject, most_panels(subject.results)))


def _write(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8", newline="\n")
    return file


def _figure_format(format: str) -> FileFormat:
    return next(each for each in FIGURE_FORMATS if each == format)
