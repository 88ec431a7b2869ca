"""``rnnbench verify``: the parity gate alone, over every cell, backend and implementation.

Backends are asked side by side, one worker for each and dtype, for nothing here is timed.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

from rnnbench.contracts import (
    AffineCell,
    Attention,
    Cell,
    DecoderSpec,
    Merge,
    NetworkSpec,
    SequenceCell,
    Settings,
)
from rnnbench.measuring.gate import Gate
from rnnbench.measuring.launch import allowed_cores
from rnnbench.measuring.refusals import Refused, WorkerDied, refusing
from rnnbench.measuring.process import WorkerKey
from rnnbench.measuring.workers import Workers
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


COMPOSED = ("elman", "lstm", "gru")
"""These stand for all where layers are put together: what does that sees a cell by output and state alone."""


def structures(cell: Cell, *, every: bool) -> list[NetworkSpec]:
    """The hardest structure: two layers, both directions, lengths. ``every``: of ``COMPOSED`` cells all.

    All are {1, 2} layers × {one direction, both} × {with, without lengths}, what stands between layers, each
    by itself and all at once, truncated gradients, and decoders. Both merges and both readouts occur:
    directions are concatenated under one head and summed under the other. One cell, the last of ``COMPOSED``,
    has the hardest with all of it. A cell that computes all steps at once looks back only, and is read at
    every step.
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
            projection=2,
        )

    if isinstance(cell, SequenceCell):
        hardest = replace(spec(2, False, True), readout="each", loss="mse")
        return [hardest, spec(1, False, False)] if every else [hardest]
    together = replace(spec(2, True, True), residual=True, norm="layer", dropout=0.3)
    if not every:
        return [together if cell.name == COMPOSED[-1] else spec(2, True, True)]
    if cell.name not in COMPOSED:
        return [spec(2, True, True)]
    plain = [spec(n, both, lengths) for n in (1, 2) for both in (False, True) for lengths in (False, True)]
    return [
        *plain,
        together,
        replace(together, layers=3),
        replace(spec(2, True, True), residual=True),
        replace(spec(2, True, False), residual=True, dropout=0.3, dropout_kind="variational"),
        replace(spec(2, True, True), norm="layer"),
        replace(spec(1, False, True), norm="layer"),
        replace(together, norm="batch", layers=3),
        replace(spec(2, True, True), norm="batch"),
        replace(spec(1, False, True), norm="batch"),
        replace(spec(2, False, False), dropout=0.3),
        replace(spec(1, False, False), window=3),
        replace(spec(2, True, True), window=3),
        *decoders(spec(1, False, True)),
    ]


def decoders(encoder: NetworkSpec) -> Iterator[NetworkSpec]:
    """One structure for each kind of attention, the encoder's directions merged in all ways."""
    kinds: tuple[tuple[Attention, Merge, int], ...] = (
        ("none", "none", 1),
        ("bahdanau", "concat", 2),
        ("luong_dot", "sum", 1),
        ("luong_general", "none", 1),
        ("luong_concat", "none", 1),
    )
    for attention, merge, layers in kinds:
        yield replace(
            encoder,
            readout="each",
            loss="cross_entropy",
            bidirectional=merge,
            layers=layers,
            decoder=DecoderSpec(3, attention),
        )


def usual_implementations(cell: Cell) -> tuple[str, ...]:
    """What every backend is asked for: a cell that is not affine in its state has no scan to ask for.

    ``compiled`` is not among them, for it takes minutes.
    """
    return ("native", "portable", "scan") if isinstance(cell, AffineCell) else ("native", "portable")


def describe_structure(spec: NetworkSpec) -> str:
    """ "2 layers, concat, lengths": the axes of the matrix in words."""
    words = [
        f"{spec.layers} layer{'s' if spec.layers > 1 else ''}",
        "one direction" if spec.bidirectional == "none" else f"both, {spec.bidirectional}",
        "lengths" if spec.lengths else "no lengths",
    ]
    words += ["residual"] if spec.residual else []
    words += [f"{spec.norm} norm"] if spec.norm != "none" else []
    words += [f"dropout {spec.dropout_kind}"] if spec.dropout else []
    words += [f"window {spec.window}"] if spec.window is not None else []
    words += [f"decoder, attention {spec.decoder.attention}"] if spec.decoder else []
    return ", ".join(words)


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
    matrix = _Matrix(
        [plugins.cells[name] for name in cells],
        implementations,
        {name: structures(plugins.cells[name], every=every) for name in cells},
    )
    gate = Gate(plugins.cells)
    crews = [Workers(plugin_files, (), pinned=False) for _ in jobs]
    stop = threading.Event()

    def verify_job(job: tuple[str, Dtype], workers: Workers) -> list[Verdict]:
        with workers:
            verdicts = []
            for verdict in _verify_backend(plugins, gate, workers, *job, matrix, note):
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


@dataclass(frozen=True, slots=True)
class _Matrix:
    cells: Sequence[Cell]
    implementations: Sequence[str]
    structures: Mapping[str, Sequence[NetworkSpec]]

    def __iter__(self) -> Iterator[tuple[Cell, str, NetworkSpec]]:
        for cell in self.cells:
            for implementation in self.implementations or usual_implementations(cell):
                for spec in self.structures[cell.name]:
                    # a decoder is a loop over the cell's steps: nobody has another form of one to prove
                    if spec.decoder is None or implementation in ("portable", "compiled"):
                        yield cell, implementation, spec


def _verify_backend(
    plugins: Plugins,
    gate: Gate,
    workers: Workers,
    backend: str,
    dtype: Dtype,
    matrix: _Matrix,
    note: Callable[[str], None],
) -> Iterator[Verdict]:
    key = WorkerKey(backend, Settings(dtype=dtype))
    version, absent = availability(plugins.backends[backend])
    noted = ""
    for cell, implementation, spec in matrix:
        place = (backend, cell.name, implementation, describe_structure(spec), dtype)
        now = f"{backend} {dtype}: {cell.name} {implementation}"
        if now != noted:
            note(now)
            noted = now
        try:
            if version is None:
                raise Refused("skipped", absent)
            with refusing():
                offered = plugins.implementations_of(backend, cell.name)
            if implementation not in offered:
                raise Refused(
                    "unsupported", f"{backend} has no {implementation} implementation of {cell.name}"
                )
            with refusing():
                parity = gate.probe(workers.of(key), spec, implementation, LIMIT_S)
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
