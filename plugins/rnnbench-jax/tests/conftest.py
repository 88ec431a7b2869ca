from __future__ import annotations

from collections.abc import Mapping

import pytest
from rnnbench_jax import JaxBackend

from rnnbench.cells import rnnbench_cells
from rnnbench.contracts import Cell, Session, Settings


@pytest.fixture(scope="session")
def cells() -> Mapping[str, Cell]:
    return {cell.name: cell for cell in rnnbench_cells()}


@pytest.fixture(scope="session")
def sessions(cells: Mapping[str, Cell]) -> Mapping[str, Session]:
    """By dtype. One process has one x64: float32 is tested under it, where an upcast would show."""
    pytest.importorskip("jax")
    backend = JaxBackend()
    return {
        dtype: backend.open(Settings(dtype=dtype, optimize=False), cells) for dtype in ("float64", "float32")
    }
