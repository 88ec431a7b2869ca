"""The command line with a short protocol and without the page's libraries: for tests that start many runs.

Variables: RNNBENCH_TEST_LIMIT_S is a case's time limit; RNNBENCH_TEST_PAGE=1 writes the real page;
RNNBENCH_TEST_FILE_BYTES is the size that no file may pass; RNNBENCH_TEST_SIGNAL=gate:SIGINT sends itself a
signal there; RNNBENCH_TEST_READY is a file that is made when all is imported.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from rnnbench import running
from rnnbench.cli import main
from rnnbench.measuring import gate, replies, scoring
from rnnbench.measuring.stations import Protocol

SIGNALLED = {"gate": (gate.Gate, "check"), "training": (scoring, "_steps")}


def stub(name: str, **functions: Any) -> None:
    module = ModuleType(name)
    vars(module).update(functions)
    sys.modules[name] = module


def write(results: Any, folder: Path, *options: Any) -> Path:
    (folder / "report.html").write_text("page")
    return folder / "report.html"


def signal_at(place: str, name: str) -> None:
    """Send this process the signal ``name`` when it first comes to ``place``."""
    owner: Any
    if place == "page":
        from rnnbench.report import page

        owner, attribute = page, "figures_of"
    else:
        owner, attribute = SIGNALLED[place]
    called = getattr(owner, attribute)

    def signalled(*arguments: Any, **options: Any) -> Any:
        setattr(owner, attribute, called)
        os.kill(os.getpid(), signal.Signals[name])
        return called(*arguments, **options)

    setattr(owner, attribute, signalled)


limit_s = float(os.environ.get("RNNBENCH_TEST_LIMIT_S", "60"))
running.Protocol = partial(Protocol, block_s=1e-3, warm_s=1e-3, case_limit_s=limit_s)  # type: ignore[misc,assignment]
replies._READ_LIMIT_S = 1.0
if "RNNBENCH_TEST_PAGE" not in os.environ:
    stub("rnnbench.report.page", write=write)
    stub("rnnbench.report.terminal", table=lambda *results: "table")
    stub("rnnbench.results.exporting", export=lambda results, format: b"")
if "RNNBENCH_TEST_FILE_BYTES" in os.environ:
    import resource

    largest = int(os.environ["RNNBENCH_TEST_FILE_BYTES"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
if "RNNBENCH_TEST_SIGNAL" in os.environ:
    signal_at(*os.environ["RNNBENCH_TEST_SIGNAL"].split(":"))
if "RNNBENCH_TEST_READY" in os.environ:
    Path(os.environ["RNNBENCH_TEST_READY"]).touch()
main()
