"""What networks learn: scores against length, against seconds of training, and over the training itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rnnbench.records import Score
from rnnbench.report.drawing import Point, draw_curves, draw_points
from rnnbench.report.panels import BASELINE, Axis, Curve, Style
from rnnbench.report.ranking import Ranking
from rnnbench.report.splitting import (
    Figure,
    Panels,
    Spread,
    curve_of,
    drawable,
    ends,
    metric_of,
    network,
    short_time,
    split,
    spread_of,
    trained_on,
)
from rnnbench.report.words import digits, listed, seconds

BASELINES = ("trivial", "simple")
Look = Mapping[str, Style]


def score_against_length(groups: Sequence[Ranking], look: Look, most: int | None = None) -> Figure:
    """A panel for each task that was learned at several lengths."""
    panels = Panels(most)
    for number, (title, members) in enumerate(split(groups, lambda group: (group.task,))):
        scored = [(group, group.score) for group in members if group.score is not None]
        if len({group.length for group, _ in scored}) < 2:
            continue
        points: dict[str, list[tuple[float, Spread]]] = {}
        for group, score in scored:
            points.setdefault(network(group), []).append((group.length, spread_of(score.values)))
        curves = drawable([curve_of(label, look[label], found) for label, found in sorted(points.items())])
        if not curves:
            continue
        curves += drawable(_baselines_by_length(scored))
        ticks = tuple(sorted({float(group.length) for group, _ in scored}))
        alt = f"Score, {metric_of(scored[0][1])}, from T {ticks[0]:g} to {ticks[-1]:g}, {title}. "
        x = Axis("sequence length T", True, ticks, "{:g}".format)
        y = Axis(metric_of(scored[0][1]))
        panels.add(draw_curves, f"score-{number}", title, alt + ends(curves, digits), curves, x, y)
    caption = (
        "Where a line comes down to the trivial baseline, dashed grey, the network has stopped to learn. "
        "Means over seeds; bands reach from the worst to the best seed." + trained_on(groups)
    )
    return panels.figure("score", "Score against length", caption)


def speed_against_score(groups: Sequence[Ranking], look: Look, most: int | None = None) -> Figure:
    """A panel for each task and length, a point for each network, and those that no other beats in both."""
    panels = Panels(most)
    for number, (title, members) in enumerate(split(groups, lambda group: (group.task, f"T {group.length}"))):
        found = [
            (network(group), group.score, step_s * _steps(group.score))
            for group in members
            if group.score is not None and (step_s := quickest_step(group)) is not None
        ]
        points = [
            Point(label, look[label], at, spread_of(score.values))
            for label, score, at in found
            if math.isfinite(at) and math.isfinite(spread_of(score.values)[0])
        ]
        if len(points) < 2 or panels.is_full():
            continue
        score = found[0][1]
        front = pareto_front(points, score.higher_is_better)
        alt = (
            f"{metric_of(score)} against seconds of training of one seed, {title}: "
            + "; ".join(f"{each.label} {digits(each.y[0])} in {seconds(each.x)}" for each in points)
            + f". On the Pareto front: {listed([each.label for each in front])}."
        )
        x = Axis("seconds of training, one seed", True, show=short_time)
        panels.add(draw_points, f"tradeoff-{number}", title, alt, points, front, x, Axis(metric_of(score)))
    caption = (
        "Steps taken × the training step of the implementation with the shortest time, against the mean "
        "score over seeds; strokes reach from the worst to the best seed. The dashed line joins the Pareto "
        "front: networks that no other one beats in both, by these means." + trained_on(groups)
    )
    return panels.figure("tradeoff", "Speed against score", caption)


def pareto_front(points: Sequence[Point], higher_is_better: bool) -> list[Point]:
    """The points than which no other is both as quick and as good, and better in one; the quickest first."""
    sign = 1 if higher_is_better else -1
    front: list[Point] = []
    for point in sorted(points, key=lambda each: (each.x, -sign * each.y[0])):
        if not front or sign * point.y[0] > sign * front[-1].y[0]:
            front.append(point)
    return front


def learning_curves(
    groups: Sequence[Ranking], look: Look, most: int | None = None, *, by_seconds: bool
) -> Figure:
    """A panel for each task and length: the score after so many updates, or seconds of them."""
    name = "seconds" if by_seconds else "learning"
    panels = Panels(most)
    for number, (title, members) in enumerate(split(groups, lambda group: (group.task, f"T {group.length}"))):
        known = [
            (group, group.score, step_s)
            for group in members
            if group.score is not None
            and (step_s := quickest_step(group) if by_seconds else 1.0) is not None
            and _shared_steps(group.score)
        ]
        if not known or panels.is_full():
            continue
        scored = [score for _, score, _ in known]
        learned = [
            (_learning(network(group), look[network(group)], score), step_s) for group, score, step_s in known
        ]
        curves = drawable(replace(curve, x=tuple(x * step_s for x in curve.x)) for curve, step_s in learned)
        if not curves:
            continue
        first, last = min(curve.x[0] for curve in curves), max(curve.x[-1] for curve in curves)
        for kind in BASELINES:
            value = getattr(scored[0], kind)
            if value is not None and math.isfinite(value):
                curves.append(Curve(kind, BASELINE, (first, last), (value, value)))
        x = Axis("seconds of training, one seed" if by_seconds else "updates", show="{:g}".format)
        what = "seconds of training" if by_seconds else "updates"
        where = f"{digits(first)} to {digits(last)} {what}"
        alt = f"Learning curves, {title}: {metric_of(scored[0])} over {where}. "
        y = Axis(metric_of(scored[0]))
        panels.add(draw_curves, f"{name}-{number}", title, alt + ends(curves, digits), curves, x, y)
    caption = (
        "Means over seeds; bands reach from the worst to the best seed; baselines are dashed grey. "
        + (
            "Seconds are updates × the training step of the implementation with the shortest time: "
            "evaluation and compilation do not count."
            if by_seconds
            else "Steeper is better, whatever a step costs."
        )
        + trained_on(groups)
    )
    title = "Learning against seconds" if by_seconds else "Learning curves"
    return panels.figure(name, title, caption)


def quickest_step(group: Ranking) -> float | None:
    """Seconds of one training step of the first by rank; None where none was timed."""
    if group.phase != "train_step" or not group.ranked:
        return None
    return group.ranked[0].times[group.phase].value


def _learning(label: str, style: Style, score: Score) -> Curve:
    steps = _shared_steps(score)
    at = [dict(zip(curve.steps, curve.scores, strict=False)) for curve in score.curves]
    return curve_of(label, style, [(step, spread_of([seed[step] for seed in at])) for step in steps])


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
    for kind in BASELINES:
        values = {group.length: getattr(score, kind) for group, score in scored}
        known = sorted((length, value) for length, value in values.items() if value is not None)
        curve = curve_of(kind, BASELINE, [(length, (value, value, value)) for length, value in known])
        found.append(Curve(kind, BASELINE, curve.x, curve.y))
    return found
