"""The figures of a run: what to draw, and in words, what it shows. ``drawing`` knows how."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rnnbench.escaping import safe
from rnnbench.records import Score
from rnnbench.report.drawing import draw_bars, draw_curves, draw_dots, draw_heat
from rnnbench.report.flows import FLOW, flow_panels
from rnnbench.report.matrix import Field, matrix
from rnnbench.report.panels import BASELINE, Axis, Curve, Panel, Style, styles
from rnnbench.report.ranking import Ranking, Row, rank_groups
from rnnbench.report.words import PHASES, UNITS, digits, labels, listed, seconds
from rnnbench.results.reading import RunResults

MATRIX = "matrix"
FIRST = ("import_s", "build_s", "first_forward_s", "first_train_step_s")
FIRST_WORDS = {
    "import_s": "import",
    "build_s": "build",
    "first_forward_s": "first forward",
    "first_train_step_s": "first training step",
}
FLOW_CAPTION = (
    "How much of the gradient is left k steps back from the state that the last step starts from: "
    "dashed before training, solid after it, dotted where there is a closed form for what is dashed. "
    "Computed with the float64 reference, for it is the same on every backend."
)


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels that answer one question."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]


def figures(results: RunResults) -> tuple[Figure, ...]:
    """Every figure for which the run has numbers, in the order of the page."""
    groups = rank_groups(results)
    rows = {row.label: row.record.case.backend for group in groups for row in group.rows}
    names = sorted(rows)
    cases = styles(names, [rows[name] for name in names])
    cells = styles(sorted({_network(group) for group in groups}))
    drawn = (
        _time_against_length(groups, cases),
        _score_against_length(groups, cells),
        _speed_against_score(groups, cells),
        _learning_curves(groups, cells),
        Figure(FLOW, "Gradient flow", FLOW_CAPTION, flow_panels(results)),
        _first_calls(results),
        _matrix(groups),
    )
    return tuple(figure for figure in drawn if figure.panels)


def _time_against_length(groups: Sequence[Ranking], look: dict[str, Style]) -> Figure:
    panels = []
    for number, (title, members) in enumerate(_split(groups, lambda g: (g.task, g.cell, g.other))):
        phase = members[0].phase
        if phase is None:
            continue
        timed = [(group.length, row) for group in members for row in group.ranked]
        if not timed:
            continue
        name, what = f"time-{number}", f"Time of one {PHASES[phase]}"
        if len({length for length, _ in timed}) == 1:
            rows = [(row.label, look[row.label], row.times[phase]) for _, row in timed]
            alt = f"{what}, {title}, T {timed[0][0]}: " + _in_words(rows)
            panels.append(draw_dots(name, f"{title}, T {timed[0][0]}", alt, rows, Axis(what, show=_time)))
            continue
        points: dict[str, list[tuple[float, tuple[float, float, float]]]] = {}
        for length, row in timed:
            points.setdefault(row.label, []).append((length, _point(row, phase)))
        curves = [_curve(label, look[label], found) for label, found in sorted(points.items())]
        ticks = tuple(sorted({float(length) for length, _ in timed}))
        alt = f"{what} against sequence length, {title}. " + _ends(curves, seconds)
        x = Axis("sequence length T", True, ticks, "{:g}".format)
        panels.append(draw_curves(name, title, alt, curves, x, Axis("time per call", True, show=_time)))
    several = len({group.length for group in groups}) > 1
    scales = "Where there are several lengths, both axes are logarithmic. " if several else ""
    caption = f"{scales}Bands are 99 % intervals, where several processes were measured. Lower is better."
    return Figure("time", "Time against length" if several else "Time", caption, tuple(panels))


def _score_against_length(groups: Sequence[Ranking], look: dict[str, Style]) -> Figure:
    panels = []
    for number, (title, members) in enumerate(_split(groups, lambda g: (g.task,))):
        scored = [(group, group.score) for group in members if group.score is not None]
        if len({group.length for group, _ in scored}) < 2:
            continue
        points: dict[str, list[tuple[float, tuple[float, float, float]]]] = {}
        for group, score in scored:
            points.setdefault(_network(group), []).append((group.length, _spread(score.values)))
        curves = _drawable([_curve(label, look[label], found) for label, found in sorted(points.items())])
        if not curves:
            continue
        curves += _drawable(_baselines_by_length(scored))
        ticks = tuple(sorted({float(group.length) for group, _ in scored}))
        y = Axis(_metric(scored[0][1]))
        alt = f"Score against sequence length, {title}. " + _ends(curves, digits)
        x = Axis("sequence length T", True, ticks, "{:g}".format)
        panels.append(draw_curves(f"score-{number}", title, alt, curves, x, y))
    caption = (
        "Means over seeds; bands reach from the worst to the best seed, baselines are dashed grey."
        + _trained_on(groups)
    )
    return Figure("score", "Score against length", caption, tuple(panels))


def _speed_against_score(groups: Sequence[Ranking], look: dict[str, Style]) -> Figure:
    panels = []
    for number, (title, members) in enumerate(_split(groups, lambda g: (g.task,))):
        points: dict[str, list[tuple[float, tuple[float, float, float]]]] = {}
        shown = None
        for group in members:
            if group.score is None or group.phase != "train_step" or not group.ranked:
                continue
            shown = group.score
            training = group.ranked[0].times[group.phase].value * _steps(group.score)
            points.setdefault(_network(group), []).append((training, _spread(group.score.values)))
        if shown is None or sum(map(len, points.values())) < 2:
            continue
        curves = _drawable(
            [
                Curve(label, look[label], tuple(x for x, _ in found), tuple(y[0] for _, y in found))
                for label, found in sorted(points.items())
            ]
        )
        alt = f"Score against seconds of training, {title}. " + _ends(curves, digits)
        x = Axis("seconds of training, one seed", True, show=_time)
        panels.append(draw_curves(f"tradeoff-{number}", title, alt, curves, x, Axis(_metric(shown))))
    caption = (
        "Each point is one length, joined from short to long: steps taken × the training step "
        "of the fastest implementation, against the mean score over seeds." + _trained_on(groups)
    )
    return Figure("tradeoff", "Speed against score", caption, tuple(panels))


def _learning_curves(groups: Sequence[Ranking], look: dict[str, Style]) -> Figure:
    panels = []
    for number, (title, members) in enumerate(_split(groups, lambda g: (g.task, f"T {g.length}"))):
        scored = [(group, group.score) for group in members if group.score and _shared_steps(group.score)]
        if not scored:
            continue
        curves = [_learning(_network(group), look[_network(group)], score) for group, score in scored]
        curves = _drawable(curves)
        if not curves:
            continue
        steps = curves[0].x
        for kind in ("trivial", "simple"):
            value = getattr(scored[0][1], kind)
            if value is not None and math.isfinite(value):
                curves.append(Curve(kind, BASELINE, (steps[0], steps[-1]), (value, value)))
        alt = f"Learning curves, {title}: score after so many updates. " + _ends(curves, digits)
        x, y = Axis("updates", show="{:g}".format), Axis(_metric(scored[0][1]))
        panels.append(draw_curves(f"learning-{number}", title, alt, curves, x, y))
    caption = "Mean over seeds; bands reach from the worst to the best seed." + _trained_on(groups)
    return Figure("learning", "Learning curves", caption, tuple(panels))


def _first_calls(results: RunResults) -> Figure:
    names = labels([record.case for record in results.records])
    totals: dict[str, list[list[float]]] = {}
    for record in results.records:
        if record.status == "ok" and any(name in record.phases for name in FIRST):
            totals.setdefault(names[record.case.key], []).append(
                [record.phases.get(name, 0.0) for name in FIRST]
            )
    if not totals:
        return Figure("first", "Before the first step", "", ())
    rows = [
        (label, [sorted(column)[len(column) // 2] for column in zip(*found, strict=True)])
        for label, found in sorted(totals.items())
    ]
    parts = [FIRST_WORDS[name] for name in FIRST]
    alt = "Seconds before steady state: " + "; ".join(
        f"{label}: " + listed([f"{part} {seconds(value)}" for part, value in zip(parts, values, strict=True)])
        for label, values in rows
    )
    panel = draw_bars("first-0", "Median over cases", alt, parts, rows, Axis("seconds"))
    caption = "Paid once, before anything is steady; first calls include tracing and compiling."
    return Figure("first", "Before the first step", caption, (panel,))


def _matrix(groups: Sequence[Ranking]) -> Figure:
    title, caption = "Time ÷ the best of its group", "Geometric means over groups colour the fields."
    found = matrix(groups)
    if not any(field.ratio for row in found.fields for field in row):
        return Figure(MATRIX, title, caption, ())
    fields = [[(field.ratio, _field_text(field)) for field in row] for row in found.fields]
    said = []
    for name, row in zip(found.rows, found.fields, strict=True):
        words = [f"{cell} {field.text}" for cell, field in zip(found.columns, row, strict=True)]
        said.append(f"{name}: {listed(words)}")
    alt = f"{title}. {'; '.join(said)}."
    panel = draw_heat("matrix-0", title, alt, found.rows, found.columns, fields)
    return Figure(MATRIX, title, caption, (panel,))


def _field_text(field: Field) -> str:
    return f"{field.text}: {field.detail}" if field.ratio is None else field.text


def _trained_on(groups: Sequence[Ranking]) -> str:
    """Whose scores the figures draw: of each group the first that was trained."""
    trainers = sorted({next(iter(group.scores)) for group in groups if group.scores})
    return f" Trained on {listed(trainers)}." if trainers else ""


def _split(
    groups: Iterable[Ranking], key: Callable[[Ranking], tuple[Any, ...]]
) -> list[tuple[str, list[Ranking]]]:
    """Groups by what a panel is about, with the panel's title; in each the shortest length first."""
    parts = groupby(sorted(groups, key=lambda group: (_sortable(key(group)), group.length)), key=key)
    return [(", ".join(safe(part, 60) for part in name if part), list(found)) for name, found in parts]


