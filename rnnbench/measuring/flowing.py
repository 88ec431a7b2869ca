"""Gradient flow, from the parent's side: of each network once, for it is the same on every backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from rnnbench.contracts import Cell, NetworkSpec, Parameters, Task
from rnnbench.errors import Unsupported
from rnnbench.gradient_flow import closed_form, measure_flow
from rnnbench.measuring.refusals import Refused, refusing
from rnnbench.records import Case, Flow, GradientFlow
from rnnbench.training import initialise


class Flows:
    """Computes what ``gradient_flow`` records, on the first training batch of the first seed."""

    def __init__(self, cells: Mapping[str, Cell], tasks: Mapping[str, Task]) -> None:
        self._cells, self._tasks = cells, tasks
        self._before: dict[tuple[Any, ...], GradientFlow] = {}

    def before(self, case: Case, spec: NetworkSpec) -> GradientFlow:
        """With the initial parameters. Raises Refused."""
        key = (spec, case.network)
        if key not in self._before:
            with refusing():
                cell = self._cells[case.cell]
                parameters = initialise(cell, spec, case.init, case.forget_bias, 0, case.gain)
                known = closed_form(cell, spec, case.init, case.gain, case.forget_bias)
            self._before[key] = GradientFlow(self._measure(case, spec, parameters), closed_form=known)
        return self._before[key]

    def after(self, case: Case, spec: NetworkSpec, parameters: Mapping[str, np.ndarray]) -> GradientFlow:
        """Also with those that training ended with on ``case``. Raises Refused."""
        after = self._measure(case, spec, parameters)
        return replace(self.before(case, spec), after=after, trained_on=case.key)

    def _measure(self, case: Case, spec: NetworkSpec, parameters: Parameters) -> tuple[Flow, ...]:
        with refusing():
            batch = self._tasks[case.task].prepare(case.length).batch(0, 0, case.batch)
            try:
                return measure_flow(self._cells[case.cell], spec, parameters, batch)
            except Unsupported as unsupported:
                raise Refused("unsupported", str(unsupported)) from None
