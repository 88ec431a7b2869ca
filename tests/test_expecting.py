"""``verify --expect``: unsupported is exactly what the table says, and every difference has a line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rnnbench.cells import rnnbench_cells
from rnnbench.cells.at_once import check_recurrent
from rnnbench.errors import RequestError, Unsupported
from rnnbench.expecting import Row, find_differences, read_table
from rnnbench.measuring.gate import PROBE_LENGTH, PROBE_SIZE
from rnnbench.plugins import FIRST_PARTY, KNOWN, discover
from rnnbench.reference import probe_batch, probe_parameters
from rnnbench.structures import COMPOSED, structures
from rnnbench.verifying import Verdict

CELLS = [cell.name for cell in rnnbench_cells()]
TABLE = Path(__file__).with_name("unsupported.json")
OK = Verdict("torch", "gru", "native", "1 layer, one direction, no lengths", "float64", "ok")
REFUSED = replace(OK, cell="jordan", status="unsupported", reason="torch.nn has no jordan. Use portable")
WINDOWED = replace(REFUSED, cell="gru", structure=f"{OK.structure}, window 3", reason="no window there")
SINGLE = replace(OK, backend="keras-jax", dtype="float32")
DOUBLE = replace(SINGLE, dtype="float64", status="unsupported", reason="casts float64 to float32")
VERDICTS = [OK, REFUSED, WINDOWED, SINGLE, DOUBLE]
ROWS = [
    Row(("torch",), "native", "torch.nn has no", cells=("jordan",)),
    Row(("torch",), "native", "no window", but=("jordan",), structure="window"),
    Row(("keras-torch", "keras-jax"), "native", "casts float64", dtype="float64"),
]


def test_nothing_is_said_where_the_table_is_right() -> None:
    assert find_differences(ROWS, VERDICTS, every=True) == []
    assert find_differences([], [OK], every=True) == []


@pytest.mark.parametrize("missing", range(3))
def test_a_missing_row_is_named_by_what_it_would_be_of(missing: int) -> None:
    rows = [row for number, row in enumerate(ROWS) if number != missing]
    (line,) = find_differences(rows, VERDICTS, every=True)
    refused = (REFUSED, WINDOWED, DOUBLE)[missing]
    place = f"{refused.backend} native {refused.cell} {refused.dtype}, {refused.structure}"
    assert line == f"no row for {place}: {refused.reason}"


def test_rows_that_are_not_true_are_named() -> None:
    every_window = Row(("torch",), "native", "no window", cells=("gru",))
    (line,) = find_differences([*ROWS[:1], every_window, ROWS[2]], VERDICTS, every=True)
    assert line.startswith("row 2 (torch native: no window) is not true of torch native gru float64, 1 layer")
    assert line.endswith(", which is ok")
    again = replace(WINDOWED, status="mismatch")
    (line,) = find_differences(ROWS, [OK, REFUSED, again, again, DOUBLE], every=True)
    assert line.endswith("window 3 (and 1 more of it), which is mismatch")


def test_another_reason_is_a_difference() -> None:
    (line,) = find_differences([replace(ROWS[0], reason="cudnn")], [REFUSED], every=True)
    assert line.startswith("row 1 (torch native: cudnn) has another reason than torch native jordan")
    assert line.endswith(REFUSED.reason)


def test_a_row_of_nothing_is_one_too_many_where_all_was_asked() -> None:
    rows = [*ROWS, Row(("torch",), "native", "no decoder", structure="decoder")]
    assert find_differences(rows, VERDICTS, every=False) == []
    (line,) = find_differences(rows, VERDICTS, every=True)
    assert line == "row 4 (torch native: no decoder) is of nothing that was asked"
    elsewhere = Row(("numpy",), "compiled", "has no compiler")
    assert find_differences([*ROWS, elsewhere], VERDICTS, every=True) == []


def test_what_was_skipped_says_nothing() -> None:
    skipped = [replace(verdict, status="skipped") for verdict in VERDICTS]
    assert find_differences(ROWS, skipped, every=True) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"backends": ["torch"], "implementation": "native", "reason": "x", "why": "y"}]', "row 1, why"),
        ('[{"backends": ["torch"], "implementation": "native", "reason": ""}]', "row 1, reason"),
        (
            '[{"backends": ["torch"], "implementation": "native", "reason": "x", "cells": ["lstn"]}]',
            'row 1: no cell "lstn". Did you mean "lstm"?',
        ),
        ("{", "table.json"),
    ],
)
def test_a_table_is_checked_when_it_is_read(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    file.write_text(text)
    with pytest.raises(RequestError) as raised:
        read_table(file, CELLS)
    assert said in str(raised.value)
    with pytest.raises(RequestError, match="No such file"):
        read_table(tmp_path / "nothing.json", CELLS)


def test_what_backends_do_not_offer_stands_in_the_table() -> None:
    plugins = discover()
    rows = read_table(TABLE, plugins.cells)
    here = [name for name in KNOWN if name in plugins.backends]
    asked = ("native", "portable", "compiled", "scan")
    missing = {
        (backend, cell, implementation)
        for backend in here
        for cell in CELLS
        for implementation in asked
        if implementation not in plugins.implementations_of(backend, cell)
    }
    # of scan the table is silent: cells that are not affine have nothing to ask for
    whole = [row for row in rows if not row.structure and row.dtype is None]
    listed = {
        (backend, cell, implementation)
        for backend in here
        for cell in CELLS
        for implementation in asked
        if any(row.covers(backend, cell, implementation) for row in whole)
    }
    assert {place for place in missing if place[2] != "scan"} == {p for p in listed if p[2] != "scan"}
    for backend in set(here) & set(FIRST_PARTY):
        assert plugins.implementations_of(backend, "lstm")[0] == "native"


def test_what_has_no_step_to_compile_is_refused_in_the_words_of_the_table() -> None:
    cells = {cell.name: cell for cell in rnnbench_cells()}
    (row,) = (
        row
        for row in read_table(TABLE, CELLS)
        if (row.backends, row.implementation, row.structure) == (("torch",), "compiled", "")
    )
    for name in row.cells:
        with pytest.raises(Unsupported) as raised:
            check_recurrent(cells[name], "compiled")
        assert row.reason in str(raised.value)


def test_every_row_of_the_table_is_of_something() -> None:
    named = {backend for row in json.loads(TABLE.read_text()) for backend in row["backends"]}
    assert named == set(KNOWN)
    known = {str(structure) for cell in rnnbench_cells() for structure in structures(cell, every=True)}
    for row in read_table(TABLE, CELLS):
        assert any(row.names(structure) for structure in known), row


def test_composed_cells_share_in_float32_what_each_has_in_float64() -> None:
    cells = {cell.name: cell for cell in rnnbench_cells()}
    shared = [str(each) for name in COMPOSED for each in structures(cells[name], every=True, dtype="float32")]
    whole = [str(structure) for structure in structures(cells["elman"], every=True)]
    assert set(shared) == set(whole)
    assert sorted(set(whole), key=shared.count)[-1] == "2 layers, both, concat, lengths"
    assert len(shared) == len(whole) + len(COMPOSED) - 1


def test_structures_are_distinct_and_what_stands_between_layers_is_among_them() -> None:
    cells = {cell.name: cell for cell in rnnbench_cells()}
    for name in COMPOSED:
        of_cell = structures(cells[name], every=True)
        assert len({str(structure) for structure in of_cell}) == len(of_cell)
        words = ", ".join(map(str, of_cell))
        for wanted in ("residual", "layer norm", "batch norm", "dropout between", "dropout variational",
                       "window 3", "both, sum", "both, concat", "l2", "attention bahdanau"):  # fmt: skip
            assert wanted in words, wanted


@pytest.mark.parametrize("name", [*COMPOSED, "tcn"])
def test_every_structure_is_probed_with_hostile_values(name: str) -> None:
    """No parameter or state is zero, padding is NaN, and something is dropped where a network drops."""
    (cell,) = (cell for cell in rnnbench_cells() if cell.name == name)
    for structure in structures(cell, every=True):
        spec = structure.spec
        batch = probe_batch(cell, spec, PROBE_LENGTH, PROBE_SIZE)
        values = list(probe_parameters(cell, spec).values()) + list((batch.state or {}).values())
        assert all((value != 0).all() and np.unique(value).size == value.size for value in values), structure
        assert np.isnan(batch.inputs).any() == spec.lengths, structure
        if spec.lengths and spec.readout == "each" and spec.decoder is None:
            assert np.isnan(batch.targets).any(), structure
        dropped = (batch.dropout or {}).values()
        assert bool(dropped) == (spec.dropout > 0), structure
        assert all((mask == 0).any() and (mask > 1).any() for mask in dropped), structure