def _sortable(name: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((len(part), part) if str(part).startswith("T ") else (0, part) for part in name)


def _network(group: Ranking) -> str:
    return safe(f"{group.cell}{f' {group.other}' if group.other else ''}", 60)


def _point(row: Row, phase: Any) -> tuple[float, float, float]:
    time = row.times[phase]
    finite = time.low is not None and time.high is not None and math.isfinite(time.high)
    return (time.value, time.low, time.high) if finite else (time.value, math.nan, math.nan)  # type: ignore[return-value]


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, least and greatest; NaN where a seed has none, so that a lost seed is not drawn over."""
    if not values or not all(map(math.isfinite, values)):
        return math.nan, math.nan, math.nan
    return math.fsum(values) / len(values), min(values), max(values)


def _curve(label: str, style: Style, points: Sequence[tuple[float, tuple[float, float, float]]]) -> Curve:
    kept = [(x, y) for x, y in points if math.isfinite(y[0])]
    banded = all(math.isfinite(y[1]) for _, y in kept)
    return Curve(
        label,
        style,
        tuple(float(x) for x, _ in kept),
        tuple(y[0] for _, y in kept),
        tuple(y[1] for _, y in kept) if banded else (),
        tuple(y[2] for _, y in kept) if banded else (),
    )


def _learning(label: str, style: Style, score: Score) -> Curve:
    steps = _shared_steps(score)
    at = [dict(zip(curve.steps, curve.scores, strict=False)) for curve in score.curves]
    return _curve(label, style, [(step, _spread([seed[step] for seed in at])) for step in steps])


def _shared_steps(score: Score) -> list[int]:
    """Evaluations that every seed reached: beyond them a mean would be over other seeds."""
    if not score.curves:
        return []
    return sorted(set.intersection(*(set(curve.steps[: len(curve.scores)]) for curve in score.curves)))


def _steps(score: Score) -> float:
    taken = [curve.steps[-1] for curve in score.curves if curve.steps]
    return math.fsum(taken) / len(taken) if taken else math.nan


def _baselines_by_length(scored: Sequence[tuple[Ranking, Score]]) -> list[Curve]:
    found = []
    for kind in ("trivial", "simple"):
        values = {group.length: getattr(score, kind) for group, score in scored}
        known = sorted((length, value) for length, value in values.items() if value is not None)
        curve = _curve(kind, BASELINE, [(length, (value, value, value)) for length, value in known])
        found.append(Curve(kind, BASELINE, curve.x, curve.y))
    return found


def _drawable(curves: Iterable[Curve]) -> list[Curve]:
    kept = []
    for curve in curves:
        finite = [math.isfinite(x) and math.isfinite(y) for x, y in zip(curve.x, curve.y, strict=True)]
        if finite and all(finite):
            kept.append(curve)
    return kept


def _metric(score: Score) -> str:
    return f"{safe(score.metric, 30)} ({'higher' if score.higher_is_better else 'lower'} is better)"


def _time(value: float) -> str:
    scale, unit = next((each for each in UNITS if value >= each[0]), UNITS[-1])
    return f"{value / scale:.3g} {unit}"


def _ends(curves: Iterable[Curve], show: Callable[[float], str]) -> str:
    """The right end of every line, for who cannot see it."""
    said = [f"{curve.label} ends at {show(curve.y[-1])}" for curve in curves if curve.y]
    return f"{'; '.join(said)}." if said else ""


def _in_words(rows: Sequence[tuple[str, Style, Any]]) -> str:
    return "; ".join(f"{label} {seconds(time.value)}" for label, _, time in rows)
