"""``ci``: two revisions of the project here, measured in turns; verdict.json whatever happens."""

from __future__ import annotations

import json as jsonlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnbench.ci.gating import Effort, measure, plan_sides, project_plugins
from rnnbench.ci.revising import Revisions, both_sides
from rnnbench.cli.comparing import show
from rnnbench.cli.console import open_console, say, say_error
from rnnbench.cli.measuring import Request
from rnnbench.cli.progress import Shown
from rnnbench.compare.outcome import FAIL_ON, Comparison
from rnnbench.compare.writing import FORMAT, NAME, write
from rnnbench.errors import RequestError, RnnbenchError, nearest
from rnnbench.exporting.summary import summary
from rnnbench.results import open_run
from rnnbench.running import default_folder
from rnnbench.suite.loading import Suite, load_suite


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of ``ci``."""

    revisions: Revisions
    fail_on: tuple[str, ...] = ()
    out: Path | None = None
    json: bool = False


def ci(
    name: str, request: Request, asked: Asked, *, command: Sequence[str], effort: Effort | None = None
) -> int:
    """Measure, print the verdicts, write verdict.json and return the exit status."""
    folder = asked.out or default_folder(f"ci-{Path(name).stem}")
    if (folder / NAME).exists():
        raise RequestError(f"holds a {NAME} already. Name another folder with --out.", where=str(folder))
    try:
        for word in asked.fail_on:
            if word not in FAIL_ON:
                raise RequestError(f'no verdict "{word}". {nearest(word, FAIL_ON)}', where="--fail-on")
        return _measured(load_suite(name), request, asked, folder, command, effort or Effort())
    except KeyboardInterrupt:
        _write_error(folder, 130, "interrupted")
        say_error("interrupted; nothing is decided")
        return 130
    except RequestError as error:
        _write_error(folder, 2, str(error))
        raise
    except Exception as error:
        _write_error(folder, 1, str(error) if isinstance(error, RnnbenchError) else repr(error))
        raise


def _measured(
    suite: Suite, request: Request, asked: Asked, folder: Path, command: Sequence[str], effort: Effort
) -> int:
    console = open_console(stderr=asked.json)
    with (
        both_sides(asked.revisions, request.plugin_files, Path.cwd()) as sides,
        project_plugins(sides) as plugins,
    ):
        planned = plan_sides(suite, sides, plugins, request.overrides)
        cases = f"{len(planned.cases)} cases; results go to {folder}"
        opening = f"{' against '.join(reversed(sides.sources))}: {cases}"
        total = len(planned.cases) + len(planned.refused)
        with Shown(console, total, opening) as progress:
            found = measure(
                planned,
                plugins,
                sides,
                progress,
                folder=folder,
                command=["rnnbench", *command],
                effort=effort,
            )
    content = write(found, folder / NAME, asked.fail_on)
    _summarize(folder, found)
    code = found.exit_code(asked.fail_on)
    if asked.json:
        print(content.decode(), end="")
    else:
        show(console, found, code)
        say(console, f"verdict: {folder / NAME}")
    return code


def _summarize(folder: Path, found: Comparison) -> None:
    """Where a step of GitHub Actions says what it shows, the verdicts are appended there."""
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if not file:
        return
    try:
        with Path(file).open("ab") as shown:
            shown.write(summary(open_run(folder), found))
    except OSError as refused:
        say_error(f"GITHUB_STEP_SUMMARY: {file} cannot be written: {refused.strerror}")


def _write_error(folder: Path, code: int, said: str) -> None:
    """A verdict without rows: a workflow that reads the file sees why there is none."""
    content = {"format": FORMAT, "exit": code, "error": said}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NAME).write_text(jsonlib.dumps(content) + "\n", encoding="utf-8")
    except OSError as refused:
        say_error(f"{folder / NAME} cannot be written: {refused.strerror}")
