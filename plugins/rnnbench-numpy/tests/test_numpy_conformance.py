"""Every built-in cell and structure, native and portable, in both precisions, against the reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rnnbench_numpy.backend import NumpyBackend

from rnnbench.choices import Merge
from rnnbench.contracts import NetworkSpec, Session, Settings
from rnnbench.testing import CELLS, RECURRENT, conformance_specs, parity_of, step_parity_of

PAIRS = [(name, way) for name, cell in CELLS.items() for way in NumpyBackend().implementations(cell)]
SPECS = [spec for cell in CELLS.values() for spec in conformance_specs(cell)]
NATIVE = [spec for spec in SPECS if (spec.cell, "native") in PAIRS]
DTYPES = ("float32", "float64")
HARD = [
    spec
    for spec in SPECS
    if spec.lengths and spec.layers == 2 and (spec.bidirectional == "concat" or spec.cell not in RECURRENT)
]
EXPLODING = "elman_linear"
"""Nothing bounds it: over many steps, and after three steps of training in float32, it overflows."""


@pytest.fixture(scope="module")
def sessions() -> dict[str, Session]:
    return {
        "float32": NumpyBackend().open(Settings(dtype="float32"), CELLS),
        "float64": NumpyBackend().open(Settings(dtype="float64"), CELLS),
    }


def test_every_built_in_cell_is_portable_and_some_are_derived_by_hand() -> None:
    assert {name for name, way in PAIRS if way == "portable"} == set(CELLS)
    assert {
        "elman", "elman_relu", "elman_sigmoid", "elman_leaky_relu", "elman_hard_sigmoid", "lstm", "gru",
        "gru_reset_before",
    } <= {name for name, way in PAIRS if way == "native"}  # fmt: skip
    assert NumpyBackend().implementations(CELLS["elman_gelu"]) == ("portable",)


# float64 is the sharper probe: every structure takes it, the hardest ones float32 too
@pytest.mark.parametrize(
    ("dtype", "spec"),
    [("float64", spec) for spec in NATIVE] + [("float32", spec) for spec in NATIVE if spec in HARD],
    ids=str,
)
def test_native_is_the_reference(sessions: dict[str, Session], dtype: str, spec: NetworkSpec) -> None:
    parity = parity_of(sessions[dtype], CELLS[spec.cell], spec, "native", dtype)
    assert parity.passed, parity.worst


@pytest.mark.parametrize(
    ("dtype", "spec"),
    [(dtype, spec) for dtype in DTYPES for spec in HARD if (dtype, spec.cell) != ("float32", EXPLODING)],
    ids=str,
)
def test_portable_is_the_reference(sessions: dict[str, Session], dtype: str, spec: NetworkSpec) -> None:
    parity = parity_of(sessions[dtype], CELLS[spec.cell], spec, "portable", dtype)
    assert parity.passed, parity.worst


@pytest.mark.parametrize(("cell", "implementation"), [pair for pair in PAIRS if pair[0] in RECURRENT])
@pytest.mark.parametrize("dtype", DTYPES)
def test_repeated_steps_are_the_whole(
    sessions: dict[str, Session], dtype: str, cell: str, implementation: str
) -> None:
    spec = NetworkSpec(cell, 3, 5, 4, "each", "mse", layers=2)
    for each in (spec, replace(spec, readout="last", lengths=True), replace(spec, vocab=11)):
        parity = step_parity_of(sessions[dtype], CELLS[cell], each, implementation, dtype)
        assert parity.passed, (each, parity)


@pytest.mark.parametrize(("cell", "implementation"), [pair for pair in PAIRS if pair[0] != EXPLODING])
@pytest.mark.parametrize("dtype", DTYPES)
def test_longer_and_wider(sessions: dict[str, Session], dtype: str, cell: str, implementation: str) -> None:
    merge: Merge = "sum" if cell in RECURRENT else "none"
    spec = NetworkSpec(cell, 6, 9, 3, "each", "cross_entropy", 2, merge, lengths=True)
    parity = parity_of(sessions[dtype], CELLS[cell], spec, implementation, dtype, length=40, size=7, seed=3)
    assert parity.passed, parity.worst
