"""``list``, ``verify``, ``export``, ``init`` and ``schema``: nothing here is timed."""

from __future__ import annotations

import json as jsonlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic_core import to_json
from rich.console import Console

from rnnbench.choices import Dtype
from rnnbench.cli.console import open_console, say, say_error, tabulate
from rnnbench.cli.measuring import discover_plugins, write_new
from rnnbench.errors import RequestError, nearest
from rnnbench.escaping import safe
from rnnbench.offers import offers_of
from rnnbench.planning.checks import known_implementations
from rnnbench.plugins import Plugins, availability, discover

if TYPE_CHECKING:
    from rnnbench.results.reading import RunResults
    from rnnbench.verifying import Verdict

_HEADINGS = {
    "parameters (I=64, H=128)": "parameters",
    "parallel over time": "parallel",
}


def list_(what: str, plugin_files: Sequence[Path], *, json: bool) -> None:
    """Print what there is."""
    if what == "suites":
        rows = _suites()
    else:
        # the table of backends names the broken ones
        plugins = discover(plugin_files) if what == "backends" else discover_plugins(plugin_files)
        rows = {"backends": _backends, "cells": _cells, "tasks": _tasks}[what](plugins, plugin_files)
    if json:
        print(jsonlib.dumps(rows))
        return
    # papers, files and the names of all backends are long; eighty columns are not
    table = [{key: row[key] for key in row if key not in ("paper", "plugin")} for row in rows]
    if what == "cells":  # on how many backends
        table = [{**row, "native on": len(row["native on"])} for row in table]
    table = table or [{what: "nothing"}]
    headings = [_HEADINGS.get(key, key) for key in table[0]]
    rows_of_text = ([_field(value) for value in row.values()] for row in table)
    # a cell's name is what one types; other names may be as long as a path
    whole = ("cell", "parameters", "parallel") if what == "cells" else ()
    open_console().print(tabulate(headings, rows_of_text, whole=whole))


def verify(
    every: bool,
    *,
    cells: Sequence[str],
    backends: Sequence[str],
    implementations: Sequence[str],
    dtypes: Sequence[str],
    expect: Path | None,
    plugin_files: Sequence[Path],
    json: bool,
) -> int:
    """Run the gate and return the exit status: 6 for a mismatch, a failure, or a difference to ``expect``."""
    from rnnbench.expecting import find_differences, read_table
    from rnnbench.verifying import verify as verify_all

    plugins = discover_plugins(plugin_files)
    every_dtype: tuple[Dtype, ...] = get_args(Dtype)
    chosen_dtypes = _known("--dtype", dtypes, every_dtype[::-1])
    rows = None if expect is None else read_table(expect, plugins.cells)
    chosen_cells = _known("--cell", cells, plugins.cells)
    chosen_backends = _known("--backend", backends, plugins.backends)
    _known("--implementation", implementations, known_implementations([offers_of(plugins)]))
    console = open_console(stderr=True)
    verdicts = verify_all(
        plugins,
        backends=chosen_backends,
        cells=chosen_cells,
        implementations=implementations,
        every=every,
        dtypes=[name for name in every_dtype[::-1] if name in chosen_dtypes],
        plugin_files=[str(file) for file in plugin_files],
        note=lambda text: say(console, text, style="dim"),
    )
    bad = [v for v in verdicts if v.status not in ("ok", "unsupported", "skipped")]
    if json:
        print(to_json([asdict(verdict) for verdict in verdicts], inf_nan_mode="strings").decode())
    else:
        _show_verdicts(open_console(), verdicts, bad)
    differences = [] if rows is None else find_differences(rows, verdicts, every=every and not dtypes)
    for difference in differences:
        say_error(f"{expect}: {difference}")
    return 6 if bad or differences else 0


def export(runs: Sequence[Path], format: str, out: Path | None) -> None:
    """Write runs in a format of ``rnnbench.exporting``."""
    from rnnbench.exporting import FILES, check_format
    from rnnbench.exporting import export as write_export
    from rnnbench.results import open_run
    from rnnbench.results.reading import BLOCKS, RECORDS, RUN

    folders = choose_runs(runs)
    check_format(format, len(folders))
    file = out or folders[-1] / FILES[format]
    if file.name in (RUN, RECORDS, BLOCKS) and (file.parent / RUN).exists():
        raise RequestError("holds what was measured and is never overwritten", where=str(file))
    opened = [open_run(folder) for folder in folders]
    for folder, results in zip(folders, opened, strict=True):
        name_problems(folder, results)
    write_export(opened, format, file)
    print(safe(file))


def name_problems(folder: Path, results: RunResults) -> None:
    """Say what of a run was not read."""
    for problem in results.problems:
        say_error(f"{folder}: {problem}")


def init(file: Path, csv: Path | None, target: str) -> None:
    """Write a first suite."""
    from rnnbench.suite.starting import starter

    write_new(file, starter(csv=csv, target=target or None, file=file))
    name = safe(file)
    print(f"Wrote {name}. Look at it, then: rnnbench plan {name}; rnnbench run {name}")


