"""Keras' recurrent layers as a network: batch-major, weights passed in from the canonical parameters.

The layers hold no state of ours: each call hands them tensors in a ``StatelessScope``, so the gradient
reaches the canonical parameters through the permutation of gates, and a second bias that is a
constant zero stays zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras  # type: ignore[import-untyped]

from rnnbench.cells.activations import LEAKY_SLOPE
from rnnbench.cells.composing import compose, running_of
from rnnbench.cells.network import merge, network_loss, part, sizes_of, split_directions, valid_steps
from rnnbench.cells.ops import Array, Arrays
from rnnbench.cells.penalty import l2_penalty
from rnnbench.cells.placing import DeviceBatch
from rnnbench.contracts import Cell, NetworkSpec, TrainingSpec
from rnnbench_keras.forms import KerasForm
from rnnbench_keras.ops import KerasOps

OPS: Any = KerasOps()

Turn = Callable[[Array, Array | None], Array]
"""x (B,T,...), lengths (B,) or None -> x backwards in time; twice is the identity on what is valid."""


def keras_layer(form: KerasForm, units: int, features: int, dtype: str, *, sequences: bool) -> Any:
    """A built layer from x (B,T,features) to h (B,T,units), or to the last h where not ``sequences``.

    All options that decide the kernel are Keras' defaults.
    """
    options: dict[str, Any] = {} if form.reset_after is None else {"reset_after": form.reset_after}
    layer = getattr(keras.layers, form.layer)(
        units,
        activation=_ACTIVATIONS.get(form.activation, form.activation),
        return_sequences=sequences,
        return_state=True,
        # Keras otherwise repeats the last valid output over the padding
        zero_output_for_mask=sequences,
        kernel_initializer="zeros",
        recurrent_initializer="zeros",
        dtype=dtype,
        **options,
    )
    layer.build((None, None, features))
    return layer


def keras_weights(form: KerasForm, cell: Cell, p: Arrays) -> list[Array]:
    """Canonical W_x (I,G,H), W_h (H,G,H), b (G,H) -> kernel (I,GH), recurrent kernel (H,GH), bias.

    The bias is (GH), or (2,3H) for a GRU with reset_after: of its second row only the h part is
    alive, and holds b_hn.
    """
    order = [cell.gates.index(gate) for gate in form.gates]
    kernel, recurrent = (_join(p[name], order, 1) for name in ("W_x", "W_h"))
    bias = _join(p["b"], order, 0)
    if form.reset_after:
        b_hn = p["b_hn"]
        dead = OPS.zeros(((len(order) - 1) * b_hn.shape[0],), b_hn)
        bias = keras.ops.stack([bias, OPS.concat([dead, b_hn], 0)])
    return [kernel, recurrent, bias]


@dataclass(frozen=True, slots=True)
class KerasStack:
    """Embedding, Keras layers by (layer, direction), readout, head and loss: pure functions of arrays."""

    cell: Cell
    spec: NetworkSpec
    training: TrainingSpec
    form: KerasForm
    turn: Turn
    layers: dict[tuple[int, str], Any]

    @classmethod
    def create(
        cls, cell: Cell, spec: NetworkSpec, training: TrainingSpec, form: KerasForm, turn: Turn, dtype: str
    ) -> KerasStack:
        """Build all layers; the top one returns sequences only where the readout wants every step."""
        layers = {}
        for index in range(spec.layers):
            sequences = spec.readout == "each" or index < spec.layers - 1
            features = sizes_of(cell, spec, index).input
            for direction in spec.directions:
                layers[index, direction] = keras_layer(
                    form, spec.hidden, features, dtype, sequences=sequences
                )
        return cls(cell, spec, training, form, turn, layers)

    def outputs(
        self, parameters: Arrays, data: DeviceBatch, *, training: bool = False
    ) -> tuple[Array, dict[str, Array]]:
        """As ``rnnbench.cells.placing.batch_outputs``, of a batch-major one: outputs (B,O) or (B,T,O)."""
        spec, lengths = self.spec, data.lengths
        x = data.inputs if spec.vocab is None else OPS.rows(parameters["embed.E"], data.inputs)
        mask = valid = None
        if lengths is not None:
            mask = OPS.swap(valid_steps(OPS, x.shape[1], lengths), 0, 1)
            valid = mask[..., None]
            x = OPS.where(valid, x, 0.0)
        join = partial(compose, OPS, spec, parameters, training=training)
        final: dict[str, Array] = {}
        ys: list[Array] = []
        for index in range(spec.layers):
            if ys:
                x, running = join(index - 1, merge(OPS, spec, ys), x, data.dropout, valid)
                final.update(running)
            ys = []
            for direction in spec.directions:
                prefix = f"layers.{index}.{direction}."
                layer, p = self.layers[index, direction], part(parameters, prefix)
                start = part(data.state or {}, prefix)
                if direction == "forward":
                    y, last = self._run(layer, p, x, mask, start)
                else:
                    turned = None if mask is None else self.turn(mask, lengths)
                    y, last = self._run(layer, p, self.turn(x, lengths), turned, start)
                    # without sequences y is the last valid h (B,H): that of step 0
                    y = self.turn(y, lengths) if len(y.shape) == 3 else y
                final.update({prefix + name: value for name, value in last.items()})
                ys.append(y)
        if spec.readout == "last" and spec.residual and spec.layers > 1:
            x = self._read_last(x, lengths)
        valid = valid if spec.readout == "each" else None
        y, running = join(spec.layers - 1, merge(OPS, spec, ys), x, None, valid)
        final.update(running)
        return OPS.matmul(y, parameters["head.W"]) + parameters["head.b"], final

    def loss(self, parameters: Arrays, data: DeviceBatch) -> tuple[Array, dict[str, Array]]:
        """A scalar, and the running statistics after the batch."""
        y, final = self.outputs(parameters, data, training=True)
        if self.spec.readout == "each":
            y = OPS.swap(y, 0, 1)
        loss = network_loss(OPS, self.spec, y, data.targets, data.output_lengths)
        if self.training.l2:
            loss = loss + l2_penalty(OPS, self.training, parameters, self.cell)
        return loss, running_of(final)

    def step(self, parameters: Arrays, x: Array, state: Arrays) -> tuple[Array, dict[str, Array]]:
        """One time step through the layers' cells: x (B,I) or (B,) -> outputs (B,O), the states after it."""
        x = x if self.spec.vocab is None else OPS.rows(parameters["embed.E"], x)
        new: dict[str, Array] = {}
        for index in range(self.spec.layers):
            prefix = f"layers.{index}.forward."
            layer = self.layers[index, "forward"]
            with self._weighted(layer, part(parameters, prefix)):
                y, after = layer.cell(x, [state[prefix + name] for name in self.form.states])
            x, _ = compose(OPS, self.spec, parameters, index, y, x)
            new.update({prefix + name: value for name, value in zip(self.form.states, after, strict=True)})
        return OPS.matmul(x, parameters["head.W"]) + parameters["head.b"], new

    def _read_last(self, x: Array, lengths: Array | None) -> Array:
        """Of what the top layer read (B,T,F), what stands beside its last outputs (B,F)."""
        forward, *backward = split_directions(self.spec, x)
        if lengths is None:
            last = forward[:, -1]
        else:
            last = keras.ops.take_along_axis(forward, lengths[:, None, None] - 1, axis=1)[:, 0]
        return merge(OPS, self.spec, [last, *(half[:, 0] for half in backward)])

    def _run(
        self, layer: Any, p: Arrays, x: Array, mask: Array | None, state: Arrays
    ) -> tuple[Array, dict[str, Array]]:
        with self._weighted(layer, p):
            y, *last = layer(x, mask=mask, initial_state=[state[name] for name in self.form.states])
        return y, dict(zip(self.form.states, last, strict=True))

    def _weighted(self, layer: Any, p: Arrays) -> Any:
        """The scope in which a layer's variables have the values of canonical parameters."""
        values = keras_weights(self.form, self.cell, p)
        return keras.StatelessScope(state_mapping=list(zip(layer.trainable_variables, values, strict=True)))


def _join(value: Array, order: list[int], axis: int) -> Array:
    """The gates along ``axis`` in another order, that axis merged into the last one."""
    if order != list(range(len(order))):
        gates = keras.ops.unstack(value, axis=axis)
        return OPS.concat([gates[index] for index in order], len(value.shape) - 2)
    return OPS.reshape(value, (*value.shape[:axis], -1))


_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "leaky_relu": lambda x: keras.ops.where(x > 0, x, LEAKY_SLOPE * x),
    "gelu": lambda x: 0.5 * x * (1.0 + keras.ops.erf(x * math.sqrt(0.5))),
}
"""In place of Keras' own, whose slope is another, and which TensorFlow keeps a float32 constant in."""
