"""``history``: a case over runs and commits. Reads results; judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic_core import to_json
from rich.console import Console

from rnnbench.cli.console import open_console, say, say_error, tabulate
from rnnbench.compare.sources import RESULTS, locate
from rnnbench.errors import RequestError, nearest
from rnnbench.escaping import safe
from rnnbench.history import ChangePoint, Line, Point, history, measured
from rnnbench.history.changepoints import FEWEST
from rnnbench.history.series import SCORE
from rnnbench.records import TIMED
from rnnbench.report.words import MISSING, bounds, counted, digits, seconds, size, times, unit_of
from rnnbench.results.reading import RunResults, collection_paused, read

WEAK = (
    "Runs are not measured in turns: their times are weak evidence, and a change point says where to look. "
    "`rnnbench ci` measures two revisions live."
)
LINES_AT_MOST = 100
TABLES_AT_MOST = 20
RUNS_AT_MOST = 60
_NEAREST = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of ``history``; "" where one is not given."""

    case: str = ""
    phase: str = ""
    metric: str = ""
    json: bool = False


def show_history(sources: Sequence[str], asked: Asked) -> None:
    """Print the history of every case, or of those whose key contains ``asked.case`` run by run."""
    with collection_paused():
        runs = _read(sources or [str(RESULTS)])
        keys = _keys(runs, asked.case)
        what = _quantity(runs, asked)
        lines = history(runs, what, keys)
    if not lines:
        raise RequestError(
            f"no case that is asked for has it. {_has(runs, keys)}",
            where=f"--{'phase' if asked.phase else 'metric'} {what}" if what else f"--case {asked.case}",
        )
    if asked.json:
        found = {"evidence": WEAK, "lines": [_plain(line) for line in lines]}
        print(to_json(found, inf_nan_mode="strings").decode())
        return
    console = open_console()
    if asked.case:
        _show_lines(console, lines)
    else:
        _show_overview(console, lines)
    say(console, WEAK, style="dim")


def _read(sources: Sequence[str]) -> list[RunResults]:
    """Every run once; what cannot be read is named."""
    found: dict[Path, RunResults] = {}
    with ExitStack() as unpacked:
        for source in sources:
            scratch = Path(unpacked.enter_context(TemporaryDirectory(prefix="rnnbench-history-")))
            located = locate(source, scratch)
            for text in located.unreadable:
                say_error(text)
            for folder, _ in located.runs:
                results = found.setdefault(folder.resolve(), read(folder))
                for problem in results.problems:
                    say_error(f"{folder}: {problem}")
    return list(found.values())


def _keys(runs: Sequence[RunResults], text: str) -> frozenset[str]:
    keys = dict.fromkeys(record.case.key for results in runs for record in results.records)
    chosen = frozenset(key for key in keys if text in key)
    if not chosen:
        near = get_close_matches(text, keys, n=_NEAREST, cutoff=0.0)
        said = f"Nearest: {', '.join(near)}." if near else "No run here has a case."
        raise RequestError(
            f"none of {counted(len(keys), 'case')} has this in its key. {said}", where=f"--case {text}"
        )
    return chosen


def _quantity(runs: Sequence[RunResults], asked: Asked) -> str | None:
    if asked.phase and asked.metric:
        raise RequestError("is a metric already; leave one of the two out", where="--phase")
    if asked.phase and asked.phase not in TIMED:
        raise RequestError(f'no phase "{asked.phase}". {nearest(asked.phase, TIMED)}', where="--phase")
    if asked.metric:
        known = measured(runs)
        if asked.metric not in known:
            raise RequestError(
                f'no metric "{asked.metric}". {nearest(asked.metric, known)}', where="--metric"
            )
    return asked.phase or asked.metric or None


def _has(runs: Sequence[RunResults], keys: frozenset[str]) -> str:
    wanted = [
        RunResults(each.run, tuple(r for r in each.records if r.case.key in keys), each.blocks)
        for each in runs
    ]
    names = ", ".join(measured(wanted))
    return f"Measured of them: {names}." if names else "Nothing was measured of them."


