"""How a cell becomes a network: direction, lengths, stacking, embedding, readout, head and loss.

Written once over ``ops``, time-major inside: T steps, B sequences. A backend with a faster
recurrent layer puts it in the place of ``layer`` (one layer in one direction) or ``stack`` (all
of them, or one after the other where something stands between them); everything else stays the same
function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from rnnbench.cells.at_once import check_recurrent, check_structure
from rnnbench.cells.composing import compose, norm_shapes, single_layer
from rnnbench.cells.decoding import Target, decode, decoder_shapes, layer_sizes, readout_size
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.cells.stepping import masked_step
from rnnbench.contracts import Cell, NetworkSpec, RecurrentCell, SequenceCell, Sizes
from rnnbench.errors import RequestError

Layer = Callable[[Ops, Cell, Arrays, Array, Array | None, Arrays], tuple[Array, dict[str, Array]]]
Stack = Callable[
    [Ops, Cell, NetworkSpec, Arrays, Array, Array | None, Arrays | None], tuple[list[Array], dict[str, Array]]
]


def sizes_of(cell: Cell, spec: NetworkSpec, layer: int) -> Sizes:
    """Sizes of layer number ``layer``: the first reads the features, the others what lies below."""
    features = spec.input_size if layer == 0 else feature_size(cell, spec)
    return Sizes(features, spec.hidden, spec.projection)


def feature_size(cell: Cell, spec: NetworkSpec) -> int:
    """Features that a layer passes up: output_size, twice that where directions are concatenated."""
    size = cell.output_size(sizes_of(cell, spec, 0))
    return 2 * size if spec.bidirectional == "concat" else size


def decoder_sizes(cell: Cell, spec: NetworkSpec) -> list[Sizes]:
    """Sizes of each of the decoder's layers; none without a decoder."""
    return [] if spec.decoder is None else layer_sizes(cell, spec, spec.decoder, feature_size(cell, spec))


def parameter_shapes(cell: Cell, spec: NetworkSpec) -> dict[str, tuple[int, ...]]:
    """Every canonical parameter: embed.E (V,I), layers.<l>.<direction>.<name>, head.W (F,O), head.b (O).

    Those of norms come last, so that all else starts from the same random numbers with and without them.
    Raises ``Unsupported`` for a structure that the cell cannot have.
    """
    check_structure(cell, spec)
    shapes: dict[str, tuple[int, ...]] = {}
    if spec.vocab is not None:
        shapes["embed.E"] = (spec.vocab, spec.input_size)
    for index in range(spec.layers):
        for direction in spec.directions:
            for name, shape in cell.shapes(sizes_of(cell, spec, index)).items():
                shapes[f"layers.{index}.{direction}.{name}"] = shape
    read = feature_size(cell, spec)
    if spec.decoder is not None:
        shapes.update(decoder_shapes(cell, spec, spec.decoder, read))
        read = readout_size(cell, spec, spec.decoder, read)
    shapes["head.W"] = (read, spec.output_size)
    shapes["head.b"] = (spec.output_size,)
    return shapes | norm_shapes(spec, feature_size(cell, spec))


def state_shapes(cell: Cell, spec: NetworkSpec) -> dict[str, tuple[int, ...]]:
    """Every state, layers.<l>.<direction>.<name>, the batch axis left out."""
    return {
        f"layers.{index}.{direction}.{name}": shape
        for index in range(spec.layers)
        for direction in spec.directions
        for name, shape in cell.state_shapes(sizes_of(cell, spec, index)).items()
    }


def part(values: Arrays, prefix: str) -> dict[str, Array]:
    """The entries under ``prefix``, their names without it."""
    return {name[len(prefix) :]: value for name, value in values.items() if name.startswith(prefix)}


def valid_steps(ops: Ops, length: int, lengths: Array) -> Array:
    """Mask (T,B): True where t < lengths[b]."""
    return ops.reshape(ops.steps(length, lengths), (length, 1)) < ops.reshape(lengths, (1, -1))


def unroll(
    ops: Ops, cell: Cell, p: Arrays, x: Array, mask: Array | None, state: Arrays
) -> tuple[Array, dict[str, Array]]:
    """Run ``cell`` over x (T,B,I) from ``state``; returns y (T,B,F) and the last state.

    Where mask (T,B,1) is False the state stays as it is and y is 0. A ``SequenceCell`` has no state, and
    computes all steps at once.
    """
    if isinstance(cell, SequenceCell):
        y = cell.over(ops, p, x)
        return (y if mask is None else ops.where(mask, y, 0.0)), {}
    recurrent = cast(RecurrentCell, cell)
    inputs = recurrent.project(ops, p, x)

    def body(state: dict[str, Array], u: dict[str, Array]) -> tuple[dict[str, Array], Array]:
        return masked_step(ops, recurrent, p, u, state)

    last, y = ops.scan(body, state, inputs if mask is None else {**inputs, "mask": mask})
    return y, last


