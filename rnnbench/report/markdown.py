"""A report as Markdown: the answer, the ranking and what failed, for a README, a wiki or a pull request."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence

from rnnbench.escaping import safe
from rnnbench.report.figures import Subject
from rnnbench.report.forest import describe_comparison
from rnnbench.report.leading import Lead, lead
from rnnbench.report.ranking import Ranking, Row, peak_bytes, rank_groups
from rnnbench.report.timeline import other_runs
from rnnbench.report.trust import citation, evidence
from rnnbench.report.words import MISSING, PHASES, bounds, digits, seconds, size, times, unit_of

NAME_LIMIT = 200
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]|~"} | {
    # GitHub reads mentions, issues and mathematics also where a backslash stands before them
    "<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;", "#": "&#35;", "$": "&#36;",
})  # fmt: skip
_EMOJI_CODE = re.compile(r":(?=[\w+-]+:)")


def escaped(text: object, limit: int = NAME_LIMIT) -> str:
    """Text that Markdown shows as it is, on one line; what a terminal would obey is an escape."""
    return _EMOJI_CODE.sub("&#58;", safe(text, limit).translate(_MARKS))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, and an empty one; none without rows. Fields are Markdown already."""
    body = [f"| {' | '.join(row)} |" for row in rows]
    if body:
        yield f"| {' | '.join(headings)} |"
        yield f"|{'---|' * len(headings)}"
        yield from body
        yield ""


def markdown(subject: Subject) -> str:
    """The report without its figures. Every name is escaped."""
    return "".join(f"{line}\n" for line in _lines(subject))


def _lines(subject: Subject) -> Iterator[str]:
    results = subject.results
    run, groups = results.run, rank_groups(results)
    yield f"# {escaped(run.suite)}"
    yield ""
    if run.about:
        yield escaped(run.about, 2_000)
        yield ""
    if subject.comparison is not None:
        yield from _compared(subject)
    yield from _answer(lead(results, groups))
    yield "Repeat it:"
    yield ""
    # four spaces: no mark inside can end it
    yield f"    {safe(shlex.join(run.command), 10_000)}"
    yield ""
    for group in groups:
        yield f"## {escaped(group.title)}"
        yield ""
        yield from _ranking(group)
    facts = evidence(results)
    rows = [
        (row["status"], escaped(row["reason"], 2_000), str(len(row["cases"]))) for row in facts["troubled"]
    ]
    yield from _part("Cases that are not ok", table(("status", "reason", "cases"), rows))
    rows = [(row["word"], escaped(row["text"], 2_000), str(len(row["cases"]))) for row in facts["findings"]]
    yield from _part("Findings", table(("finding", "what it says", "cases"), rows))
    for other in other_runs(subject.others):
        yield f"## {escaped(other.suite)}: run {escaped(other.name)}, {escaped(other.started)}"
        yield ""
        yield from _answer(other.lead)
    versions = "; ".join(
        f"{escaped(name)}: "
        + ", ".join(
            f"{escaped(package)} {escaped(version)}" for package, version in each.get("versions", {}).items()
        )
        for name, each in run.environments.items()
    )
    yield f"{versions}. {escaped(citation(run))}"


def _answer(said: Lead) -> Iterator[str]:
    yield escaped(said.place, 1_000)
    yield ""
    yield from (f"- {escaped(sentence, 5_000)}" for sentence in said.sentences)
    yield ""
    if said.sure:
        yield f"How sure: {escaped(' '.join(said.sure), 5_000)}"
        yield ""


def _compared(subject: Subject) -> Iterator[str]:
    assert subject.comparison is not None
    found = describe_comparison(subject.comparison)
    yield f"## {escaped(found.title)}"
    yield ""
    for sentence in found.sentences:
        yield escaped(sentence, 5_000)
        yield ""
    for word, names in found.changes:
        yield from (f"- **{word}** {escaped(name, 2_000)}" for name in names)
        yield ""
    headings = ("verdict", "case", "what", "base", "head", "head ÷ base", "99 %", "note")
    rows = [
        (line.verdict, line.name, line.what, line.base, line.head, line.ratio, line.bounds, line.text)
        for line in found.lines
    ]
    yield from table(headings, (tuple(escaped(field, 500) for field in row) for row in rows))
    if found.left_out:
        yield f"And {found.left_out} more rows."
        yield ""
    yield from (f"- {escaped(note, 2_000)}" for note in found.notes)
    yield ""


def _ranking(group: Ranking) -> Iterator[str]:
    yield escaped(PHASES[group.phase] if group.phase else "not timed")
    yield ""
    unit = unit_of(row.times[group.phase].value for row in group.rows if group.phase in row.times)
    headings = ("#", "case", "time", "99 %", "÷ best", "99 %", "score", "peak memory", "status")
    yield from table(headings, (_row(group, row, unit) for row in group.rows))


def _row(group: Ranking, row: Row, unit: str) -> tuple[str, ...]:
    time = row.times.get(group.phase) if group.phase else None
    finals = row.score.values if row.score else ()
    words = dict.fromkeys(finding.word for finding in row.record.findings)
    fields = (
        "" if row.rank is None else str(row.rank),
        row.label,
        MISSING if time is None else seconds(time.value, unit),
        bounds(time, unit),
        MISSING if row.to_best is None else times(row.to_best.value),
        bounds(row.to_best) if row.to_best and row.to_best.value != 1 else "",
        digits(sum(finals) / len(finals)) if finals else MISSING,
        size(peak_bytes(row.record)),
        ", ".join((row.record.status.replace("_", " "), *words)),
    )
    return tuple(escaped(field) for field in fields)


def _part(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield f"## {title}"
        yield ""
        yield from found
