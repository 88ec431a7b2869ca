"""One HTML page per run: an answer first, then what it rests on. Opens from a file, without a network.

A page is about one run, because times of two runs were not measured in turns and prove nothing together.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from rnnbench.errors import RequestError
from rnnbench.escaping import safe
from rnnbench.report.answers import learning, speed
from rnnbench.report.crossing import crossings
from rnnbench.report.figures import MATRIX, Subject, figures_of, most_panels
from rnnbench.report.flows import flow_rows
from rnnbench.report.forest import describe_comparison
from rnnbench.report.inlining import Looks, inline
from rnnbench.report.leading import lead
from rnnbench.report.matrix import matrix
from rnnbench.report.overhead import Overhead
from rnnbench.report.published import shapes_beside
from rnnbench.report.ranking import Ranking, describe, varying_fields
from rnnbench.report.rows import SHORT, tabulate_ranking
from rnnbench.report.splitting import Figure, network
from rnnbench.report.timeline import other_runs
from rnnbench.report.trust import evidence
from rnnbench.report.words import MISSING, counted, lengths, moment, seconds, unit_of, up_to
from rnnbench.results.reading import RunResults, collection_paused
from rnnbench.stats import Interval

COMMON = ("hidden", "layers", "bidirectional", "batch", "init", "dtype", "threads")


def write(subject: Subject | RunResults, folder: Path) -> Path:
    """Write the page, and its figures as ``figures/*.svg``, below ``folder``; the path of the page.

    That is ``report.html``, or ``comparison.html`` where the subject is one.

    Raises ``RequestError`` where the folder cannot be written to. Equal results give equal bytes.
    """
    if isinstance(subject, RunResults):
        subject = Subject(subject)
    with collection_paused():  # of what a page is made of nearly all is kept until it is written
        drawn = figures_of(subject, most_panels(subject.results))
        content = render(subject, drawn)
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for figure in drawn:
            for panel in figure.panels:
                (folder / "figures" / f"{panel.name}.svg").write_bytes(panel.svg)
        page = folder / f"{subject.stem}.html"
        page.write_text(content, encoding="utf-8", newline="\n")
    except OSError as error:
        raise RequestError(f"cannot be written to: {error.strerror}.", where=str(folder)) from None
    return page


def render(subject: Subject | RunResults, drawn: Sequence[Figure]) -> str:
    """The page as HTML. Every name goes through ``safe`` and the template's escaping.

    Its policy allows its own style and script, by their digests, and nothing else.
    """
    if isinstance(subject, RunResults):
        subject = Subject(subject)
    results, comparison = subject.results, subject.comparison
    groups = subject.groups
    environment = Environment(
        loader=PackageLoader("rnnbench.report", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["safe_text"] = safe
    environment.filters["moment"] = moment
    environment.filters["up_to"] = up_to
    looks = Looks()
    shown = [
        (figure, [(panel, Markup(inline(panel, looks))) for panel in figure.panels])
        for figure in drawn
        if figure.name != MATRIX  # the page has it as a table, with every reason in full
    ]
    style, script = (_source(environment, name) for name in ("style.css", "script.js"))
    style += looks.rules
    return environment.get_template("page.html.j2").render(
        style=Markup(style),
        style_hash=_digest(style),
        script=Markup(script),
        script_hash=_digest(script),
        run=results.run,
        compared=None if comparison is None else describe_comparison(comparison),
        others=other_runs(subject.others),
        lead=lead(results, groups),
        cautions=_cautions(results, groups),
        speed=speed(groups),
        crossings=crossings(results, groups),
        learning=learning(groups),
        common=_common(results),
        table=tabulate_ranking(results, groups, [network(group) for group in groups]),
        figures=shown,
        flows=flow_rows(results),
        overheads=[_overhead(line) for line in subject.overheads],
        published=shapes_beside(results),
        matrix=matrix(groups),
        **evidence(results),
    )


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _digest(content: str) -> str:
    """As a Content-Security-Policy names what it allows."""
    return b64encode(sha256(content.encode()).digest()).decode()


def _cautions(results: RunResults, groups: Sequence[Ranking]) -> list[str]:
    run = results.run
    said = []
    timed = [group for group in groups if group.ranked]
    screened = sum(group.screening for group in timed)
    if screened:
        what = "This is a screening" if screened == len(timed) else f"{screened} groups are screenings"
        said.append(f"{what}: one process per case gives no interval, and no difference is proven.")
    if not run.finished:
        said.append("This run did not finish. Its command with --resume goes on where it stopped.")
    if results.problems:
        said.append(f"{counted(len(results.problems), 'line')} of the files could not be read.")
    return said


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


def _common(results: RunResults) -> str:
    """What all cases share, in words."""
    if not results.records:
        return ""
    varying = varying_fields([record.case for record in results.records])
    return describe(results.records[0].case, [name for name in COMMON if name not in varying])
