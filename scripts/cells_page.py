"""Writes docs/cells.md: every cell that ships, its equations, its paper, and what a run measured of it.

``python scripts/cells_page.py [RUN]``; RUN is the folder of a run of suites/variants.yaml. Without one the
page keeps the measured lines that it has.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

import rnnbench
from rnnbench.cells import rnnbench_cells
from rnnbench.contracts import AffineCell, Cell, SequenceCell, Sizes
from rnnbench.describing import equations_of, parameter_count, year_of
from rnnbench.results import read_run

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cells.md"
SIZES = Sizes(64, 128)
HEAD = """# The cells

Written by `scripts/cells_page.py` from the cells themselves; `rnnbench list cells` and `rnnbench describe
CELL` say the same of the cells that are installed. x_t W_x stands for a product with every gate's kernel, ⊙
is elementwise, σ the logistic function; I, H and P are the sizes of input, state and projection. Parameters
are of one layer at I = 64, H = 128.

Each cell is proven equal on every backend by `rnnbench verify`, and its own `step` against a source that is
independent of it: another library, a closed form or a second derivation (`tests/test_oracles*.py` and
`tests/test_cells*.py`).
"""
TABLE = """| cell | year | gates | states | parameters | parallel over time |
|---|---|---|---|---|---|
"""
MEASURED = re.compile(r"^## (\w+)$(?:(?!^## ).)*?^(Measured: .*?)$", re.MULTILINE | re.DOTALL)


def page(measured: Mapping[str, str], machine: str) -> str:
    """The whole page; ``measured``: cell -> its line."""
    cells = rnnbench_cells()
    rows = "".join(f"| {' | '.join(_row(cell))} |\n" for cell in cells)
    sections = "\n".join("\n".join(_section(cell, measured.get(cell.name))) for cell in cells)
    return f"{HEAD}\n{machine}{TABLE}{rows}\n{sections}"


def _row(cell: Cell) -> tuple[str, ...]:
    return (
        f"[{cell.name}](#{cell.name})",
        str(year_of(cell)),
        ", ".join(cell.gates) or "–",
        ", ".join(cell.state_shapes(SIZES)) or "–",
        f"{parameter_count(cell, SIZES):,}",
        "yes" if isinstance(cell, (AffineCell, SequenceCell)) else "no",
    )


def _section(cell: Cell, measured: str | None) -> Iterator[str]:
    yield f"## {cell.name}\n"
    yield f"{cell.paper}\n"
    yield "\n".join(("```text", *equations_of(cell), "```")) + "\n"
    if measured:
        yield f"{measured}\n"


def measure(run: Path) -> tuple[dict[str, str], str]:
    """Cell -> its line, and a sentence on the machine, from the records of a run."""
    table = rnnbench.load(run)
    facts = read_run(run)
    lines = {str(cell): line for cell, rows in table.groupby("cell") if (line := _measured(rows))}
    updates = " or ".join(f"{steps:.0f}" for steps in sorted(table.train_steps.dropna().unique()))
    machine = (
        f"Measured on {facts.machine.get('cpu', 'a CPU')}, {facts.started[:10]}, suite `{facts.suite}`, "
        f"trained by {updates} updates.\n\n"
    )
    return lines, machine


def _measured(rows: pd.DataFrame) -> str | None:
    timed = rows[(rows.status == "ok") & rows.train_step_median_s.notna()]
    if timed.empty:
        return None
    best: Any = next(timed.sort_values("train_step_median_s").itertuples())
    said = (
        f"Measured: H = {best.hidden}, T = {best.length}, B = {best.batch}, {best.parameters:,.0f} "
        f"parameters; quickest training step {best.train_step_median_s * 1e3:.3g} ms, of {best.backend} "
        f"{best.implementation}"
    )
    scored = rows[rows.score_mean.notna()]
    if scored.empty:
        return f"{said}."
    score: Any = next(scored.itertuples())
    return (
        f"{said}; {score.metric} on {score.task} {score.score_mean:.3g} ({score.score_min:.3g} to "
        f"{score.score_max:.3g}), {score.trivial_name} {score.trivial:.3g}."
    )


def main() -> None:
    """Write the page."""
    if len(sys.argv) > 1:
        measured, machine = measure(Path(sys.argv[1]))
    else:
        text = PAGE.read_text() if PAGE.exists() else ""
        measured = dict(MEASURED.findall(text))
        machine = "".join(line + "\n\n" for line in re.findall(r"^Measured on .*$", text, re.MULTILINE))
    PAGE.write_text(page(measured, machine))


if __name__ == "__main__":
    main()
