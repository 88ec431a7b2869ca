"""The decoder of an encoder–decoder network: recurrent layers that are fed the tokens they have put out.

Layer l starts from the final state of the encoder's layer l, the sum of both directions' where there are
two (Sutskever, Vinyals and Le 2014, arXiv:1409.3215); a state of another size, such as the past inputs
that some cells keep, starts at zero. At each step, with x the embedding of the last token,

    none:       y = layers(x)                         and the head reads y
    bahdanau:   y = layers([x; context(y before)])    and the head reads y
    luong_*:    y = layers(x)                         and the head reads tanh([context(y); y] W_c)

where y is the top layer's output; before the first step, what the encoder's top layer ended with. For cells
whose output is their state, Bahdanau's query is so his s_{t-1}. With Luong's input feeding (Luong, Pham and
Manning 2015, section 3.3) layers read [x; a], with a what the head read at the step before, 0 at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rnnbench.cells.attending import attend, attention_shapes, prepare
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.cells.stepping import one_step, widened
from rnnbench.contracts import Cell, DecoderSpec, NetworkSpec, RecurrentCell, Sizes
from rnnbench.errors import Unsupported

SHOWN = "decoder."
"""What stands before the names of all parameters and states here."""
NO_FLOW = "gradient_flow: of a network with a decoder it is not defined here. Measure it without"


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What is to be put out: S=``steps`` tokens, of which ``lengths`` (B,) are valid.

    ``inputs`` (S,B): tokens that are fed (teacher forcing). None: the likeliest token of the step before,
    over all S steps (greedy decoding).
    """

    steps: int
    lengths: Array
    inputs: Array | None


def target_of(targets: Array, lengths: Array | None, inputs: Array | None) -> Target | None:
    """That of a batch, time-major: targets (S,B), inputs (S,B). None where it has no target lengths (B,)."""
    return None if lengths is None else Target(targets.shape[0], lengths, inputs)


def check_decoder(spec: NetworkSpec, implementation: str, *able: str) -> None:
    """Raises ``Unsupported`` for a decoder in an implementation other than portable and those ``able`` to."""
    if spec.decoder is not None and implementation not in ("portable", *able):
        raise Unsupported(
            f"{implementation} layers run no decoder, for they have no attention and cannot be fed what they "
            "put out; use portable"
        )


def layer_sizes(cell: Cell, spec: NetworkSpec, decoder: DecoderSpec, memory: int) -> list[Sizes]:
    """Sizes of each layer; M=memory are the encoder's output features."""
    fed = decoder.embedding + (memory if decoder.attention == "bahdanau" else 0)
    if decoder.input_feeding:
        fed += cell.output_size(Sizes(fed, spec.hidden, spec.projection))
    first = Sizes(fed, spec.hidden, spec.projection)
    above = Sizes(cell.output_size(first), spec.hidden, spec.projection)
    return [first] + [above] * (spec.layers - 1)


def decoder_shapes(
    cell: Cell, spec: NetworkSpec, decoder: DecoderSpec, memory: int
) -> dict[str, tuple[int, ...]]:
    """decoder.embed.E (O+1,D), its last row the start; decoder.layers.<l>.<name>; decoder.attention.<name>.

    Raises ValueError for sizes that the attention cannot take, and for input feeding without Luong's.
    """
    if decoder.input_feeding and not decoder.attention.startswith("luong"):
        raise ValueError(
            f"input feeding feeds back what Luong's attention says, and the decoder has {decoder.attention}; "
            "take luong_dot, luong_general or luong_concat"
        )
    sizes = layer_sizes(cell, spec, decoder, memory)
    shapes: dict[str, tuple[int, ...]] = {f"{SHOWN}embed.E": (spec.output_size + 1, decoder.embedding)}
    for index, size in enumerate(sizes):
        shapes.update({f"{SHOWN}layers.{index}.{name}": shape for name, shape in cell.shapes(size).items()})
    query = readout_size(cell, spec, decoder, memory)
    attention = attention_shapes(decoder.attention, query, memory, spec.hidden)
    return shapes | {f"{SHOWN}attention.{name}": shape for name, shape in attention.items()}


def readout_size(cell: Cell, spec: NetworkSpec, decoder: DecoderSpec, memory: int) -> int:
    """Features that the head reads."""
    return cell.output_size(layer_sizes(cell, spec, decoder, memory)[0])


