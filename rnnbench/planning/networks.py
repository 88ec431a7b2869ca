"""The network of a case, and the hidden size that gives it a number of parameters."""

from __future__ import annotations

from dataclasses import replace

from rnnbench.cells.composing import count_parameters
from rnnbench.cells.network import parameter_shapes
from rnnbench.contracts import Cell, DecoderSpec, NetworkSpec, TaskShape
from rnnbench.errors import RequestError
from rnnbench.records import Case
from rnnbench.suite.loading import Match

TOLERANCE = 0.1
LARGEST = 65_536


def network_spec(case: Case, shape: TaskShape) -> NetworkSpec:
    """The static structure of a case's network."""
    return NetworkSpec(
        cell=case.cell,
        input_size=case.embedding if shape.features is None else shape.features,
        hidden=case.hidden,
        output_size=shape.output_size,
        readout=shape.readout,
        loss=shape.loss,
        layers=case.layers,
        bidirectional=case.bidirectional,
        residual=case.residual,
        norm=case.norm,
        dropout=case.dropout,
        dropout_kind=case.dropout_kind,
        vocab=shape.vocab,
        lengths=shape.lengths,
        window=case.window,
        projection=case.projection,
        decoder=DecoderSpec(case.embedding, case.attention, case.input_feeding) if shape.decoder else None,
    )


def matched_parameters(cell: Cell, spec: NetworkSpec, match: Match) -> int:
    """Those that a budget bears on: all but embeddings and, as ``match`` says, the head."""
    return count_parameters(
        {
            name: shape
            for name, shape in parameter_shapes(cell, spec).items()
            if not name.endswith("embed.E") and (match.head or not name.startswith("head."))
        }
    )


def match_hidden(cell: Cell, spec: NetworkSpec, match: Match) -> int:
    """The hidden size whose number of parameters is nearest to the budget; of two as near the smaller.

    Raises ``RequestError`` where none comes within TOLERANCE of it.
    """

    def count(hidden: int) -> int:
        return matched_parameters(cell, replace(spec, hidden=hidden), match)

    low, high = 1, LARGEST
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if count(middle) < match.parameters else (low, middle)
    # a few cells need a matrix less where two sizes are equal, and there the search may step the wrong way
    sizes = range(max(1, low // 2), low + 2)
    near = sorted(sizes, key=lambda each: (abs(count(each) - match.parameters), each))[:2]
    hidden = near[0]
    if abs(count(hidden) - match.parameters) > TOLERANCE * match.parameters:
        layers = f"{spec.layers} layer{'' if spec.layers == 1 else 's'}"
        raise RequestError(
            f"no hidden size gives {spec.cell} of {layers} {match.parameters:,} parameters, {match.words}, "
            f"within {TOLERANCE:.0%}: "
            f"{' and '.join(f'{count(each):,} with hidden {each}' for each in sorted(near))}. "
            "Give another number"
        )
    return hidden
