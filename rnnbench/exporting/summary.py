"""A run, or a comparison, as the Markdown that a step of GitHub Actions shows ($GITHUB_STEP_SUMMARY).

GitHub refuses a summary of more than 1 MiB and shows long ones badly; this one stays under 60 kB, and says
how many rows it left out. What changed or failed stands first, so that nothing of it is cut before the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rnnbench.compare.outcome import VERDICTS, Change, Comparison, Row, Side
from rnnbench.report.markdown import NAME_LIMIT, escaped, table
from rnnbench.report.ranking import Ranking, rank_groups
from rnnbench.report.ranking import Row as Ranked
from rnnbench.report.words import PHASES, bounds, counted, digits, seconds, size, times, unit_of
from rnnbench.results.reading import RunResults

LIMIT_BYTES = 60_000
_REASON_LIMIT = 300
_LEFT_OUT_BYTES = 200
_QUIET = ("unchanged", "within_spread", "not_told_apart")


def summary(results: RunResults, comparison: Comparison | None = None) -> bytes:
    """At most ``LIMIT_BYTES`` of GitHub's Markdown, in UTF-8.

    With a comparison: its verdicts, what changed first, then cases whose status changed. Then the run: what
    failed, and the ranked times of each group.
    """
    lines: list[str] = []
    if comparison is not None:
        lines += _compared(comparison)
    lines += _shown(results)
    return _fitted(lines)


def _compared(comparison: Comparison) -> Iterator[str]:
    found = Counter(row.verdict for row in comparison.rows)
    said = ", ".join(f"{found[verdict]} {verdict}" for verdict in VERDICTS if found[verdict])
    yield f"## {escaped(_side(comparison.base))} → {escaped(_side(comparison.head))}"
    yield ""
    yield escaped(said or "nothing was comparable")
    yield ""
    for title, changes in (
        ("newly failing", comparison.newly_failing),
        ("vanished", comparison.vanished),
        ("new", comparison.new),
        ("now ok", comparison.newly_ok),
        ("still failing", comparison.still_failing),
    ):
        yield from _changed(title, changes)
    loud = [row for row in comparison.rows if row.verdict not in _QUIET]
    quiet = [row for row in comparison.rows if row.verdict in _QUIET]
    order = {verdict: place for place, verdict in enumerate(VERDICTS)}
    # largest change first within a verdict
    rows = sorted(loud, key=lambda row: (order[row.verdict], -_distance(row)))
    yield from table(
        ("verdict", "case", "what", "base", "head", "head ÷ base", "99 %", "note"),
        (_fields(row) for row in (*rows, *sorted(quiet, key=lambda row: order[row.verdict]))),
    )
    for note in comparison.notes:
        yield f"- {escaped(note, _REASON_LIMIT)}"
    yield ""


def _changed(title: str, changes: Sequence[Change]) -> Iterator[str]:
    for change in changes:
        what = f" {change.what}" if change.what else ""
        became = " → ".join(status for status in (change.base, change.head) if status)
        text = f"{change.case.key}{what}: {became}" + (f": {change.reason}" if change.reason else "")
        yield f"- **{title}** {escaped(text, NAME_LIMIT + _REASON_LIMIT)}"
    if changes:
        yield ""


def _fields(row: Row) -> tuple[str, ...]:
    what = PHASES.get(row.what, row.what) if row.kind == "time" else row.what  # type: ignore[call-overload]
    if row.kind == "time" and row.base and row.head:
        unit = unit_of((row.base, row.head))
        base, head = seconds(row.base, unit), seconds(row.head, unit)
    else:
        base, head = ((size if row.kind == "memory" else digits)(value) for value in (row.base, row.head))
    ratio = times(row.ratio.value) if row.ratio else ""
    strong = row.verdict not in _QUIET
    return (
        f"**{escaped(row.verdict)}**" if strong else escaped(row.verdict),
        escaped(row.case.key),
        escaped(what),
        "" if row.base is None else escaped(base),
        "" if row.head is None else escaped(head),
        escaped(ratio),
        escaped(bounds(row.ratio)),
        escaped(row.text, _REASON_LIMIT),
    )


def _shown(results: RunResults) -> Iterator[str]:
    run = results.run
    yield f"## {escaped(run.name)}: {escaped(run.suite)}"
    yield ""
    statuses = Counter(record.status for record in results.records)
    counts = [f"{number} {status}" for status, number in statuses.most_common()]
    yield escaped(f"{counted(len(results.records), 'case')}: {', '.join(counts)}" if counts else "no case")
    yield ""
    for record in results.records:
        if record.status not in ("ok", "skipped", "unsupported"):
            reason = escaped(record.reason, _REASON_LIMIT)
            yield f"- **{escaped(record.status)}** {escaped(record.case.key)}: {reason}"
    yield ""
    for group in rank_groups(results):
        phase = PHASES[group.phase] if group.phase else "not timed"
        yield f"### {escaped(group.title)}"
        yield ""
        yield escaped(phase)
        yield ""
        headings = ("#", "case", "time", "99 %", "÷ best", "score", "findings")
        yield from table(headings, (_ranked(group, row) for row in group.rows))


def _ranked(group: Ranking, row: Ranked) -> tuple[str, ...]:
    record = row.record
    time = row.times.get(group.phase) if group.phase else None
    finals = row.score.values if row.score and record.status == "ok" else ()
    words = dict.fromkeys(finding.word for finding in record.findings)
    return (
        "" if row.rank is None else str(row.rank),
        escaped(row.label),
        "" if time is None else escaped(seconds(time.value)),
        "" if time is None else escaped(bounds(time, unit_of([time.value]))),
        "" if row.to_best is None else escaped(times(row.to_best.value)),
        escaped(digits(sum(finals) / len(finals))) if finals else "",
        escaped(", ".join(words) if record.status == "ok" else record.status),
    )


def _fitted(lines: Sequence[str]) -> bytes:
    kept, used = [], 0
    for line in lines:
        used += len(line.encode()) + 1
        if used > LIMIT_BYTES - _LEFT_OUT_BYTES:
            break
        kept.append(line)
    left = sum(bool(line) for line in lines[len(kept) :])
    if left:
        kept += ["", f"… and {left:,} more lines, which the results have."]
    return "".join(f"{line}\n" for line in kept).encode()


def _side(side: Side) -> str:
    return " ".join(part for part in (side.run, side.value) if part)


def _distance(row: Row) -> float:
    return abs(row.ratio.value - 1) if row.ratio else 0.0