def start_decoder(
    ops: Ops, cell: Cell, spec: NetworkSpec, sizes: Sequence[Sizes], encoded: Arrays, memory: Array
) -> dict[str, Array]:
    """layers.<l>.<name> (B,...) before the first step, from the encoder's final states."""
    start = {}
    for index, size in enumerate(sizes):
        for name, shape in cell.state_shapes(size).items():
            first, *others = (encoded[f"layers.{index}.{direction}.{name}"] for direction in spec.directions)
            for other in others:
                first = first + other
            fits = tuple(first.shape[1:]) == shape
            start[f"layers.{index}.{name}"] = first if fits else ops.zeros((memory.shape[1], *shape), memory)
    return start


def decode(
    ops: Ops,
    cell: RecurrentCell,
    spec: NetworkSpec,
    decoder: DecoderSpec,
    parameters: Arrays,
    encoded: Arrays,
    memory: Array,
    mask: Array | None,
    ended: Array,
    target: Target,
) -> tuple[Array, dict[str, Array]]:
    """Outputs (S,B,O) and the decoder's final states, decoder.layers.<l>.<name>, after the last valid step.

    memory (T,B,M): the encoder's outputs, mask (T,B,1) their validity; ``ended`` (B,F): what its top layer
    ended with, directions summed; ``encoded``: its final states.
    """
    sizes = layer_sizes(cell, spec, decoder, memory.shape[2])
    kind = decoder.attention
    layers = [
        {name: parameters[f"{SHOWN}layers.{index}.{name}"] for name in cell.shapes(size)}
        for index, size in enumerate(sizes)
    ]
    query = readout_size(cell, spec, decoder, memory.shape[2])
    names = attention_shapes(kind, query, memory.shape[2], spec.hidden)
    weights = {name: parameters[f"{SHOWN}attention.{name}"] for name in names}
    attended = None if kind == "none" else prepare(ops, kind, weights, memory, mask)
    table = parameters[f"{SHOWN}embed.E"]

    def body(state: dict[str, Array], u: dict[str, Array]) -> tuple[dict[str, Array], Array]:
        new: dict[str, Array] = {}
        x = u["x"] if "x" in u else state["x"]
        if attended is not None and kind == "bahdanau":
            context, _ = attend(ops, kind, weights, state["query"], attended)
            x = ops.concat([x, context], 1)
        if "read" in state:
            x = ops.concat([x, state["read"]], 1)
        for index, p in enumerate(layers):
            before = {name: state[f"layers.{index}.{name}"] for name in cell.state_shapes(sizes[index])}
            after, x = one_step(ops, cell, p, x, before)
            new.update({f"layers.{index}.{name}": value for name, value in after.items()})
        if "query" in state:
            new["query"] = x
        if attended is not None and kind != "bahdanau":
            context, _ = attend(ops, kind, weights, x, attended)
            x = ops.tanh(ops.matmul(ops.concat([context, x], 1), weights["W_c"]))
        if "read" in state:
            new["read"] = x
        logits = ops.matmul(x, parameters["head.W"]) + parameters["head.b"]
        if "x" in state:
            new["x"] = ops.rows(table, ops.argmax(logits))
        if "valid" in u:
            valid = u["valid"]
            new = {name: ops.where(widened(ops, valid, old), new[name], old) for name, old in state.items()}
        return new, logits

    start = start_decoder(ops, cell, spec, sizes, encoded, memory)
    if kind == "bahdanau":
        start["query"] = ended
    if decoder.input_feeding:
        start["read"] = ops.zeros((memory.shape[1], query), memory)
    B, S = memory.shape[1], target.steps
    if target.inputs is None:
        # all sequences are fed the start; how long their answers are is not known while decoding
        start["x"] = ops.zeros((B, decoder.embedding), memory) + table[spec.output_size]
        inputs = {"step": ops.zeros((S, 1), memory)}
    else:
        steps = ops.reshape(ops.steps(S, target.lengths), (S, 1))
        valid = steps < ops.reshape(target.lengths, (1, B))
        inputs = {"x": ops.rows(table, target.inputs), "valid": valid}
    last, outputs = ops.scan(body, start, inputs)
    return outputs, {SHOWN + name: value for name, value in last.items() if name.startswith("layers.")}