def schema() -> None:
    """Print the JSON Schema."""
    from rnnbench.suite.schema import schema as of_suites

    print(jsonlib.dumps(of_suites(), indent=2, ensure_ascii=False))


def _suites() -> list[dict[str, Any]]:
    from rnnbench.suite.loading import load_suite, shipped_suites

    return [
        {"suite": name, "about": load_suite(name).about, "file": str(file)}
        for name, file in shipped_suites().items()
    ]


def _backends(plugins: Plugins, plugin_files: Sequence[Path]) -> list[dict[str, Any]]:
    from rnnbench.plugins import KNOWN, distribution_of
    from rnnbench.running import ask_devices

    devices, reasons = ask_devices(plugins, [str(file) for file in plugin_files])
    rows = []
    for name, backend in plugins.backends.items():
        version, _ = availability(backend)
        row = {"backend": name, "version": version or "", "devices": list(devices.get(name, ()))}
        rows.append(
            {**row, "plugin": _origin(plugins, "backend", name), "unavailable": reasons.get(name, "")}
        )
    broken = {plugin.name: f"{plugin.distribution} is broken: {plugin.reason}" for plugin in plugins.broken}
    absent = {
        name: f"not installed. Install it with: pip install {distribution_of(name)}"
        for name in KNOWN
        if name not in plugins.backends and name not in broken
    }
    for name, reason in {**broken, **absent}.items():
        rows.append({"backend": name, "version": "", "devices": [], "plugin": "", "unavailable": reason})
    return rows


def _cells(plugins: Plugins, plugin_files: Sequence[Path]) -> list[dict[str, Any]]:
    from rnnbench.contracts import AffineCell, SequenceCell, Sizes
    from rnnbench.describing import parameter_count, year_of

    def row(name: str) -> dict[str, Any]:
        cell = plugins.cells[name]
        sizes = Sizes(64, 128)
        return {
            "cell": name,
            "year": year_of(cell),
            "gates": list(cell.gates),
            "states": list(cell.state_shapes(sizes)),
            "parameters (I=64, H=128)": parameter_count(cell, sizes),
            "parallel over time": "yes" if isinstance(cell, (AffineCell, SequenceCell)) else "no",
            "native on": [b for b in plugins.backends if "native" in plugins.implementations_of(b, name)],
            "paper": cell.paper,
            "plugin": _origin(plugins, "cell", name),
        }

    return [row(name) for name in plugins.cells]


def _tasks(plugins: Plugins, plugin_files: Sequence[Path]) -> list[dict[str, Any]]:
    return [
        {"task": name, "about": task.about, "ranked": task.ranked, "plugin": _origin(plugins, "task", name)}
        for name, task in plugins.tasks.items()
    ]


def _origin(plugins: Plugins, kind: str, name: str) -> str:
    return str(plugins.origins.get((kind, name), ""))


def _known(option: str, given: Sequence[str], allowed: Any) -> list[str]:
    for name in given:
        if name not in allowed:
            raise RequestError(f'no such name: "{name}". {nearest(name, allowed)}', where=option)
    return list(given) or list(allowed)


def choose_runs(runs: Sequence[Path]) -> list[Path]:
    """The runs that are named, else the newest one in ./results that can be read."""
    from rnnbench.results import find_runs, read_run

    if runs:
        return find_runs(runs)
    started: dict[Path, str] = {}
    for folder in find_runs([Path("results")]):
        try:
            started[folder] = read_run(folder).started
        except RequestError as error:
            say_error(str(error))
    if not started:
        raise RequestError("no run here can be read; name one", where="results")
    return [max(started, key=lambda folder: started[folder])]


def _show_verdicts(console: Console, verdicts: Sequence[Verdict], bad: Sequence[Verdict]) -> None:
    headings = ("backend", "cell", "implementation", "dtype", "structures", "worst error ÷ tolerance")
    rows = []
    for key in dict.fromkeys((v.backend, v.cell, v.implementation, v.dtype) for v in verdicts):
        of_key = [v for v in verdicts if (v.backend, v.cell, v.implementation, v.dtype) == key]
        counts = Counter(v.status for v in of_key)
        measured = [(v.worst, v.quantity) for v in of_key if v.worst is not None]
        worst = max(measured, key=lambda it: math.inf if math.isnan(it[0]) else it[0], default=None)
        said = ", ".join(f"{count} {status}" for status, count in counts.items())
        rows.append((*key, said, f"{worst[0]:.2g} ({worst[1]})" if worst else ""))
    console.print(tabulate(headings, rows, right=headings[-2:]))
    for verdict in bad:
        place = f"{verdict.backend} {verdict.cell} {verdict.implementation} {verdict.dtype}"
        say(console, f"{verdict.status}: {place}, {verdict.structure}: {verdict.reason}")
    totals = Counter(verdict.status for verdict in verdicts)
    say(console, ", ".join(f"{count} {status}" for status, count in totals.items()))


def _field(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
