"""Gradient flow as lines and as a table: of each network once, whichever backends computed it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from rnnbench.escaping import safe
from rnnbench.records import Case, Flow, GradientFlow
from rnnbench.report.drawing import draw_curves
from rnnbench.report.panels import INK, Axis, Curve, Style, styles
from rnnbench.report.ranking import varying_fields
from rnnbench.report.splitting import Figure, Panels
from rnnbench.report.words import MISSING, digits
from rnnbench.results.reading import RunResults

FLOW = "flow"
CAPTION = (
    "How much of the gradient is left k steps back from the state that the last step starts from: "
    "dashed before training, solid after it, dotted where there is a closed form for what is dashed. "
    "Computed with the float64 reference, for it is the same on every backend."
)
MOST_LINES = 6
"""Networks in a panel; where there are more they are split, and some stand in two panels."""

BEFORE, AFTER, CLOSED = (0, (5, 2)), "-", (0, (1, 1.6))


@dataclass(frozen=True, slots=True)
class FlowRow:
    """One layer and direction of a network, before or after training.

    ``reach`` is far ÷ near, ``closed`` what theory says of it.
    """

    network: str
    when: str
    reach: str
    closed: str
    radius: str
    sigmoids: str
    tanhs: str


def flow_figure(results: RunResults, most: int | None = None) -> Figure:
    """‖∂L/∂s‖, k steps back ÷ none, over k: dashed before training, solid after it, dotted in closed form."""
    panels = Panels(most)
    for number, (title, members) in enumerate(_split(_networks(results))):
        look = styles([name for name, _, _ in members])
        curves = [curve for name, _, flow in members for curve in _curves(name, look[name], flow)]
        if not curves:
            continue
        forms = {
            (flow.closed_form, len(flow.before[0].gradient)) for _, _, flow in members if flow.closed_form
        }
        curves += [_closed(base, steps) for base, steps in sorted(forms)]
        x, y = Axis("steps back"), Axis("gradient ÷ gradient of the last state", True, show="{:.0e}".format)
        panels.add(draw_curves, f"{FLOW}-{number}", title, _in_words(title, members), curves, x, y)
    return panels.figure(FLOW, "Gradient flow", CAPTION)


def flow_rows(results: RunResults) -> tuple[FlowRow, ...]:
    """Of every network each layer and direction, before and after training."""
    networks = _networks(results)
    fields = _varying([case for case, _ in networks])
    return tuple(
        FlowRow(
            network=" · ".join((safe(case.task, 60), f"T {case.length}", *_all_said(case, fields))),
            when=f"{when}, {layer.layer}" if len(layers) > 1 else when,
            reach=digits(_reach(layer)),
            closed=_closed_reach(flow, len(layer.gradient) - 1) if when == "before" else MISSING,
            radius=f"{digits(layer.radius_mean)}, at most {digits(layer.radius_max)}",
            sigmoids=_share(layer.sigmoids),
            tanhs=_share(layer.tanhs),
        )
        for case, flow in networks
        for when, layers in (("before", flow.before), ("after", flow.after))
        for layer in layers
    )


_Network = tuple[Case, GradientFlow]
_Named = tuple[str, Case, GradientFlow]


def _networks(results: RunResults) -> list[_Network]:
    found: dict[object, _Network] = {}
    for record in results.records:
        flow, network = record.gradient_flow, record.case.network
        if flow is not None and (network not in found or (flow.after and not found[network][1].after)):
            found[network] = record.case, flow
    return list(found.values())


def _split(networks: Sequence[_Network]) -> Iterator[tuple[str, list[_Named]]]:
    """The networks of a task and length; where they are many, each cell's, and those that differ in it alone.

    Cells are only set beside each other where all else is equal, the initial parameters' law included.
    """
    together: dict[tuple[str, int], list[_Network]] = {}
    for case, flow in networks:
        together.setdefault((case.task, case.length), []).append((case, flow))
    for (task, length), members in together.items():
        title = f"{safe(task, 60)}, T {length}"
        if len(members) <= MOST_LINES:
            yield title, _named(members)
            continue
        alike: dict[tuple[object, ...], list[_Network]] = {}
        for case, flow in members:
            alike.setdefault(replace(case, cell="").network, []).append((case, flow))
        across = [several for several in alike.values() if len(several) > 1]
        shown = {case.key for several in across for case, _ in several}
        for several in across:
            yield f"{title}, {safe(several[0][0].init, 60)}", _named(several)
        for cell in dict.fromkeys(case.cell for case, _ in members):
            of_cell = [(case, flow) for case, flow in members if case.cell == cell]
            if len(of_cell) > 1 or of_cell[0][0].key not in shown:
                yield f"{title}, {safe(cell, 60)}", _named(of_cell)


def _named(members: Sequence[_Network]) -> list[_Named]:
    """With what tells them apart."""
    fields = _varying([case for case, _ in members])
    return [(" ".join(_all_said(case, fields)), case, flow) for case, flow in members]


def _varying(cases: Sequence[Case]) -> list[str]:
    fields = ["cell", *(name for name in varying_fields(cases) if name != "train"), "clip", "window"]
    return [name for name in fields if len({getattr(case, name) for case in cases}) > 1]


def _all_said(case: Case, fields: Sequence[str]) -> list[str]:
    return [_said(case, name) for name in fields]


def _said(case: Case, name: str) -> str:
    value = getattr(case, name)
    if name in ("cell", "init"):
        return safe(value, 60)
    if name == "gain":
        return f"×{value:g}"
    short = {"forget_bias": "bias"}.get(name, name)
    if value is None:
        return f"no {short}"
    return f"{short} {value:g}" if isinstance(value, float) else f"{short} {safe(value, 60)}"


def _curves(name: str, style: Style, flow: GradientFlow) -> Iterator[Curve]:
    for when, layers in ((BEFORE, flow.before), (AFTER, flow.after)):
        for layer in layers:
            points = list(_relative(layer))
            if points:
                label = f"{name}{f' {layer.layer}' if len(layers) > 1 else ''}"
                # one label for both lines of a network
                shown = label if when == AFTER or not flow.after else ""
                x, y = zip(*points, strict=True)
                yield Curve(shown, replace(style, dash=when, marker=""), x, y)


def _relative(layer: Flow) -> Iterator[tuple[float, float]]:
    """(k, ratio); an axis of logarithms has no place for zeros."""
    first = layer.gradient[0] if layer.gradient else 0.0
    for k, value in enumerate(layer.gradient):
        ratio = value / first if first > 0 else math.nan
        if ratio > 0 and math.isfinite(ratio):
            yield float(k), ratio


def _closed(base: float, steps: int) -> Curve:
    # below the smallest number there is nothing to draw
    points = [(float(k), base**k) for k in range(steps) if base**k > 0]
    x, y = zip(*points, strict=True)
    return Curve("", Style(INK, "", CLOSED), x, y)


def _reach(layer: Flow) -> float:
    return layer.gradient[-1] / layer.gradient[0] if layer.gradient and layer.gradient[0] else math.nan


def _closed_reach(flow: GradientFlow, steps: int) -> str:
    q = flow.closed_form
    return MISSING if q is None else f"{q:.4g}^{steps} = {digits(q**steps)}"


def _share(value: float | None) -> str:
    return MISSING if value is None else f"{value:.0%}"


def _in_words(title: str, members: Iterable[_Named]) -> str:
    said = []
    for name, _, flow in members:
        for when, layers in (("before", flow.before), ("after", flow.after)):
            ends = [f"{digits(_reach(layer))} over {len(layer.gradient) - 1} steps" for layer in layers]
            if ends:
                said.append(f"{name or 'it'} {when} training {', '.join(ends)}")
    return f"Gradient of the state far back ÷ that of the last one, {title}: {'; '.join(said)}."