def in_windows(layer: Layer, window: int) -> Layer:
    """``layer`` with truncated gradients: the same outputs, but none flows from a window into an earlier one.

    Windows of ``window`` steps end with the last step, so the first may be shorter (Williams & Peng 1990,
    with one update for all windows). Whatever computes a layer is truncated so, and does not know of it.
    """

    def windowed(
        ops: Ops, cell: Cell, p: Arrays, x: Array, mask: Array | None, state: Arrays
    ) -> tuple[Array, dict[str, Array]]:
        whole = (x.shape[0] - 1) // window
        first = x.shape[0] - whole * window

        def cut(value: Array) -> Array:
            return ops.reshape(value[first:], (whole, window, *value.shape[1:]))

        def body(state: dict[str, Array], u: dict[str, Array]) -> tuple[dict[str, Array], Array]:
            start = {name: ops.stop_gradient(value) for name, value in state.items()}
            y, last = layer(ops, cell, p, u["x"], u.get("mask"), start)
            return last, y

        y, last = layer(ops, cell, p, x[:first], None if mask is None else mask[:first], state)
        if not whole:
            return y, last
        rest = {"x": cut(x)} if mask is None else {"x": cut(x), "mask": cut(mask)}
        last, ys = ops.scan(body, last, rest)
        return ops.concat([y, ops.reshape(ys, (whole * window, *ys.shape[2:]))], 0), last

    return windowed


def zero_state(ops: Ops, cell: Cell, sizes: Sizes, x: Array) -> dict[str, Array]:
    """Zeros (B,...) for every state of one layer and direction; x (T,B,I)."""
    batch = x.shape[1]
    return {name: ops.zeros((batch, *shape), x) for name, shape in cell.state_shapes(sizes).items()}


def stack_layers(
    ops: Ops,
    cell: Cell,
    spec: NetworkSpec,
    parameters: Arrays,
    x: Array,
    mask: Array | None,
    state: Arrays | None,
    layer: Layer = unroll,
) -> tuple[list[Array], dict[str, Array]]:
    """All layers: x (T,B,I), mask (T,B,1) -> the top layer's y (T,B,F) of each direction, all final states.

    The backward direction flips x and mask along time, so that padding comes first and freezes
    the initial state; its output is flipped back.
    """
    if spec.window is not None:
        layer = in_windows(layer, spec.window)
    final: dict[str, Array] = {}
    ys: list[Array] = []
    for index in range(spec.layers):
        x = merge(ops, spec, ys) if ys else x
        ys = []
        for direction in spec.directions:
            prefix = f"layers.{index}.{direction}."
            backward = direction == "backward"
            x_in = ops.flip(x, 0) if backward else x
            mask_in = ops.flip(mask, 0) if backward and mask is not None else mask
            start = (
                zero_state(ops, cell, sizes_of(cell, spec, index), x)
                if state is None
                else part(state, prefix)
            )
            y, last = layer(ops, cell, part(parameters, prefix), x_in, mask_in, start)
            final.update({prefix + name: value for name, value in last.items()})
            ys.append(ops.flip(y, 0) if backward else y)
    return ys, final


def run_layers(
    ops: Ops,
    cell: Cell,
    spec: NetworkSpec,
    parameters: Arrays,
    x: Array,
    mask: Array | None,
    state: Arrays | None,
    stack: Stack,
    dropout: Arrays | None,
    training: bool,
) -> tuple[list[Array], Array, dict[str, Array]]:
    """The top layer's y (T,B,F) of each direction, what it read (T,B,F), and all final states.

    Where something stands between layers, ``stack`` is called for each of them, as for a network of one. In
    ``training`` running statistics of the norms below the top layer stand beside the states.
    """
    if not spec.composed:
        top, final = stack(ops, cell, spec, parameters, x, mask, state)
        return top, x, final
    features = feature_size(cell, spec)
    states: dict[str, Array] = {}
    ys: list[Array] = []
    for index in range(spec.layers):
        if ys:
            y = merge(ops, spec, ys)
            x, running = compose(ops, spec, parameters, index - 1, y, x, dropout, mask, training=training)
            states.update(running)
        prefix = f"layers.{index}."
        ys, last = stack(
            ops,
            cell,
            single_layer(spec, index, features),
            _renamed(parameters, prefix, "layers.0."),
            x,
            mask,
            None if state is None else _renamed(state, prefix, "layers.0."),
        )
        states.update(_renamed(last, "layers.0.", prefix))
    return ys, x, states


def _renamed(values: Arrays, prefix: str, new: str) -> dict[str, Array]:
    return {new + name: value for name, value in part(values, prefix).items()}