def _show_lines(console: Console, lines: Sequence[Line]) -> None:
    for line in lines[:TABLES_AT_MOST]:
        say(console, f"{line.case.key}: {line.what}", style="bold")
        for reason in line.apart:
            say(console, f"apart from the table above: {reason}")
        changes = {change.index: change for change in line.changes}
        first = max(0, len(line.points) - RUNS_AT_MOST)
        if first:
            say(console, f"... {counted(first, 'earlier run')}, all of them in --json")
        rows = [
            _row(line, point, changes.get(index)) for index, point in enumerate(line.points) if index >= first
        ]
        headings = ("started", "commit", "run", line.what, "99 % interval", "÷ previous", "")
        console.print(tabulate(headings, rows, right=headings[3:6]))
        valued = sum(point.value is not None for point in line.points)
        if valued < FEWEST:
            say(
                console, f"{counted(valued, 'run')}: below {FEWEST} no change point can be shown", style="dim"
            )
    if len(lines) > TABLES_AT_MOST:
        say(
            console, f"... and {counted(len(lines) - TABLES_AT_MOST, 'more line')}; all of them are in --json"
        )


def _row(line: Line, point: Point, change: ChangePoint | None) -> tuple[str, ...]:
    unit = unit_of([point.value]) if point.value else None
    missing = MISSING if point.status == "ok" else point.status
    return (
        _minute(point.started),
        _commit(point),
        safe(point.run, 60),
        missing if point.value is None else _shown(line.what, point.value),
        bounds(point.interval, unit),
        times(point.ratio.value) if point.ratio else "",
        _change(change) if change else "",
    )


def _show_overview(console: Console, lines: Sequence[Line]) -> None:
    """A row for each line, those that changed last first."""

    def calm(line: Line) -> int:
        return len(line.points) - line.changes[-1].index if line.changes else 1 << 30

    rows = []
    for line in sorted(lines, key=calm)[:LINES_AT_MOST]:
        last = next(point for point in reversed(line.points) if point.value is not None)
        change = line.changes[-1] if line.changes else None
        at = line.points[change.index] if change else None
        rows.append(
            (
                safe(line.case.key, 120),
                line.what,
                str(len(line.points)),
                _minute(last.started),
                _shown(line.what, last.value),
                times(last.ratio.value) if last.ratio else "",
                f"{_change(change)} at {_commit(at) or _minute(at.started)}" if change and at else "",
            )
        )
    headings = ("case", "what", "runs", "newest", "value", "÷ previous", "last change")
    console.print(tabulate(headings, rows, right=("runs", "value", "÷ previous")))
    left = len(lines) - len(rows)
    if left:
        say(console, f"... and {counted(left, 'more line')}; --case TEXT selects, --json has all")


def _change(change: ChangePoint) -> str:
    if change.before > 0 and change.after > 0:
        return f"◀ {change.after / change.before - 1:+.1%} (p {change.p:.3f})"
    return f"◀ {digits(change.before)} → {digits(change.after)} (p {change.p:.3f})"


def _shown(what: str, value: float | None) -> str:
    if _unit(what) == "s":
        return seconds(value)
    return size(value) if _unit(what) == "bytes" else digits(value)


def _unit(what: str) -> str:
    if what in TIMED or what.endswith("_s"):
        return "s"
    return "bytes" if what.endswith("_bytes") else ""


def _commit(point: Point) -> str:
    return f"{safe(point.commit[:10])}{'+' if point.dirty else ''}"


def _minute(started: str) -> str:
    return safe(started, 40)[:16].replace("T", " ")


def _plain(line: Line) -> dict[str, Any]:
    def change(found: ChangePoint) -> dict[str, Any]:
        at = line.points[found.index]
        ratio = found.after / found.before if found.before > 0 and line.what != SCORE else None
        return {
            "run": at.run, "commit": at.commit, "index": found.index, "before": found.before,
            "after": found.after, "ratio": ratio, "p": found.p,
        }  # fmt: skip

    return {
        "case": line.case.key,
        "what": line.what,
        "unit": _unit(line.what),
        "apart": list(line.apart),
        "points": line.points,
        "changes": [change(found) for found in line.changes],
    }
