"""``compare``: results in, verdicts out. Nothing here measures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnbench.cli.console import open_console, say
from rnnbench.compare.comparing import compare_axis, compare_runs
from rnnbench.compare.outcome import FAIL_ON, VERDICTS, Change, Comparison, Row
from rnnbench.compare.pairing import AXES
from rnnbench.compare.sources import RESULTS, choose_base, locate, newest
from rnnbench.compare.words import (
    CALLED,
    WEAK,
    describe_change,
    explain_exit,
    name_row,
    summarize,
    varying,
)
from rnnbench.compare.writing import NAME, write
from rnnbench.errors import RequestError, nearest
from rnnbench.escaping import safe
from rnnbench.records import PRESENT
from rnnbench.report.words import digits, seconds, size, times
from rnnbench.results.reading import RunResults, collection_paused, read
from rnnbench.stats import Interval

CHANGED = ("regression", "suspect", "improvement", "different")
ROWS_AT_MOST = 60
STYLES = {"regression": "bold red", "suspect": "yellow", "improvement": "green", "different": "cyan"}


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of ``compare``. ``by`` "": two runs."""

    by: str = ""
    value: str = ""
    force: bool = False
    fail_on: tuple[str, ...] = ()
    out: Path | None = None
    json: bool = False


def compare(base: str, head: str | None, asked: Asked) -> int:
    """Print the verdicts, write verdict.json and return the exit status."""
    for word in asked.fail_on:
        if word not in FAIL_ON:
            raise RequestError(f'no verdict "{word}". {nearest(word, FAIL_ON)}', where="--fail-on")
    with TemporaryDirectory(prefix="rnnbench-compare-") as scratch, collection_paused():
        folder = Path(scratch)
        if asked.by:
            found, beside = within(base, head, asked, folder)
        else:
            found, beside = between(base, head, asked, folder)
    file = _verdict_file(asked.out, beside)
    content = write(found, file, asked.fail_on)
    code = found.exit_code(asked.fail_on)
    if asked.json:
        print(content.decode(), end="")
    else:
        show(open_console(), found, code)
        say(open_console(), f"verdict: {file}")
    return code


def show(console: Console, comparison: Comparison, code: int) -> None:
    """The verdicts as a table, what changed first, and the exit status in words."""
    say(console, _title(comparison))
    if not comparison.live and not comparison.axis:
        say(console, WEAK, style="dim")
    changed = sorted((row for row in comparison.rows if row.verdict in CHANGED), key=_gravity)
    calm = [row for row in comparison.rows if _is_calm(row)]
    shown = [*changed, *calm][:ROWS_AT_MOST]
    changes = [change for _, changes in _changes(comparison) for change in changes[:ROWS_AT_MOST]]
    more = varying([row.case for row in shown] + [change.case for change in changes])
    if shown:
        console.print(_table(shown, comparison.axis, more))
    left = len(changed) + len(calm) - len(shown)
    if left:
        say(console, f"... and {left} more rows, all of them in {NAME}")
    reasons = Counter(row.text for row in comparison.rows if row.verdict == "incomparable")
    for reason, count in reasons.items():
        say(console, f"INCOMPARABLE: {count} × {reason}")
    for word, of_word in _changes(comparison):
        _say_changes(console, comparison, word, of_word, more)
    for note in comparison.notes:
        say(console, note)
    say(console, f"{summarize(comparison) or 'no row'}")
    say(console, f"exit {code}: {explain_exit(comparison, code)}")


def _is_calm(row: Row) -> bool:
    if row.kind == "time":
        return row.verdict not in (*CHANGED, "incomparable")
    return row.verdict == "inconclusive"


def _changes(comparison: Comparison) -> tuple[tuple[str, tuple[Change, ...]], ...]:
    return (
        ("NEWLY FAILING", comparison.newly_failing),
        ("VANISHED", comparison.vanished),
        ("new", comparison.new),
        ("newly ok", comparison.newly_ok),
        ("still failing", comparison.still_failing),
    )


def _title(comparison: Comparison) -> str:
    base, head = comparison.base, comparison.head
    if comparison.axis:
        return f"{head.run}: {comparison.axis} {head.value} against {base.value}"
    return f"{head.run} of {head.started} against {base.run} of {base.started}"


def within(base: str, head: str | None, asked: Asked, scratch: Path) -> tuple[Comparison, Path | None]:
    """The sides of one run, ``base``, along an axis; with its folder where that lasts."""
    if head is not None:
        raise RequestError("compares within one run; leave out HEAD", where="--by")
    if asked.force:
        raise RequestError("is for two runs; one run was measured on one set of terms", where="--force")
    if asked.by not in AXES:
        raise RequestError(f'no axis "{asked.by}". {nearest(asked.by, AXES)}', where="--by")
    located = locate(base, scratch)
    folder, _ = located.runs[-1]
    results = read(folder)
    value = asked.value
    if not value:
        values = sorted({str(getattr(record.case, asked.by)) for record in results.records})
        if asked.by != "env" or PRESENT not in values:
            raise RequestError(
                f"which {asked.by} is the others' base? Give one of: {', '.join(values)}.", where="--base"
            )
        value = PRESENT
    found = compare_axis(results, asked.by, value)
    notes = (*located.unreadable, *_problems(folder, results), *found.notes)
    return replace(found, notes=notes), folder if located.lasting else None


