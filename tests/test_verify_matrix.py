"""The parity matrix on the real backends: every cell in its hardest structure, for every commit.

In float64, the sharper probe; the plugins' own tests have float32. ``rnnbench verify --all`` runs the whole
matrix.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnbench.cells import rnnbench_cells
from rnnbench.contracts import AffineCell
from rnnbench.expecting import find_differences, read_table
from rnnbench.plugins import FIRST_PARTY, discover
from rnnbench.verifying import verify

pytestmark = [pytest.mark.framework, pytest.mark.slow]

TABLE = Path(__file__).with_name("unsupported.json")


# one test for each, so that they run side by side
@pytest.mark.parametrize("backend", FIRST_PARTY)
def test_backend_computes_every_cell_but_those_of_the_table(backend: str) -> None:
    plugins = discover()
    cells = {cell.name: cell for cell in rnnbench_cells()}
    verdicts = verify(
        plugins,
        backends=[backend],
        cells=list(cells),
        implementations=(),
        every=False,
        dtypes=("float64",),
    )
    assert len(verdicts) == sum(3 if isinstance(cell, AffineCell) else 2 for cell in cells.values())
    assert [verdict for verdict in verdicts if verdict.status not in ("ok", "unsupported")] == []
    assert find_differences(read_table(TABLE, cells), verdicts, every=False) == []
