"""Batch norms on every backend against the reference: few structures, for each is compiled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnbench.contracts import NetworkSpec, Settings
from rnnbench.plugins import FIRST_PARTY, discover
from rnnbench.testing import CELLS, parity_of

BACKENDS = [
    name if name == "numpy" else pytest.param(name, marks=pytest.mark.framework) for name in FIRST_PARTY
]
EACH = NetworkSpec("gru", 3, 5, 4, "each", "mse", lengths=True, norm="batch")
LAST = replace(EACH, readout="last", layers=2, bidirectional="concat", residual=True, dropout=0.3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_statistics_of_the_batch_in_training_and_running_ones_else(backend: str) -> None:
    session = discover().backends[backend].open(Settings(dtype="float64", optimize=False), CELLS)
    asked = [("portable", EACH), ("native", LAST)]
    if backend in ("numpy", "torch"):  # of the others both are one function, and each costs a compilation
        asked.append(("native", replace(LAST, lengths=False, readout="each", bidirectional="sum")))
    found = {
        (implementation, spec): parity_of(session, CELLS["gru"], spec, implementation, "float64").worst
        for implementation, spec in asked
    }
    assert {key: worst for key, worst in found.items() if max(worst.values()) > 1} == {}
    assert all("trained outputs" in worst for worst in found.values())
