"""The ranked table for a terminal, as a rich table; ``rnnbench.cli`` prints it."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from rnnbench.escaping import safe
from rnnbench.report.ranking import Ranking, Row, rank_groups
from rnnbench.report.words import PHASES, bounds, digits, seconds, times, unit_of
from rnnbench.results.reading import RunResults


def table(results: RunResults) -> Table:
    """A row per case, a section per group. All text is literal: no name is read as markup."""
    found = Table(title=Text(f"{safe(results.run.name, 60)}: {safe(results.run.suite, 60)}"), pad_edge=False)
    found.add_column("#", justify="right")
    found.add_column("case", overflow="fold")
    for heading in ("time", "99 % interval", "÷ best", "score", "baseline"):
        found.add_column(heading, justify="right", overflow="fold")
    found.add_column("notes", overflow="fold")
    for group in rank_groups(results):
        phase = PHASES[group.phase] if group.phase else "not timed"
        found.add_section()
        metric = (
            f"{safe(group.score.metric, 20)} {'↑' if group.score.higher_is_better else '↓'}"
            if group.score
            else ""
        )
        dim = (Text(text, style="dim") for text in (phase, "", "", metric))
        found.add_row("", Text(group.title, style="bold"), *dim)
        for row in group.rows:
            found.add_row(*(Text(text) for text in _fields(group, row)))
    return found


def _fields(group: Ranking, row: Row) -> tuple[str, ...]:
    unit = unit_of(each.times[group.phase].value for each in group.rows if group.phase in each.times)
    time = row.times.get(group.phase) if group.phase else None
    finals = row.score.values if row.score and row.record.status == "ok" else ()
    score = baseline = ""
    if row.score and finals:
        score = f"{digits(sum(finals) / len(finals))} ({digits(min(finals))}–{digits(max(finals))})"
        baseline = digits(row.score.trivial) if row.score.trivial is not None else ""
    words = list(dict.fromkeys(finding.word for finding in row.record.findings))
    if row.record.status != "ok":
        words.insert(0, f"{row.record.status}: {safe(row.record.reason, 120)}")
    return (
        "" if row.rank is None else str(row.rank),
        row.label,
        "" if time is None else seconds(time.value, unit),
        bounds(time, unit),
        "" if row.to_best is None else times(row.to_best.value),
        score,
        baseline,
        ", ".join(words),
    )
