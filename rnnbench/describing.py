"""A cell and a network of it on paper: equations, shapes, parameters. Nothing is built or imported."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rnnbench.cells.composing import count_parameters
from rnnbench.cells.network import decoder_sizes, feature_size, parameter_shapes, sizes_of, state_shapes
from rnnbench.contracts import Cell, NetworkSpec, Sizes
from rnnbench.errors import RequestError, Unsupported
from rnnbench.flops import DecoderFlops, decoder_flops, step_flops

BYTES = 4
"""Of a float32."""


@dataclass(frozen=True, slots=True)
class Part:
    """A row of the summary. ``output``: shape with B and T for the batch and the time steps."""

    name: str
    output: str
    parameters: int


@dataclass(frozen=True, slots=True)
class OwnCount:
    """``parameters`` of the recurrent layers as ``framework`` counts them, and why that differs from ours."""

    framework: str
    parameters: int
    reason: str


@dataclass(frozen=True, slots=True)
class Description:
    """``state_bytes`` of one sequence in float32; ``shapes`` of every canonical parameter.

    ``step_flops``: of the layers, for one time step of one sequence, matrix products alone; ``pair_flops``:
    of attention in them, beside those, for each step and each that it reads, itself included;
    ``decoder_flops``: of a decoder, beside them.
    """

    cell: str
    paper: str
    equations: tuple[str, ...]
    gates: tuple[str, ...]
    parts: tuple[Part, ...]
    shapes: Mapping[str, tuple[int, ...]]
    state_bytes: int
    step_flops: int
    pair_flops: int
    decoder_flops: DecoderFlops | None
    own_counts: tuple[OwnCount, ...]

    @property
    def parameters(self) -> int:
        """Of the whole network."""
        return sum(part.parameters for part in self.parts)


def describe(cell: Cell, spec: NetworkSpec) -> Description:
    """The network of ``spec``. Raises ``RequestError`` for sizes and structures that the cell cannot take."""
    try:
        shapes = parameter_shapes(cell, spec)
        states = state_shapes(cell, spec)
    except (ValueError, Unsupported) as error:
        raise RequestError(str(error), where=f"describe {cell.name}") from None
    layers = [step_flops(cell, sizes_of(cell, spec, layer)) for layer in range(spec.layers)]
    return Description(
        cell=cell.name,
        paper=cell.paper,
        equations=equations_of(cell),
        gates=cell.gates,
        parts=_parts(cell, spec, shapes),
        shapes=shapes,
        state_bytes=BYTES * sum(math.prod(shape) for shape in states.values()),
        step_flops=len(spec.directions) * sum(layer.inputs + layer.recurrent for layer in layers),
        pair_flops=sum(layer.pair for layer in layers),
        decoder_flops=None if spec.decoder is None else decoder_flops(cell, spec, spec.decoder),
        own_counts=_own_counts(cell, spec),
    )


def parameter_count(cell: Cell, sizes: Sizes) -> int:
    """Parameters of one layer in one direction."""
    return sum(math.prod(shape) for shape in cell.shapes(sizes).values())


def year_of(cell: Cell) -> int | None:
    """The year of its first paper; None where the reference names none."""
    year = re.search(r"\b(?:19|20)\d\d\b", cell.paper)
    return int(year[0]) if year else None


def equations_of(cell: Cell) -> tuple[str, ...]:
    """The cell's docstring, a line for each equation: they stand nowhere else."""
    text = inspect.getdoc(type(cell)) or ""
    lines = [line.strip() for line in text.replace(";  ", "\n").splitlines()]
    return tuple(line for line in lines if line)


def _parts(cell: Cell, spec: NetworkSpec, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Part, ...]:
    def count(prefix: str) -> int:
        return count_parameters({name: shape for name, shape in shapes.items() if name.startswith(prefix)})

    parts = []
    if spec.vocab is not None:
        parts.append(Part("embedding", f"(B, T, {spec.input_size})", count("embed.")))
    for layer in range(spec.layers):
        last = layer == spec.layers - 1 and spec.readout == "last"
        steps = "" if last else "T, "
        directions = "" if spec.bidirectional == "none" else f", both directions, {spec.bidirectional}"
        residual = ", residual" if spec.residual and layer > 0 else ""
        output = f"(B, {steps}{feature_size(cell, spec)})"
        own = sum(count(f"layers.{layer}.{direction}.") for direction in spec.directions)
        parts.append(Part(f"{cell.name} layer {layer}{directions}{residual}", output, own))
        if spec.norm != "none":
            parts.append(Part(f"{spec.norm} norm {layer}", output, count(f"layers.{layer}.norm.")))
    parts += _decoder_parts(cell, spec, count)
    steps = "S, " if spec.decoder else "" if spec.readout == "last" else "T, "
    parts.append(Part("dense head", f"(B, {steps}{spec.output_size})", count("head.")))
    return tuple(parts)


def _decoder_parts(cell: Cell, spec: NetworkSpec, count: Callable[[str], int]) -> list[Part]:
    """S steps of an answer; a context is computed at each of them."""
    if spec.decoder is None:
        return []
    parts = [Part("decoder embedding", f"(B, S, {spec.decoder.embedding})", count("decoder.embed."))]
    for layer, sizes in enumerate(decoder_sizes(cell, spec)):
        output = f"(B, S, {cell.output_size(sizes)})"
        parts.append(Part(f"{cell.name} decoder layer {layer}", output, count(f"decoder.layers.{layer}.")))
    if spec.decoder.attention != "none":
        context = f"(B, S, {feature_size(cell, spec)})"
        parts.append(Part(f"attention {spec.decoder.attention}", context, count("decoder.attention.")))
    return parts


SECOND_BIAS = "a second bias for each gate, which rnnbench keeps at zero and frozen"
OWN_BIASES: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "torch.nn": {
        "elman": (1, SECOND_BIAS),
        "elman_relu": (1, SECOND_BIAS),
        "lstm": (4, SECOND_BIAS),
        "lstm_projected": (4, SECOND_BIAS),
        "gru": (2, "a second bias for r and z, which rnnbench keeps at zero and frozen; n's second is b_hn"),
    },
    "keras": {
        "gru": (2, "a second bias for z and r (reset_after), which rnnbench keeps at zero and frozen"),
    },
    "flax.nnx": {"gru": (-1, "no bias b_hn inside the reset")},
}
"""Framework -> cell -> biases of size H that its layer has beside ours, and why."""


def _own_counts(cell: Cell, spec: NetworkSpec) -> tuple[OwnCount, ...]:
    if spec.decoder is not None:
        return ()  # no framework has such a module
    ours = sum(
        math.prod(shape)
        for layer in range(spec.layers)
        for shape in cell.shapes(sizes_of(cell, spec, layer)).values()
    ) * len(spec.directions)
    return tuple(
        OwnCount(framework, ours + more * spec.hidden * spec.layers * len(spec.directions), reason)
        for framework, cells in OWN_BIASES.items()
        if cell.name in cells
        for more, reason in (cells[cell.name],)
    )
