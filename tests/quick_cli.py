"""The command line with a short protocol and without the page's libraries: for tests that start many runs.

RNNBENCH_TEST_LIMIT_S is a case's time limit; RNNBENCH_TEST_PAGE=1 writes the real page.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from rnnbench import running
from rnnbench.cli import main
from rnnbench.measuring.stations import Protocol


def stub(name: str, **functions: Any) -> None:
    module = ModuleType(name)
    vars(module).update(functions)
    sys.modules[name] = module


def write(results: Any, folder: Path, unranked: Any) -> Path:
    (folder / "report.html").write_text("page")
    return folder / "report.html"


limit_s = float(os.environ.get("RNNBENCH_TEST_LIMIT_S", "60"))
running.Protocol = partial(Protocol, block_s=1e-3, warm_s=1e-3, case_limit_s=limit_s)  # type: ignore[misc,assignment]
if "RNNBENCH_TEST_PAGE" not in os.environ:
    stub("rnnbench.report.page", write=write)
    stub("rnnbench.report.terminal", table=lambda results, unranked: "table")
    stub("rnnbench.results.exporting", export=lambda results, format: b"")
main()
