"""The parity gate, from the parent's side: nothing is timed or trained before it has passed.

Two checks: a small probe with hostile values (non-zero states and biases, NaN in the padding,
three SGD steps), once for each distinct structure; and the case's own network on its own batch at
the real shape, in its own dtype, for a kernel may change with size.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from rnnbench.cells.dropout import with_dropout
from rnnbench.contracts import Batch, Cell, NetworkSpec, TaskData
from rnnbench.measuring.process import Worker
from rnnbench.measuring.streaming import first_sequence
from rnnbench.records import Case, Parity
from rnnbench.reference import (
    PROBE_TRAINING,
    Answers,
    compare_answers,
    compare_decoded,
    compare_steps,
    probe_batch,
    probe_parameters,
    reference_answers,
    reference_decoded,
)
from rnnbench.training import initialise

PROBE_LENGTH, PROBE_SIZE = 7, 4


class Gate:
    """Keeps the reference's answers, so that each is computed once for all backends.

    ``computed_s``: wall time that the reference has taken so far, in this process.
    """

    def __init__(self, cells: Mapping[str, Cell]) -> None:
        self._cells = cells
        self._computing = threading.Lock()
        self.computed_s = 0.0
        self._probes: dict[tuple[NetworkSpec, float], tuple[Batch, Answers]] = {}
        self._shapes: dict[tuple[Any, ...], tuple[Batch, Answers]] = {}
        self._passed: dict[tuple[Any, ...], Parity] = {}

    def probe(
        self,
        worker: Worker,
        spec: NetworkSpec,
        implementation: str,
        limit_s: float,
        *,
        steps: bool = False,
        l2: float = 0.0,
    ) -> Parity:
        """The small probe, once per structure, implementation and worker environment.

        ``steps``: the network is also held to computing one time step after the other; ``l2``: its loss has
        the penalty of ``TrainingSpec``.
        """
        key = (worker.key, spec, implementation, steps, l2)
        if key not in self._passed:
            cell = self._cells[spec.cell]
            # `verify` asks several backends at once; the answers are the same for all of them
            with self._computing:
                if (spec, l2) not in self._probes:
                    with self._clocked():
                        parameters = probe_parameters(cell, spec)
                        batch = probe_batch(cell, spec, PROBE_LENGTH, PROBE_SIZE)
                        training = replace(PROBE_TRAINING, l2=l2)
                        expected = reference_answers(cell, spec, parameters, batch, training=training)
                        self._probes[spec, l2] = batch, expected
            batch, expected = self._probes[spec, l2]
            reply = worker.ask(
                "probe",
                limit_s,
                spec=asdict(spec),
                implementation=implementation,
                length=PROBE_LENGTH,
                size=PROBE_SIZE,
                seed=0,
                steps=steps,
                l2=l2,
            )
            reply.pop("path")
            stepped, decoded = reply.pop("stepped", None), reply.pop("decoded", None)
            dtype = worker.key.settings.dtype
            parity = compare_answers(spec, expected, Answers(**reply), batch, dtype)
            if stepped is not None:
                error = compare_steps(spec, expected.outputs, stepped, batch, dtype)
                parity = replace(parity, worst={**parity.worst, "steps": error})
            if spec.decoder is not None:
                greedy = reference_decoded(cell, spec, probe_parameters(cell, spec), batch)
                error = compare_decoded(greedy, decoded, batch, dtype)
                parity = replace(parity, worst={**parity.worst, "decoded": error})
            self._passed[key] = parity
        return self._passed[key]

    def check(
        self, worker: Worker, id: str, case: Case, spec: NetworkSpec, task: TaskData, limit_s: float
    ) -> Parity:
        """One batch at the real shape: outputs, state, loss and gradients of the network ``id``."""
        key = (spec, case.network)
        if key not in self._shapes:
            cell = self._cells[spec.cell]
            with self._clocked():
                parameters = initialise(cell, spec, case.init, case.forget_bias, 0, case.gain)
                batch = with_dropout(cell, spec, task.batch(0, 0, case.batch), 0, 0)
                training = case.train.spec
                expected = reference_answers(cell, spec, parameters, batch, steps=0, training=training)
                self._shapes = {key: (batch, expected)}
        batch, expected = self._shapes[key]
        reply = worker.ask("check", limit_s, id=id, steps="stream" in case.measure)
        stepped = reply.pop("stepped", None)
        given = Answers(**reply, trained=expected.trained)
        parity = compare_answers(spec, expected, given, batch, case.dtype, magnified=expected.magnified)
        if stepped is None:
            return parity
        first = first_sequence(batch)
        outputs = expected.outputs[:1]
        if spec.readout == "each":
            outputs = outputs[:, : first.inputs.shape[1]]
        error = compare_steps(spec, outputs, stepped, first, case.dtype)
        return replace(parity, worst={**parity.worst, "steps": error})

    @contextmanager
    def _clocked(self) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.computed_s += time.monotonic() - start


def join(probe: Parity, check: Parity) -> Parity:
    """Both checks as one outcome: the real shape's quantities are prefixed with "shape "."""
    shaped = {f"shape {name}": ratio for name, ratio in check.worst.items() if name != "parameters"}
    return Parity(dtype=probe.dtype, worst={**probe.worst, **shaped})
