"""``report``: what was measured, as a page, as Markdown, or as figures. Nothing here measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rnnbench.cli.looking import choose_runs, name_problems
from rnnbench.errors import RequestError
from rnnbench.escaping import safe

if TYPE_CHECKING:
    from rnnbench.compare.outcome import Comparison


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of ``report``. ``base``: a run to compare with, or, with ``by``, a value of that axis.

    ``format`` "": that of the file that ``out`` names, else a page. ``out``: a folder or a file.
    """

    format: str = ""
    out: Path | None = None
    by: str = ""
    base: str = ""


def report(runs: Sequence[Path], asked: Asked) -> None:
    """Write one report, of a run, of several or of a comparison, and print where it is.

    Raises ``RequestError`` before anything is read where format and ``out`` do not go together.
    """
    from rnnbench.report.figures import Subject
    from rnnbench.report.files import choose_format, write_report
    from rnnbench.results import open_run

    format = choose_format(asked.format, asked.out)
    folders = choose_runs(runs)
    if (asked.by or asked.base) and len(folders) > 1:
        where = "--by" if asked.by else "--base"
        raise RequestError(f"compares one run, and these are {len(folders)}", where=where)
    opened = {folder: open_run(folder) for folder in folders}
    for folder, results in opened.items():
        name_problems(folder, results)
    newest = max(opened, key=lambda folder: opened[folder].run.started)
    others = tuple(results for folder, results in opened.items() if folder != newest)
    comparison = _compare(newest, asked) if asked.by or asked.base else None
    subject = Subject(opened[newest], comparison, others)
    print(safe(write_report(subject, asked.out or (newest.parent if others else newest), format)))


def _compare(folder: Path, asked: Asked) -> Comparison:
    from rnnbench.cli import comparing

    with TemporaryDirectory(prefix="rnnbench-report-") as scratch:
        if asked.by:
            wanted = comparing.Asked(by=asked.by, value=asked.base)
            return comparing.within(str(folder), None, wanted, Path(scratch))[0]
        return comparing.between(asked.base, str(folder), comparing.Asked(), Path(scratch))[0]
