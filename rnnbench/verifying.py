"""``rnnbench verify``: the parity gate alone, over every cell, backend and implementation.

Backends are asked side by side, one worker for each and dtype, for nothing here is timed.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from rnnbench.choices import Dtype
from rnnbench.contracts import AffineCell, Cell, Settings
from rnnbench.measuring.gate import Gate
from rnnbench.measuring.launch import allowed_cores
from rnnbench.measuring.process import WorkerKey
from rnnbench.measuring.refusals import Refused, WorkerDied, refusing
from rnnbench.measuring.workers import Workers
from rnnbench.plugins import Plugins, availability
from rnnbench.records import Status
from rnnbench.structures import Structure, structures

LIMIT_S = 120.0


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


def usual_implementations(cell: Cell) -> tuple[str, ...]:
    """What every backend is asked for: a cell that is not affine in its state has no scan to ask for.

    ``compiled`` is not among them, for it takes minutes.
    """
    return ("native", "portable", "scan") if isinstance(cell, AffineCell) else ("native", "portable")


def verify(
    plugins: Plugins,
    *,
    backends: Sequence[str],
    cells: Sequence[str],
    implementations: Sequence[str],
    every: bool,
    dtypes: Sequence[Dtype] = ("float64", "float32"),
    plugin_files: Sequence[str] = (),
    note: Callable[[str], None] = lambda text: None,
) -> list[Verdict]:
    """Every verdict, in the order backend, dtype, cell, implementation, structure.

    Without ``implementations``: those that are usual for each cell.
    """
    jobs = [(backend, dtype) for backend in backends for dtype in dtypes]
    chosen = [plugins.cells[name] for name in cells]
    matrices = {dtype: list(_matrix(chosen, implementations, dtype, every=every)) for dtype in dtypes}
    gate = Gate(plugins.cells)
    crews = [Workers(plugin_files, (), pinned=False) for _ in jobs]
    stop = threading.Event()

    def verify_job(job: tuple[str, Dtype], workers: Workers) -> list[Verdict]:
        with workers:
            verdicts = []
            for verdict in _verify_backend(plugins, gate, workers, *job, matrices[job[1]], note):
                verdicts.append(verdict)
                if stop.is_set():
                    break
            return verdicts

    with ThreadPoolExecutor(max_workers=len(allowed_cores()) or os.cpu_count()) as pool:
        futures = [pool.submit(verify_job, *job) for job in zip(jobs, crews, strict=True)]
        try:
            return [verdict for future in futures for verdict in future.result()]
        except BaseException:
            # the pool waits for its threads, and they for workers: Ctrl-C must not take minutes
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for workers in crews:
                workers.abort()
            raise


_Place = tuple[Cell, str, Structure]


def _matrix(
    cells: Sequence[Cell], implementations: Sequence[str], dtype: Dtype, *, every: bool
) -> Iterator[_Place]:
    for cell in cells:
        asked = structures(cell, every=every, dtype=dtype)
        for implementation in implementations or usual_implementations(cell):
            yield from ((cell, implementation, structure) for structure in asked)


def _verify_backend(
    plugins: Plugins,
    gate: Gate,
    workers: Workers,
    backend: str,
    dtype: Dtype,
    matrix: Sequence[_Place],
    note: Callable[[str], None],
) -> Iterator[Verdict]:
    key = WorkerKey(backend, Settings(dtype=dtype, optimize=False))
    version, absent = availability(plugins.backends[backend])
    noted = ""
    for cell, implementation, structure in matrix:
        place = (backend, cell.name, implementation, str(structure), dtype)
        now = f"{backend} {dtype}: {cell.name} {implementation}"
        if now != noted:
            note(now)
            noted = now
        try:
            if version is None:
                raise Refused("skipped", absent)
            with refusing():
                offered = plugins.implementations_of(backend, cell.name)
            with refusing(), _declining(backend, cell.name, implementation, offered):
                parity = gate.probe(workers.of(key), structure.spec, implementation, LIMIT_S, l2=structure.l2)
        except Refused as refused:
            if isinstance(refused, WorkerDied):
                workers.forget(key)
            yield Verdict(*place, status=refused.status, reason=refused.reason)
            continue
        # the worst first, and NaN is worse than everything
        worst = sorted(parity.worst.items(), key=lambda item: -item[1] if item[1] == item[1] else -math.inf)
        quantity, ratio = worst[0]
        yield Verdict(
            *place,
            status="ok" if parity.passed else "mismatch",
            reason="" if parity.passed else f"{quantity} beyond its tolerance",
            quantity=quantity,
            worst=ratio,
        )


@contextmanager
def _declining(backend: str, cell: str, implementation: str, offered: Sequence[str]) -> Iterator[None]:
    """What a backend does not offer is asked for too, for it knows why; whatever else comes of it is no."""
    refusal = Refused("unsupported", f"{backend} has no {implementation} implementation of {cell}")
    try:
        yield
    except Refused as refused:
        if implementation in offered or refused.status != "failed":
            raise
        raise refusal from refused
    if implementation not in offered:
        raise refusal
