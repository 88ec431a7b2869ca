"""For notebooks: what ``load`` and ``compare`` return shows itself as the report does.

In a frame of its own, so that neither the notebook's style nor a hostile name reaches the other side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pandas as pd

from rnnbench.compare.comparing import compare_axis, compare_runs
from rnnbench.compare.outcome import Comparison
from rnnbench.compare.sources import choose_base, locate, newest
from rnnbench.results.doubts import open_run
from rnnbench.results.reading import RunResults, find_runs, read
from rnnbench.results.tidy import load as load_table

if TYPE_CHECKING:
    from rnnbench.report.figures import Subject

HEIGHT_PX = 820


class Records(pd.DataFrame):
    """The table of ``load``: a row per record. A notebook shows the report of its runs.

    What is selected from it is a plain DataFrame, shown as one.
    """

    _folders: tuple[Path, ...]
    _metadata = ["_folders"]  # noqa: RUF012 - pandas reads it from the class

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str:
        from rnnbench.report.figures import Subject

        opened = sorted(map(open_run, self._folders), key=lambda each: each.run.started, reverse=True)
        return _framed(Subject(opened[0], None, tuple(opened[1:])))


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison; a notebook shows its verdicts, its ratios and the report of the head."""

    comparison: Comparison
    head: RunResults = field(repr=False)

    def _repr_html_(self) -> str:
        from rnnbench.report.figures import Subject

        return _framed(Subject(self.head, self.comparison))


def load(*paths: str | Path) -> Records:
    """All records of the runs at or below ``paths`` (default: ``results``), one row each.

    The columns are those of ``rnnbench.results.tidy.load``. Raises ``RequestError`` for a path without runs.
    """
    table = Records(load_table(*paths))
    table._folders = tuple(find_runs(Path(path) for path in paths or ("results",)))
    return table


def compare(base: str | Path, head: str | Path, *, by: str = "") -> Compared:
    """Verdicts of ``head`` against ``base``, which are named and chosen as on the command line.

    With ``by``, an axis such as "backend", ``head`` is a run and ``base`` the value of that axis to beat.
    Raises ``RequestError`` for a name that is no run, and for an unknown axis or value.
    """
    with TemporaryDirectory(prefix="rnnbench-compare-") as scratch:
        chosen = newest(locate(str(head), _made(Path(scratch) / "head")))
        assert chosen is not None  # a place without runs is refused when it is located
        folder, run = chosen
        results = open_run(folder)
        if by:
            return Compared(compare_axis(results, by, str(base)), results)
        then, beside = choose_base(locate(str(base), _made(Path(scratch) / "base")), folder, run)
        history = [read(each) for each in (then, *beside)]
    return Compared(compare_runs(history[0], results, history=history), results)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _framed(subject: Subject) -> str:
    from rnnbench.report.figures import figures_of, most_panels
    from rnnbench.report.page import render

    page = render(subject, figures_of(subject, most_panels(subject.results)))
    return (
        f'<iframe title="rnnbench report" width="100%" height="{HEIGHT_PX}" '
        f'sandbox="allow-scripts allow-downloads" srcdoc="{escape(page)}"></iframe>'
    )
