"""docs/cells.md is what the cells say, and keeps what was measured."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import synthetic

from rnnbench.cells import rnnbench_cells
from rnnbench.results import create

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cells_page", ROOT / "scripts" / "cells_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_measures(text: str) -> str:
    return re.sub(r"^Measured.*\n\n?", "", text, flags=re.MULTILINE).rstrip()


def test_the_page_is_what_the_cells_say(script: ModuleType) -> None:
    """Otherwise: python scripts/cells_page.py."""
    assert without_measures(script.PAGE.read_text()) == without_measures(script.page({}, ""))


def test_measured_lines_stay_with_their_cells(script: ModuleType) -> None:
    *_, one, last = [cell.name for cell in rnnbench_cells()]
    lines = {"elman": "Measured: a.", last: "Measured: b."}
    text = script.page(lines, "")
    assert dict(script.MEASURED.findall(text)) == lines
    assert one not in lines


def test_a_run_gives_its_quickest_training_step(script: ModuleType, tmp_path: Path) -> None:
    slow, quick = synthetic.case(backend="torch"), synthetic.case(backend="jax")
    with create(tmp_path / "run", synthetic.run()) as writer:
        for case, seconds in ((slow, 0.02), (quick, 0.0125)):
            writer.record(synthetic.record(case))
            # a step of T steps takes their time and 0.2 ms
            for block in synthetic.blocks(case, (seconds - 2e-4) / case.length, spread=0.0):
                writer.block(block)
    lines, machine = script.measure(tmp_path / "run")
    assert list(lines) == [quick.cell]
    assert "12.5 ms, of jax" in lines[quick.cell]
    assert machine.startswith("Measured on ")
