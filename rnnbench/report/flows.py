"""Gradient flow as lines and as a table: of each network once, whichever backends computed it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from rnnbench.escaping import safe
from rnnbench.records import Case, Flow, GradientFlow
from rnnbench.report.drawing import draw_curves
from rnnbench.report.panels import INK, Axis, Curve, Panel, Style, styles
from rnnbench.report.ranking import varying_fields
from rnnbench.report.words import MISSING, digits
from rnnbench.results.reading import RunResults

FLOW = "flow"
MOST_LINES = 7
"""Networks in a panel; where there are more, each cell has one of its own."""

BEFORE, AFTER, CLOSED = (0, (5, 2)), "-", (0, (1, 1.6))


@dataclass(frozen=True, slots=True)
class FlowRow:
    """One layer and direction of a network, before or after training; ``reach`` is far ÷ near."""

    network: str
    when: str
    reach: str
    radius: str
    sigmoids: str
    tanhs: str


def flow_panels(results: RunResults) -> tuple[Panel, ...]:
    """‖∂L/∂s‖, k steps back ÷ none, over k: dashed before training, solid after it, dotted in closed form."""
    panels = []
    for number, (title, members) in enumerate(_split(_networks(results))):
        look = styles([name for name, _, _ in members])
        curves = [curve for name, _, flow in members for curve in _curves(name, look[name], flow)]
        if not curves:
            continue
        bases = {flow.closed_form for _, _, flow in members if flow.closed_form is not None}
        longest = max(int(curve.x[-1]) for curve in curves)
        curves += [_closed(base, longest) for base in sorted(bases) if base > 0]
        x, y = Axis("steps back"), Axis("gradient ÷ gradient of the last state", True, show="{:.0e}".format)
        panels.append(draw_curves(f"{FLOW}-{number}", title, _in_words(title, members), curves, x, y))
    return tuple(panels)


def flow_rows(results: RunResults) -> tuple[FlowRow, ...]:
    """Of every network each layer and direction, before and after training."""
    return tuple(
        FlowRow(
            network=f"{title} · {name}" if name else title,
            when=f"{when}, {layer.layer}" if len(layers) > 1 else when,
            reach=digits(_reach(layer)),
            radius=f"{digits(layer.radius_mean)}, at most {digits(layer.radius_max)}",
            sigmoids=_share(layer.sigmoids),
            tanhs=_share(layer.tanhs),
        )
        for title, members in _split(_networks(results))
        for name, _, flow in members
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
    """Panels: the networks of a task and length, or where they are many, of each cell."""
    together: dict[tuple[str, int], list[_Network]] = {}
    for case, flow in networks:
        together.setdefault((case.task, case.length), []).append((case, flow))
    for (task, length), members in together.items():
        title = f"{safe(task, 60)}, T {length}"
        if len(members) <= MOST_LINES:
            yield title, _named(members)
            continue
        for cell in dict.fromkeys(case.cell for case, _ in members):
            yield f"{title}, {safe(cell, 60)}", _named([each for each in members if each[0].cell == cell])


def _named(members: Sequence[_Network]) -> list[_Named]:
    """With what tells them apart."""
    cases = [case for case, _ in members]
    varying = ["cell"] if len({case.cell for case in cases}) > 1 else []
    varying += [name for name in varying_fields(cases) if name != "train"]
    varying += [name for name in ("clip", "window") if len({getattr(case, name) for case in cases}) > 1]
    return [(" ".join(_said(case, name) for name in varying), case, flow) for case, flow in members]


def _said(case: Case, name: str) -> str:
    value = getattr(case, name)
    if name in ("cell", "init"):
        return safe(value, 60)
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


def _closed(base: float, longest: int) -> Curve:
    # below the smallest number there is nothing to draw
    steps = [k for k in range(longest + 1) if base**k > 0]
    return Curve(
        f"{base:.3g}^k", Style(INK, "", CLOSED), tuple(map(float, steps)), tuple(base**k for k in steps)
    )


def _reach(layer: Flow) -> float:
    return layer.gradient[-1] / layer.gradient[0] if layer.gradient and layer.gradient[0] else math.nan


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
