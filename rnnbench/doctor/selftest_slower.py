"""The plugin of the slower side of the self-test: one more time step for every twenty."""

from __future__ import annotations

from collections.abc import Sequence

from rnnbench.contracts import Backend
from rnnbench.doctor.selftest_plugin import EVERY, SelfTest
from rnnbench.hookspecs import hookimpl


@hookimpl
def rnnbench_backends() -> Sequence[Backend]:
    """5 % more time steps."""
    return [SelfTest(every=EVERY)]
