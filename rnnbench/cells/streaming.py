"""One time step of a whole network: what ``rnnbench.cells.network`` unrolls, for inputs that come one by one.

Only where all layers run forward in time: a backward direction starts from the last input.
"""

from __future__ import annotations

import numpy as np

from rnnbench.cells.at_once import check_recurrent
from rnnbench.cells.composing import compose
from rnnbench.cells.network import part, state_shapes
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.cells.stepping import one_step
from rnnbench.contracts import Batch, Cell, NetworkSpec
from rnnbench.errors import Unsupported

NO_STREAM = (
    "stream: a network of both directions needs the whole sequence before its first output. "
    "Measure it without stream, or with bidirectional none"
)
NO_STREAM_OF_SEQUENCES = (
    "stream: a network with a decoder has read the whole source before its first output. "
    "Measure it without stream"
)


def split_steps(cell: Cell, spec: NetworkSpec, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """On the host, of any dtype: inputs with time first, (T,B,I) or (T,B), and every initial state (B,...).

    Raises ``Unsupported`` where a direction runs backward, and for a cell that has no step.
    """
    check_recurrent(cell, "stream")
    if spec.bidirectional != "none":
        raise Unsupported(NO_STREAM)
    if spec.decoder is not None:
        raise Unsupported(NO_STREAM_OF_SEQUENCES)
    inputs = np.swapaxes(batch.inputs, 0, 1)
    shapes = state_shapes(cell, spec)
    state = {name: np.zeros((inputs.shape[1], *shape)) for name, shape in shapes.items()}
    return inputs, state | dict(batch.state or {})


def network_step(
    ops: Ops, cell: Cell, spec: NetworkSpec, parameters: Arrays, x: Array, state: Arrays
) -> tuple[Array, dict[str, Array]]:
    """x (B,I) or tokens (B,), states {"layers.0.forward.h": (B,H)} -> outputs (B,O) and the new states.

    Repeated over the steps of a sequence it gives the outputs of ``network_outputs`` with readout "each";
    the last of them are those with readout "last".
    """
    x = ops.rows(parameters["embed.E"], x) if spec.vocab is not None else x
    recurrent = check_recurrent(cell, "stream")
    new: dict[str, Array] = {}
    for index in range(spec.layers):
        prefix = f"layers.{index}.forward."
        after, y = one_step(ops, recurrent, part(parameters, prefix), x, part(state, prefix))
        x, _ = compose(ops, spec, parameters, index, y, x)
        new.update({prefix + name: value for name, value in after.items()})
    return ops.matmul(x, parameters["head.W"]) + parameters["head.b"], new