def between(base: str, head: str | None, asked: Asked, scratch: Path) -> tuple[Comparison, Path | None]:
    """Two runs as they are named, the newest one for no head; with the head's folder where that lasts."""
    if asked.value:
        raise RequestError("names a value of the axis that --by names; give --by too", where="--base")
    bases = locate(base, _made(scratch / "base"))
    if head is not None:
        heads = locate(head, _made(scratch / "head"))
        chosen_head = newest(heads)
    elif len(bases.runs) > 1:
        heads, chosen_head = bases, newest(bases)
    else:
        only, run = bases.runs[0]
        heads = locate(str(RESULTS), scratch) if RESULTS.is_dir() else bases
        chosen_head = newest(heads, run.suite, but=only)
        if chosen_head is None:
            message = f'no other run of suite "{run.suite}" in {RESULTS}. Name HEAD.'
            raise RequestError(message, where=base)
        if chosen_head[1].started < run.started:
            raise RequestError("is the newest run of its suite. Name HEAD, or an older run.", where=base)
    assert chosen_head is not None  # a place without runs is refused when it is located
    head_folder, head_run = chosen_head
    base_folder, beside = choose_base(bases, head_folder, head_run)
    theirs, ours = read(base_folder), read(head_folder)
    history = [theirs, *(read(folder) for folder in beside)]
    found = compare_runs(theirs, ours, force=asked.force, history=history)
    notes = [*bases.unreadable, *(heads.unreadable if heads is not bases else ())]
    notes += [*_problems(base_folder, theirs), *_problems(head_folder, ours)]
    if theirs.run.suite != head_run.suite:
        notes.append(f'two suites: "{theirs.run.suite}" then, "{head_run.suite}" now')
    found = replace(
        found,
        base=replace(found.base, source=base),
        head=replace(found.head, source=head or str(RESULTS)),
        notes=(*notes, *found.notes),
    )
    return found, head_folder if heads.lasting else None


def _problems(folder: Path, results: RunResults) -> list[str]:
    found = [f"{folder.name}/{problem}: not used" for problem in results.problems]
    if not results.run.finished:
        found.append(f"{results.run.name} was not finished: what it lacks counts as vanished or new")
    return found


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _verdict_file(out: Path | None, beside: Path | None) -> Path:
    if out is None:
        return (beside or Path()) / NAME
    if out.is_dir() or out.suffix != ".json":
        return out / NAME
    if out.name == "run.json":
        raise RequestError("holds what was measured and is never overwritten", where=f"--out {out}")
    return out


def _gravity(row: Row) -> tuple[int, float]:
    change = abs(row.ratio.value - 1) if row.ratio else abs(row.gain.value) if row.gain else 0.0
    return VERDICTS.index(row.verdict), -change


def _table(rows: Sequence[Row], axis: str, more: Sequence[str]) -> Table:
    found = Table(pad_edge=False)
    found.add_column("verdict")
    found.add_column("case", overflow="fold")
    found.add_column("what")
    for heading in ("base", "head", "head ÷ base", "99 % interval", "detectable"):
        found.add_column(heading, justify="right", overflow="fold")
    found.add_column("note", overflow="fold")
    for row in rows:
        style = STYLES.get(row.verdict, "")
        verdict = Text(CALLED[row.verdict], style=style)
        cells = (safe(name_row(row, axis, more), 120), row.what, *_numbers(row), row.text)
        found.add_row(verdict, *(Text(safe(cell)) for cell in cells))
    return found


def _numbers(row: Row) -> tuple[str, str, str, str, str]:
    """base, head, their ratio (of scores: the gain), its bounds, what could have been seen."""
    if row.gain is not None:
        low, high = row.gain.low, row.gain.high
        bounds = "" if low is None or high is None else f"{low:+.3g} to {high:+.3g} (90 %)"
        return digits(row.base), digits(row.head), f"{row.gain.value:+.3g}", bounds, ""
    write_value = {"time": seconds, "memory": size}.get(row.kind, digits)
    ratio, bounds = "", ""
    if row.ratio is not None:
        ratio = f"{row.ratio.value:.3f}×" if 0.1 <= row.ratio.value < 10 else times(row.ratio.value)
        bounds = _bounds(row.ratio)
    least = "" if row.detectable is None else f"{row.detectable:.1%}"
    return write_value(row.base), write_value(row.head), ratio, bounds, least


def _bounds(ratio: Interval) -> str:
    low, high = ratio.low, ratio.high
    if low is None or high is None:
        return ""
    if ratio.usable:
        return f"{low:.3f}–{high:.3f}" if high < 10 else f"{digits(low)}–{digits(high)}"
    if low > 1:  # a bound is cut away from 1, never towards it
        return f"at least {math.floor(low * 1000) / 1000:.3f}"
    if high < 1:
        return f"at most {math.ceil(high * 1000) / 1000:.3f}"
    return "too wide to say"


def _say_changes(
    console: Console, comparison: Comparison, word: str, changes: Sequence[Change], more: Sequence[str]
) -> None:
    for change in changes[:ROWS_AT_MOST]:
        say(console, f"{word}: {safe(describe_change(change, comparison, more), 400)}")
    if len(changes) > ROWS_AT_MOST:
        say(console, f"... and {len(changes) - ROWS_AT_MOST} more {word}")