def merge(ops: Ops, spec: NetworkSpec, ys: list[Array]) -> Array:
    """One direction as it is; two concatenated along the last axis or summed."""
    if len(ys) == 1:
        return ys[0]
    return ops.concat(ys, len(ys[0].shape) - 1) if spec.bidirectional == "concat" else ys[0] + ys[1]


def split_directions(spec: NetworkSpec, x: Array) -> list[Array]:
    """What ``merge`` gave, by direction again: of a sum, which cannot be told apart, the whole as forward."""
    if spec.bidirectional != "concat":
        return [x]
    half = x.shape[-1] // 2
    return [x[..., :half], x[..., half:]]


def read_last(ops: Ops, spec: NetworkSpec, ys: list[Array], lengths: Array | None) -> Array:
    """y (T,B,F) of each direction -> (B,F): the last valid step forward, step 0 backward."""
    forward = ys[0]
    if lengths is None:
        last = forward[-1]
    else:
        # y is 0 behind the lengths, so a masked sum is an exact gather, with a cheap gradient
        at_end = ops.reshape(ops.steps(forward.shape[0], lengths), (-1, 1)) == ops.reshape(
            lengths - 1, (1, -1)
        )
        last = ops.sum(ops.where(ops.reshape(at_end, (*at_end.shape, 1)), forward, 0.0), 0)
    return merge(ops, spec, [last, *(y[0] for y in ys[1:])])


def network_outputs(
    ops: Ops,
    cell: Cell,
    spec: NetworkSpec,
    parameters: Arrays,
    inputs: Array,
    lengths: Array | None,
    state: Arrays | None,
    stack: Stack = stack_layers,
    dropout: Arrays | None = None,
    target: Target | None = None,
    *,
    training: bool = False,
) -> tuple[Array, dict[str, Array]]:
    """Inputs (T,B,I) or tokens (T,B) -> outputs (B,O) or, time-major, (T,B,O), and the final states.

    ``dropout``: the batch's masks, time-major, (T,B,F) or (1,B,F); None for evaluation. ``target``: for a
    network with a decoder, whose outputs are (S,B,O). In ``training`` norms that have running statistics use
    those of the batch, and the running ones after it stand beside the final states (``running_of``).
    """
    x = ops.rows(parameters["embed.E"], inputs) if spec.vocab is not None else inputs
    mask = None
    if lengths is not None:
        valid = valid_steps(ops, x.shape[0], lengths)
        mask = ops.reshape(valid, (*valid.shape, 1))
        x = ops.where(mask, x, 0.0)
    ys, below, final = run_layers(ops, cell, spec, parameters, x, mask, state, stack, dropout, training)
    last = spec.readout == "last"
    y = read_last(ops, spec, ys, lengths) if last else merge(ops, spec, ys)
    if last and spec.residual and spec.layers > 1:
        below = read_last(ops, spec, split_directions(spec, below), lengths)
    valid = None if last else mask
    y, running = compose(ops, spec, parameters, spec.layers - 1, y, below, None, valid, training=training)
    final = final | running
    if spec.decoder is not None:
        if target is None:
            raise RequestError("the network has a decoder, but the batch no target_lengths")
        summed = read_last(ops, replace(spec, bidirectional="sum"), ys, lengths)
        recurrent = check_recurrent(cell, "a decoder")
        y, decoded = decode(ops, recurrent, spec, spec.decoder, parameters, final, y, mask, summed, target)
        return y, final | decoded
    return ops.matmul(y, parameters["head.W"]) + parameters["head.b"], final


def network_loss(ops: Ops, spec: NetworkSpec, outputs: Array, targets: Array, lengths: Array | None) -> Array:
    """Mean loss over what is valid (a scalar): padding never counts, in the sum or in the mean.

    Outputs (N...,O). cross_entropy: targets (N...) of integers, mean over targets. mse: targets
    (N...,O), mean over elements. With readout "each", N... is (T,B).
    """
    mask = None
    if spec.readout == "each" and lengths is not None:
        mask = valid_steps(ops, outputs.shape[0], lengths)
    if spec.loss == "cross_entropy":
        if mask is not None:
            targets = ops.where(mask, targets, 0)
        errors = -ops.pick(ops.log_softmax(outputs), targets)
        if mask is not None:
            errors = ops.where(mask, errors, 0.0)
    else:
        if mask is not None:
            mask = ops.reshape(mask, (*mask.shape, 1))
            targets = ops.where(mask, targets, 0.0)
        errors = (outputs - targets) ** 2
        if mask is not None:
            errors = ops.where(mask, errors, 0.0)
    if mask is None or lengths is None:
        count: Array = 1
        for size in errors.shape:
            count = count * size
    else:
        each = outputs.shape[2] if spec.loss == "mse" else 1
        count = ops.cast(ops.sum(lengths), outputs) * each
    return ops.sum(errors) / count
