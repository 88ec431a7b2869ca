"""One HTML page per run: an answer first, then what it rests on. Opens from a file, without a network.

A page is about one run, because times of two runs were not measured in turns and prove nothing together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from rnnbench.errors import RequestError
from rnnbench.escaping import safe
from rnnbench.records import STATUSES, Measure, Score
from rnnbench.report.answers import learning, speed, summary
from rnnbench.report.crossing import crossings
from rnnbench.report.figures import MATRIX, Figure, figures
from rnnbench.report.flows import flow_rows
from rnnbench.report.inlining import inline
from rnnbench.report.matrix import matrix
from rnnbench.report.overhead import Overhead, overheads
from rnnbench.report.published import shapes_beside
from rnnbench.report.ranking import Ranking, Row, describe, peak_bytes, rank_groups, varying_fields
from rnnbench.report.trust import evidence
from rnnbench.report.words import (
    MISSING,
    PHASES,
    bounds,
    counted,
    digits,
    lengths,
    listed,
    seconds,
    size,
    times,
    unit_of,
)
from rnnbench.results.reading import RunResults
from rnnbench.stats import Interval

SHORT: dict[Measure, str] = {
    "stream": "time step", "forward": "forward", "gradients": "gradients", "train_step": "training step"
}  # fmt: skip
COMMON = ("hidden", "layers", "bidirectional", "batch", "init", "dtype", "threads")


def write(results: RunResults, folder: Path) -> Path:
    """Write ``report.html`` and ``figures/*.svg`` and ``*.png`` below ``folder``; the path of the page.

    Raises ``RequestError`` where the folder cannot be written to. Equal results give equal bytes.
    """
    drawn = figures(results)
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for figure in drawn:
            for panel in figure.panels:
                (folder / "figures" / f"{panel.name}.svg").write_bytes(panel.svg)
                (folder / "figures" / f"{panel.name}.png").write_bytes(panel.saved("png"))
        page = folder / "report.html"
        page.write_text(render(results, drawn), encoding="utf-8", newline="\n")
    except OSError as error:
        raise RequestError(f"cannot be written to: {error.strerror}.", where=str(folder)) from None
    return page


def render(results: RunResults, drawn: Sequence[Figure]) -> str:
    """The page as HTML. Every name goes through ``safe`` and the template's escaping."""
    groups = rank_groups(results)
    environment = Environment(
        loader=PackageLoader("rnnbench.report", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["safe_text"] = safe
    return environment.get_template("page.html.j2").render(
        run=results.run,
        summary=summary(groups),
        cautions=_cautions(results, groups),
        speed=speed(groups),
        crossings=crossings(results, groups),
        learning=learning(groups),
        common=_common(results),
        tables=[_table(group) for group in groups],
        figures=[
            (figure, [(panel, Markup(inline(panel))) for panel in figure.panels])
            for figure in drawn
            if figure.name != MATRIX  # the page has it as a table, with every reason in full
        ],
        flows=flow_rows(results),
        overheads=[_overhead(line) for line in overheads(results, groups)],
        published=shapes_beside(results),
        matrix=matrix(groups),
        **evidence(results),
    )


def _cautions(results: RunResults, groups: Sequence[Ranking]) -> list[str]:
    run = results.run
    said = []
    if any(group.screening for group in groups):
        said.append(
            "This is a screening: one process per case gives no interval, and no difference is proven."
        )
    if not run.finished:
        said.append("This run did not finish. Its command with --resume goes on where it stopped.")
    counts = [(status, sum(r.status == status for r in results.records)) for status in STATUSES]
    troubled = [
        f"{number} {status.replace('_', ' ')}" for status, number in counts if number and status != "ok"
    ]
    if troubled:
        total = counted(len(results.records), "case")
        said.append(f"Of {total}, {counts[0][1]} ended ok; {listed(troubled)}. The reasons stand below.")
    if results.problems:
        said.append(f"{counted(len(results.problems), 'line')} of the files could not be read.")
    return said


def _table(group: Ranking) -> dict[str, Any]:
    """A group's rows as text."""
    phase = group.phase
    phases = [each for each in PHASES if any(each in row.times for row in group.rows) and each != phase]
    unit = unit_of(row.times[phase].value for row in group.rows if phase in row.times) if phase else "s"
    return {
        "title": group.title,
        "phase": SHORT[phase] if phase else "",
        "rows": [_fields(group, row, unit, phases) for row in group.rows],
        "score": _score(group),
    }


def _fields(group: Ranking, row: Row, unit: str, phases: Sequence[Measure]) -> dict[str, Any]:
    time = row.times.get(group.phase) if group.phase else None
    finals = row.score.values if row.score else ()
    others = [f"{SHORT[each]} {seconds(row.times[each].value)}" for each in phases if each in row.times]
    return {
        "rank": "" if row.rank is None else str(row.rank),
        "first": row.rank == 1 and not group.screening,
        "label": row.label,
        "time": MISSING if time is None else seconds(time.value, unit),
        "interval": _interval(time, unit),
        "ratio": MISSING if row.to_best is None else times(row.to_best.value),
        "ratio_interval": bounds(row.to_best) if row.to_best and row.to_best.value != 1 else "",
        "others": ", ".join(others) or MISSING,
        "score": digits(sum(finals) / len(finals)) if finals else MISSING,
        "memory": size(peak_bytes(row.record)),
        "status": row.record.status.replace("_", " "),
        "reason": safe(row.record.reason, 160),
        "findings": list(dict.fromkeys(safe(finding.word, 40) for finding in row.record.findings)),
    }


def _interval(time: Interval | None, unit: str) -> str:
    if time is None:
        return ""
    return "no interval: screening" if time.screening else bounds(time, unit)


def _overhead(line: Overhead) -> dict[str, str]:
    fixed, step = (unit_of([abs(value)]) for value in (line.fixed.value, line.step.value))
    return {
        "title": line.title,
        "label": line.label,
        "phase": SHORT[line.phase],
        "lengths": lengths(line.lengths),
        "fixed": seconds(line.fixed.value, fixed),
        "fixed_interval": _bounds(line.fixed, fixed),
        "step": seconds(line.step.value, step),
        "step_interval": _bounds(line.step, step),
        "off": MISSING if line.off is None else f"{line.off:.1%}",
    }


def _bounds(interval: Interval, unit: str) -> str:
    """Of what may be negative: bounds are read as numbers, never as a ratio."""
    if interval.low is None or interval.high is None:
        return "no interval: screening"
    return f"{seconds(interval.low, unit).split()[0]} to {seconds(interval.high, unit)}"


def _score(group: Ranking) -> dict[str, str] | None:
    score = group.score
    if score is None:
        return None
    finals = [
        f"{_mean_and_spread(each)}, trained on {trainer}"
        for trainer, each in group.scores.items()
        if each.values
    ]
    if not finals:
        return None
    return {
        "metric": safe(score.metric, 40),
        "finals": "; ".join(finals),
        "trivial": _baseline(score.trivial, score.trivial_name),
        "simple": _baseline(score.simple, score.simple_name),
        "control": "" if group.score_ranked else "negative control: not ranked",
    }


def _mean_and_spread(score: Score) -> str:
    finals = score.values
    mean = digits(sum(finals) / len(finals))
    if len(finals) == 1:
        return f"{mean} (1 seed)"
    return f"{mean} ({digits(min(finals))}–{digits(max(finals))} over {len(finals)} seeds)"


def _baseline(value: float | None, name: str) -> str:
    return "" if value is None else f"{digits(value)} ({safe(name, 60)})"


def _common(results: RunResults) -> str:
    """What all cases share, in words."""
    if not results.records:
        return ""
    varying = varying_fields([record.case for record in results.records])
    return describe(results.records[0].case, [name for name in COMMON if name not in varying])
