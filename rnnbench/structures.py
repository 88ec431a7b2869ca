"""The structures in which ``rnnbench verify`` holds cells to the reference, and their names.

A norm, an attention or a kind of dropout that is added to ``rnnbench.contracts`` is among them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import get_args

from rnnbench.choices import Attention, DropoutKind, Dtype, Merge, Norm
from rnnbench.contracts import Cell, DecoderSpec, NetworkSpec, SequenceCell

COMPOSED = ("elman", "lstm", "gru")
"""These stand for all where layers are put together: what does that sees a cell by output and state alone."""

L2 = 0.05
DROPPED = 0.3
WINDOW = 3


@dataclass(frozen=True, slots=True)
class Structure:
    """A network, and λ of the penalty in its loss (see ``TrainingSpec``). ``str``: its axes in words."""

    spec: NetworkSpec
    l2: float = 0.0

    def __str__(self) -> str:
        """ "2 layers, both, concat, lengths"; what a table of ``--expect`` calls a structure is of these."""
        spec = self.spec
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
        words += ["input feeding"] if spec.decoder and spec.decoder.input_feeding else []
        words += ["l2"] if self.l2 else []
        return ", ".join(words)


def structures(cell: Cell, *, every: bool, dtype: Dtype = "float64") -> list[Structure]:
    """The hardest structure: two layers, both directions, lengths. ``every``: of ``COMPOSED`` cells all.

    One cell, the last of ``COMPOSED``, has the hardest with all that may stand between layers. A cell that
    computes all steps at once looks back only, and is read at every step. In float32 the ``COMPOSED`` cells
    share what float64 asks of each: rounding is the cell's affair, which the hardest shows.
    """
    if isinstance(cell, SequenceCell):
        hardest = replace(_plain(cell, 2, False, True), readout="each", loss="mse")
        return [
            Structure(spec) for spec in ([hardest, _plain(cell, 1, False, False)] if every else [hardest])
        ]
    hardest = _plain(cell, 2, True, True)
    if every and cell.name in COMPOSED:
        composed = list(_compositions(cell))
        if dtype == "float64":
            return composed
        mine = composed[COMPOSED.index(cell.name) :: len(COMPOSED)]
        return [Structure(hardest), *(structure for structure in mine if structure.spec != hardest)]
    if cell.name == COMPOSED[-1]:
        hardest = replace(hardest, residual=True, norm="layer", dropout=DROPPED)
    return [Structure(hardest)]


def _compositions(cell: Cell) -> Iterator[Structure]:
    """Any two choices of layers, directions and lengths meet; what stands between layers comes by itself and
    all at once; both merges, both readouts and truncated gradients occur; then decoders.
    """
    for layers, both, lengths in ((1, False, False), (1, True, True), (2, False, True), (2, True, False)):
        yield Structure(_plain(cell, layers, both, lengths))
    hardest = _plain(cell, 2, True, True)
    yield Structure(hardest)
    norms: tuple[Norm, ...] = get_args(Norm)
    for norm in norms[1:]:
        yield Structure(replace(_plain(cell, 1, False, True), norm=norm))
        yield Structure(replace(_plain(cell, 2, True, False), norm=norm), L2)
        yield Structure(replace(hardest, layers=3, residual=True, norm=norm, dropout=DROPPED))
    yield Structure(replace(_plain(cell, 2, False, True), residual=True))
    kinds: tuple[DropoutKind, ...] = get_args(DropoutKind)
    for kind in kinds:
        both = kind != kinds[0]
        dropping = replace(_plain(cell, 2, both, False), dropout=DROPPED, dropout_kind=kind)
        yield Structure(replace(dropping, residual=both))
    yield Structure(replace(_plain(cell, 1, False, False), window=WINDOW))
    yield Structure(replace(_plain(cell, 1, True, True), window=WINDOW))
    yield from _decoders(_plain(cell, 1, False, True))


def _decoders(encoder: NetworkSpec) -> Iterator[Structure]:
    """One structure for each kind of attention, the encoder's directions merged in all ways."""
    merged: dict[Attention, tuple[Merge, int]] = {"bahdanau": ("concat", 2), "luong_dot": ("sum", 1)}
    attentions: tuple[Attention, ...] = get_args(Attention)
    for attention in attentions:
        merge, layers = merged.get(attention, ("none", 1))
        decoding = replace(
            encoder,
            readout="each",
            loss="cross_entropy",
            bidirectional=merge,
            layers=layers,
            decoder=DecoderSpec(3, attention, input_feeding=attention == attentions[-1]),
        )
        yield Structure(decoding, L2 if attention == attentions[-1] else 0.0)


def _plain(cell: Cell, layers: int, both: bool, lengths: bool) -> NetworkSpec:
    """Directions are concatenated under one head and summed under the other."""
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
