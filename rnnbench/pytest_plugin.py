"""``pytest --rnnbench suites/quick.yaml``: each case of a suite is a test, and its gate the assertion.

pytest loads this module in every project that has rnnbench installed: without ``--rnnbench`` it does nothing
and imports nothing of rnnbench. Frameworks live in workers here as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rnnbench.planning.plan import Plan
    from rnnbench.proving import Prover
    from rnnbench.records import Case, Record

_SUFFIXES = (".yaml", ".yml")
_NOT_HERE = ("skipped", "unsupported")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two options in a group of their own."""
    group = parser.getgroup("rnnbench")
    group.addoption(
        "--rnnbench",
        action="store_true",
        help="Collect YAML files that are named on the command line as suites of rnnbench: a test per case.",
    )
    group.addoption(
        "--rnnbench-plugin",
        action="append",
        default=[],
        metavar="FILE.py",
        help="Load a plugin of rnnbench from a file, as rnnbench --plugin does.",
    )


def pytest_collection(session: pytest.Session) -> None:
    """Plan the suites before anything is collected: a wrong one is a wrong command line."""
    config = session.config
    if not config.getoption("rnnbench"):
        return
    from rnnbench.errors import RnnbenchError

    floor = _Floor(tuple(config.getoption("rnnbench_plugin")))
    config.stash[_FLOOR] = floor
    for argument in config.args:
        path = config.invocation_params.dir / argument.split("::")[0]
        if path.suffix in _SUFFIXES:
            try:
                floor.take(path)
            except RnnbenchError as error:
                raise pytest.UsageError(str(error)) from None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Only files that were named: a folder may hold all kinds of YAML."""
    floor = parent.config.stash.get(_FLOOR, None)
    if floor is None or file_path.resolve() not in floor.planned:
        return None
    collector: pytest.Collector = SuiteFile.from_parent(parent, path=file_path)
    return collector


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """End the workers; after Ctrl-C without waiting for what they do."""
    floor = session.config.stash.get(_FLOOR, None)
    if floor is not None:
        interrupted = KeyboardInterrupt() if exitstatus == pytest.ExitCode.INTERRUPTED else None
        floor.opened.__exit__(type(interrupted) if interrupted else None, interrupted, None)


class SuiteFile(pytest.File):
    """A suite, as the file in which its cases stand."""

    def collect(self) -> Iterator[pytest.Item]:
        """A test per case, refused ones included: they are skipped or fail with their reason."""
        from rnnbench.escaping import safe
        from rnnbench.records import Record

        plan = self.config.stash[_FLOOR].planned[self.path.resolve()]
        for case in plan.cases:
            yield CaseTest.from_parent(self, name=safe(case.key), case=case)
        for refused in plan.refused:
            done = Record(refused.case, refused.status, refused.reason)
            yield CaseTest.from_parent(self, name=safe(refused.case.key), case=refused.case, done=done)


class CaseTest(pytest.Item):
    """A case. ``done``: the plan knows already what comes of it."""

    def __init__(self, *, case: Case, done: Record | None = None, **rest: Any) -> None:
        super().__init__(**rest)
        self._case, self._done = case, done

    def runtest(self) -> None:
        """Build the case in its worker and hold it to the float64 reference."""
        from rnnbench.escaping import safe

        floor = self.config.stash[_FLOOR]
        record = self._done or floor.prover(self.path.resolve()).prove(self._case)
        if record.parity is not None:
            quantity, ratio = max(record.parity.worst.items(), key=lambda item: (item[1] != item[1], item[1]))
            self.user_properties.append(("worst error / tolerance", f"{ratio:.3g} ({quantity})"))
        if record.path:
            self.user_properties.append(("path", record.path))
        said = f"{record.status}: {safe(record.reason)}"
        if record.status in _NOT_HERE:
            pytest.skip(said)
        if record.status != "ok":
            raise CaseFailed(said)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The reason; a traceback through rnnbench would say nothing of the case."""
        if isinstance(excinfo.value, CaseFailed):
            return f"{self.name}\n{excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """The suite's file has no line for a case."""
        return self.path, None, self.name


class CaseFailed(Exception):
    """What came of a case that should have passed: its status and reason."""


@dataclass
class _Floor:
    """The suites of this session and their workers, which start with the first test that needs one."""

    plugin_files: tuple[str, ...]
    planned: dict[Path, Plan] = field(default_factory=dict)
    opened: ExitStack = field(default_factory=ExitStack)
    provers: dict[Path, Prover] = field(default_factory=dict)

    def take(self, path: Path) -> None:
        from rnnbench.planning.plan import check, needs_devices, plan
        from rnnbench.plugins import discover
        from rnnbench.running import ask_devices
        from rnnbench.suite.loading import load_suite

        suite = load_suite(path)
        plugins = discover(self.plugin_files)
        devices = ask_devices(plugins, self.plugin_files)[0] if needs_devices(suite) else None
        self.planned[path.resolve()] = check(plan(suite, plugins, devices=devices))

    def prover(self, path: Path) -> Prover:
        from rnnbench.plugins import discover
        from rnnbench.proving import Prover

        if path not in self.provers:
            prover = Prover(self.planned[path], discover(self.plugin_files), self.plugin_files)
            self.provers[path] = self.opened.enter_context(prover)
        return self.provers[path]


_FLOOR = pytest.StashKey[_Floor]()
