"""Keras' recurrent layers as a network: batch-major, weights passed in from the canonical parameters.

The layers hold no state of ours: each call hands them tensors, so the gradient reaches the
canonical parameters through the permutation of gates, and a second bias that is a constant zero
stays zero.
"""

# rnnbench-keras has a twin of this module and of forms.py, on purpose. If one plugin depended on the other,
# whoever installs it would get backends they did not ask for, in each suite and verification that names none;
# a third distribution for 150 lines is one more to build and release; the core knows no framework's layers.
# Nor are the two alike inside: here TensorFlow's own ops decide the kernel that is timed, there keras.ops do.

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras  # type: ignore[import-untyped]
import tensorflow as tf  # type: ignore[import-untyped]

from rnnbench.cells.activations import LEAKY_SLOPE
from rnnbench.cells.composing import compose
from rnnbench.cells.network import merge, part, sizes_of, split_directions, valid_steps
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.cells.placing import DeviceBatch
from rnnbench.contracts import Cell, NetworkSpec
from rnnbench_tensorflow.forms import KerasForm


def keras_layer(form: KerasForm, units: int, features: int, dtype: str, *, sequences: bool) -> Any:
    """A built layer from x (B,T,features) to h (B,T,units), or to the last h where not ``sequences``."""
    options: dict[str, Any] = {} if form.reset_after is None else {"reset_after": form.reset_after}
    layer = getattr(keras.layers, form.layer)(
        units,
        activation=_activation(form.activation, dtype),
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
        dead = tf.zeros(((len(order) - 1) * b_hn.shape[0],), b_hn.dtype)
        bias = tf.stack([bias, tf.concat([dead, b_hn], 0)])
    return [kernel, recurrent, bias]


@dataclass(frozen=True, slots=True)
class KerasLayers:
    """Embedding, Keras layers by (layer, direction), readout and head."""

    cell: Cell
    spec: NetworkSpec
    form: KerasForm
    layers: dict[tuple[int, str], Any]

    @classmethod
    def create(cls, cell: Cell, spec: NetworkSpec, form: KerasForm, dtype: str) -> KerasLayers:
        """Build all layers; the top one returns sequences only where the readout wants every step."""
        layers = {}
        for index in range(spec.layers):
            sequences = spec.readout == "each" or index < spec.layers - 1
            features = sizes_of(cell, spec, index).input
            for direction in spec.directions:
                layers[index, direction] = keras_layer(
                    form, spec.hidden, features, dtype, sequences=sequences
                )
        return cls(cell, spec, form, layers)

    def outputs(
        self, ops: Ops, parameters: Arrays, batch: DeviceBatch, *, training: bool
    ) -> tuple[Array, dict[str, Array]]:
        """As ``batch_outputs``, of a batch-major one: inputs (B,T,I) or tokens (B,T) -> (B,O) or (B,T,O)."""
        x, lengths = batch.inputs, batch.lengths
        if self.spec.vocab is not None:
            x = ops.rows(parameters["embed.E"], x)
        mask = valid = None
        if lengths is not None:
            mask = ops.swap(valid_steps(ops, x.shape[1], lengths), 0, 1)
            valid = mask[..., None]
            x = ops.where(valid, x, 0.0)
        join = partial(compose, ops, self.spec, parameters, training=training)
        final: dict[str, Array] = {}
        ys: list[Array] = []
        for index in range(self.spec.layers):
            if ys:
                x, running = join(index - 1, merge(ops, self.spec, ys), x, batch.dropout, valid)
                final.update(running)
            ys = []
            for direction in self.spec.directions:
                prefix = f"layers.{index}.{direction}."
                backward = direction == "backward"
                y, last = self._run(
                    self.layers[index, direction],
                    part(parameters, prefix),
                    _reverse(x, lengths) if backward else x,
                    mask,
                    part(batch.state or {}, prefix),
                )
                final.update({prefix + name: value for name, value in last.items()})
                # without sequences y is the last valid h (B,H): of step 0 in the backward direction
                ys.append(_reverse(y, lengths) if backward and len(y.shape) == 3 else y)
        if self.spec.readout == "last" and self.spec.residual and self.spec.layers > 1:
            x = self._read_last(ops, x, lengths)
        valid = valid if self.spec.readout == "each" else None
        y, running = join(self.spec.layers - 1, merge(ops, self.spec, ys), x, None, valid)
        final.update(running)
        return ops.matmul(y, parameters["head.W"]) + parameters["head.b"], final

    def _read_last(self, ops: Ops, x: Array, lengths: Array | None) -> Array:
        """Of what the top layer read (B,T,F), what stands beside its last outputs (B,F)."""
        forward, *backward = split_directions(self.spec, x)
        last = forward[:, -1] if lengths is None else tf.gather(forward, lengths - 1, axis=1, batch_dims=1)
        return merge(ops, self.spec, [last, *(half[:, 0] for half in backward)])

    def _run(
        self, layer: Any, p: Arrays, x: Array, mask: Array | None, state: Arrays
    ) -> tuple[Array, dict[str, Array]]:
        (y, *last), _ = layer.stateless_call(
            keras_weights(self.form, self.cell, p),
            [variable.value for variable in layer.non_trainable_variables],
            x,
            mask=mask,
            initial_state=[state[name] for name in self.form.states],
        )
        return y, dict(zip(self.form.states, last, strict=True))


def _reverse(x: Array, lengths: Array | None) -> Array:
    """x (B,T,F) backwards in time; padding stays on the right, where cuDNN must have it."""
    return tf.reverse(x, [1]) if lengths is None else tf.reverse_sequence(x, lengths, seq_axis=1)


def _join(value: Array, order: list[int], axis: int) -> Array:
    """The gates along ``axis`` in another order, that axis merged into the last one."""
    if order != list(range(len(order))):
        gates = tf.unstack(value, axis=axis)
        return tf.concat([gates[index] for index in order], -1)
    return tf.reshape(value, (*value.shape[:axis], -1))


def _activation(name: str, dtype: str) -> Any:
    # these two ops keep a constant in float32: a slope, and 1/√2
    exact = {
        "leaky_relu": lambda x: tf.where(x > 0, x, tf.constant(LEAKY_SLOPE, x.dtype) * x),
        "gelu": lambda x: 0.5 * x * (1.0 + tf.math.erf(x * tf.constant(math.sqrt(0.5), x.dtype))),
    }
    if dtype == "float64" and name in exact:
        return exact[name]
    return (lambda x: tf.nn.leaky_relu(x, LEAKY_SLOPE)) if name == "leaky_relu" else name
