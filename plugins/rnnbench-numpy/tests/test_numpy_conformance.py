"""Every built-in cell and structure, native and portable, in both precisions, against the reference."""

from __future__ import annotations

import pytest
from rnnbench_numpy.backend import NumpyBackend

from rnnbench.cells import rnnbench_cells
from rnnbench.contracts import Cell, NetworkSpec, Session, Settings
from rnnbench.testing import conformance_specs, parity_of

CELLS = {cell.name: cell for cell in rnnbench_cells()}
SPECS = [spec for cell in CELLS.values() for spec in conformance_specs(cell)]
HARD = [spec for spec in SPECS if spec.lengths and spec.layers == 2 and spec.bidirectional == "concat"]


@pytest.fixture(scope="module", params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def session(dtype: str) -> Session:
    return NumpyBackend().open(Settings(dtype=dtype), CELLS)  # type: ignore[arg-type]


def test_every_built_in_cell_has_both_implementations() -> None:
    assert {NumpyBackend().implementations(cell) for cell in CELLS.values()} == {("native", "portable")}


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_native_is_the_reference(session: Session, dtype: str, spec: NetworkSpec) -> None:
    parity = parity_of(session, CELLS[spec.cell], spec, "native", dtype)
    assert parity.passed, parity.worst


@pytest.mark.parametrize("spec", HARD, ids=str)
def test_portable_is_the_reference(session: Session, dtype: str, spec: NetworkSpec) -> None:
    parity = parity_of(session, CELLS[spec.cell], spec, "portable", dtype)
    assert parity.passed, parity.worst


@pytest.mark.parametrize("cell", CELLS.values(), ids=lambda cell: cell.name)
@pytest.mark.parametrize("implementation", ["native", "portable"])
def test_longer_and_wider(session: Session, dtype: str, cell: Cell, implementation: str) -> None:
    spec = NetworkSpec(cell.name, 6, 9, 3, "each", "cross_entropy", 2, "sum", lengths=True)
    parity = parity_of(session, cell, spec, implementation, dtype, length=40, size=7, seed=3)
    assert parity.passed, parity.worst
