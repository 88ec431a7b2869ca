"""``rnnbench verify``: the parity gate alone, over every cell, backend and implementation.

Backends are asked side by side, one worker for each and dtype, for nothing here is timed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from rnnbench.contracts import Cell, NetworkSpec, Settings
from rnnbench.measuring.gate import Gate
from rnnbench.measuring.workers import Refused, Worker, WorkerDied, WorkerKey, choose_cores
from rnnbench.plugins import Plugins, availability
from rnnbench.records import Status

LIMIT_S = 120.0
Dtype = Literal["float32", "float64"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One structure on one implementation. ``worst``: the largest error / tolerance, of ``quantity``."""

    backend: str
    cell: str
    implementation: str
    structure: str
    dtype: Dtype
    status: Status
    reason: str = ""
    quantity: str = ""
    worst: float | None = None


def structures(cell: Cell, *, every: bool) -> list[NetworkSpec]:
    """{1, 2} layers × {one direction, both} × {with, without lengths}; else the two hardest of them.

    Both merges and both readouts occur: directions are concatenated under one head and summed under
    the other.
    """

    def spec(layers: int, both: bool, lengths: bool) -> NetworkSpec:
        each = (layers == 1) == lengths
        return NetworkSpec(
            cell=cell.name,
            input_size=3,
            hidden=5,
            output_size=4,
            readout="each" if each else "last",
            loss="mse" if each else "cross_entropy",
            layers=layers,
            bidirectional=("sum" if layers == 2 and not lengths else "concat") if both else "none",
            lengths=lengths,
        )

    if not every:
        return [spec(2, True, True), spec(1, False, False)]
    return [spec(n, both, lengths) for n in (1, 2) for both in (False, True) for lengths in (False, True)]


def describe_structure(spec: NetworkSpec) -> str:
    """ "2 layers, concat, lengths": the axes of the matrix in words."""
    direction = "one direction" if spec.bidirectional == "none" else f"both, {spec.bidirectional}"
    return f"{spec.layers} layer{'s' if spec.layers > 1 else ''}, {direction}, " + (
        "lengths" if spec.lengths else "no lengths"
    )


def verify(
    plugins: Plugins,
    *,
    backends: Sequence[str],
    cells: Sequence[str],
    implementations: Sequence[str],
    every: bool,
    plugin_files: Sequence[str] = (),
    note: Callable[[str], None] = lambda text: None,
) -> list[Verdict]:
    """Every verdict, in the order backend, dtype, cell, implementation, structure."""
    jobs: list[tuple[str, Dtype]] = [(b, dtype) for b in backends for dtype in ("float64", "float32")]
    cores = len(choose_cores(1_000)) or os.cpu_count() or 1
    with ThreadPoolExecutor(max_workers=cores) as pool:
        futures = [
            pool.submit(
                lambda backend, dtype: list(
                    _verify_backend(
                        plugins, backend, dtype, cells, implementations, every, plugin_files, note
                    )
                ),
                backend,
                dtype,
            )
            for backend, dtype in jobs
        ]
        return [verdict for future in futures for verdict in future.result()]


def _verify_backend(
    plugins: Plugins,
    backend: str,
    dtype: Dtype,
    cells: Sequence[str],
    implementations: Sequence[str],
    every: bool,
    plugin_files: Sequence[str],
    note: Callable[[str], None],
) -> Iterator[Verdict]:
    gate, key, worker = Gate(plugins.cells), WorkerKey(backend, Settings(dtype=dtype)), None
    version, absent = availability(plugins.backends[backend])
    for name in cells:
        cell = plugins.cells[name]
        offered = plugins.implementations_of(backend, name)
        for implementation in implementations:
            for spec in structures(cell, every=every):
                place = (backend, name, implementation, describe_structure(spec), dtype)
                if version is None:
                    yield Verdict(*place, status="skipped", reason=absent)
                    continue
                if implementation not in offered:
                    reason = f"{backend} has no {implementation} implementation of {name}"
                    yield Verdict(*place, status="unsupported", reason=reason)
                    continue
                try:
                    worker = worker or Worker(key, plugin_files=plugin_files, pinned=False)
                    parity = gate.probe(worker, spec, implementation, LIMIT_S)
                except Refused as refused:
                    worker = None if isinstance(refused, WorkerDied) else worker
                    yield Verdict(*place, status=refused.status, reason=refused.reason)
                    continue
                quantity = max(parity.worst, key=lambda quantity: parity.worst[quantity])
                yield Verdict(
                    *place,
                    status="ok" if parity.passed else "mismatch",
                    reason="" if parity.passed else f"{quantity} beyond its tolerance",
                    quantity=quantity,
                    worst=parity.worst[quantity],
                )
            note(f"{backend} {dtype}: {name} {implementation}")
    if worker is not None:
        worker.stop()
