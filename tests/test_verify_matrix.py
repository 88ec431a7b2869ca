"""The parity matrix on the real backends: every cell in its hardest structure, for every commit.

In float64, the sharper probe; the plugins' own tests have float32. ``rnnbench verify --all`` runs the whole
matrix.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rnnbench.cells import rnnbench_cells
from rnnbench.plugins import FIRST_PARTY, discover
from rnnbench.verifying import verify

pytestmark = [pytest.mark.framework, pytest.mark.slow]

TABLE = Path(__file__).parent / "unsupported.json"


def test_every_backend_computes_every_cell_but_those_of_the_table() -> None:
    plugins = discover()
    built_in = [name for name, cell in plugins.cells.items() if type(cell).__module__.startswith("rnnbench.")]
    verdicts = verify(
        plugins,
        backends=FIRST_PARTY,
        cells=built_in,
        implementations=(),
        every=False,
        dtypes=("float64",),
    )
    affine = {"mingru", "minlstm", "qrnn", "lru", "strongly_typed"}
    asked = sum(3 if name in affine else 2 for name in built_in)
    assert len(verdicts) == len(FIRST_PARTY) * asked
    bad = [verdict for verdict in verdicts if verdict.status not in ("ok", "unsupported")]
    assert bad == []
    unsupported = {(v.backend, v.cell, v.implementation) for v in verdicts if v.status == "unsupported"}
    assert unsupported == {row for row in listed() if row[2] != "compiled"}


def test_compiled_is_offered_but_where_the_table_says_otherwise() -> None:
    """Its parity is in the plugins' own tests: a cell takes torch half a minute."""
    plugins = discover()
    cells = [name for name, cell in plugins.cells.items() if type(cell).__module__.startswith("rnnbench.")]
    missing = {
        (backend, cell, "compiled")
        for backend in FIRST_PARTY
        for cell in cells
        if "compiled" not in plugins.implementations_of(backend, cell)
    }
    assert missing == {row for row in listed() if row[2] == "compiled"}
    for backend in FIRST_PARTY:
        assert plugins.implementations_of(backend, "lstm")[0] == "native"


def listed() -> set[tuple[str, str, str]]:
    """(backend, cell, implementation) of every row; "all" stands for all cells that ship with rnnbench."""
    shipped = [cell.name for cell in rnnbench_cells()]
    return {
        (row["backend"], cell, row["implementation"])
        for row in json.loads(TABLE.read_text())
        for cell in (shipped if row["cells"] == "all" else row["cells"])
    }
