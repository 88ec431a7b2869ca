"""``describe``: a cell and a network of it, on paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic_core import to_json

from rnnbench.cli.console import open_console, say, tabulate
from rnnbench.cli.measuring import discover_plugins
from rnnbench.contracts import NetworkSpec
from rnnbench.describing import Description, describe
from rnnbench.errors import RequestError, nearest
from rnnbench.offers import Offers, offers_of


def describe_cell(spec: NetworkSpec, *, plugin_files: Sequence[Path], json: bool) -> None:
    """Print the equations, a summary of the network, and what each backend runs it with."""
    plugins, name = discover_plugins(plugin_files), spec.cell
    if name not in plugins.cells:
        raise RequestError(f'no cell "{name}". {nearest(name, plugins.cells)}', where="CELL")
    described = describe(plugins.cells[name], spec)
    backends = _backends(offers_of(plugins), name)
    if spec.decoder is not None:
        # a decoder is run by nothing else
        backends = {backend: ["portable"] for backend, names in backends.items() if "portable" in names}
    if json:
        fields = {**asdict(described), "parameters": described.parameters, "backends": backends}
        print(to_json(fields).decode())
        return
    _show(described, backends)


def _backends(offers: Offers, cell: str) -> dict[str, list[str]]:
    """Backend -> implementations of the cell, the one that runs unless told otherwise first."""
    return {
        name: list(offer.implementations.get(cell, ()))
        for name, offer in offers.backends.items()
        if offer.version is not None
    }


def _show(described: Description, backends: dict[str, list[str]]) -> None:
    console = open_console()
    say(console, f"{described.cell}: {described.paper}")
    for line in described.equations:
        say(console, f"  {line}")
    say(
        console,
        f"gates {', '.join(described.gates) or 'none'}; one sequence: state {described.state_bytes:,} bytes "
        f"in float32, {described.step_flops:,} FLOPs of matrix products per time step",
    )
    if described.pair_flops:
        pair, half = described.pair_flops, described.pair_flops // 2
        say(
            console,
            f"attention: {pair:,} FLOPs for each step and each that it reads, {half:,} T (T + 1) for T steps",
        )
    if described.decoder_flops is not None:
        more = described.decoder_flops
        say(
            console,
            f"decoder: {more.target:,} FLOPs for each step of the answer, {more.source:,} for each of the "
            f"source, {more.pair:,} for each pair of both",
        )
    rows = [(part.name, part.output, f"{part.parameters:,}") for part in described.parts]
    rows.append(("total", "", f"{described.parameters:,}"))
    console.print(tabulate(("layer", "output", "parameters"), rows, right=("parameters",)))
    shapes = ((name, " × ".join(map(str, shape))) for name, shape in described.shapes.items())
    console.print(tabulate(("parameter", "shape"), shapes))
    for own in described.own_counts:
        say(console, f"{own.framework} counts {own.parameters:,} in its layers: {own.reason}")
    for backend, names in backends.items():
        say(console, f"{backend} runs {names[0]}; also {', '.join(names[1:]) or 'nothing else'}")
