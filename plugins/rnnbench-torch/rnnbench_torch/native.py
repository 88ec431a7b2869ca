"""torch.nn.RNN, LSTM and GRU: one module for the whole stack, or one per layer where directions are summed
or something stands between layers that torch's modules do not know (of dropout they draw masks of their own).

Batches with lengths are packed by ``put``: sorted by falling length, the steps of all sequences
without their padding in one array (N,I), so that nothing is computed for padding, in the
embedding, the head and the loss neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from rnnbench.cells.composing import compose, norm_shapes
from rnnbench.cells.network import feature_size, merge, part, sizes_of, split_directions
from rnnbench.cells.streaming import split_steps
from rnnbench.contracts import Batch, Cell, NetworkSpec, Parameters, TrainingSpec
from rnnbench.errors import Unsupported
from rnnbench_torch.kernel import watch_path
from rnnbench_torch.layout import NativeCell
from rnnbench_torch.leaves import Leaves
from rnnbench_torch.network import place_dropout, tensor
from rnnbench_torch.norms import NORMS
from rnnbench_torch.ops import TorchOps
from rnnbench_torch.packing import Packing, packing_of, read_ends
from rnnbench_torch.states import States

OPS = TorchOps()


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Dense: inputs (T,B,I) or tokens (T,B), targets flat over (T,B) for readout "each".
    Packed: inputs (N,I) or (N,), targets (N,...), all else sorted. ``states``: what each module takes.
    ``dropout``: (T,B,F) or (1,B,F), packed (N,F).
    """

    inputs: Tensor
    targets: Tensor
    states: Sequence[Any]
    packing: Packing | None
    dropout: Mapping[str, Tensor] | None


class NativeModel:
    """Embedding, recurrent modules and head, all in torch's own layout."""

    def __init__(
        self,
        native: NativeCell,
        cell: Cell,
        spec: NetworkSpec,
        parameters: Parameters,
        training: TrainingSpec,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._native, self._cell, self._spec, self._l2 = native, cell, spec, training.l2
        self._dtype, self._device = dtype, device
        self._summed = spec.bidirectional == "sum"
        self._apart = self._summed or spec.composed
        self._modules = self._make_modules()
        self._states = States(native, spec, apart=self._apart, dtype=dtype, device=device)
        self._leaves = Leaves(native, cell.gates)
        self._embedding = None
        if spec.vocab is not None:
            self._embedding = self._leaves.add("embed.E", tensor(parameters["embed.E"], dtype, device))
        for index in range(spec.layers):
            for direction in spec.directions:
                prefix = f"layers.{index}.{direction}."
                weight_of = partial(self._weight, index, direction)
                self._leaves.load(prefix, part(parameters, prefix), weight_of)
        head = tensor(parameters["head.W"], dtype, device, swap=True)
        self._head_weight = self._leaves.add("head.W", head)
        self._head_bias = self._leaves.add("head.b", tensor(parameters["head.b"], dtype, device))
        self._norms = {
            name: self._leaves.add(name, tensor(parameters[name], dtype, device))
            for name in norm_shapes(spec, feature_size(cell, spec))
        }
        self._kernels = self._leaves.kernels()
        self._path = watch_path(self._modules, packed=spec.lengths)

    @property
    def path(self) -> str:
        """The kernel of all modules, or of each where they differ."""
        one_by_one = self._spec.composed and self._spec.layers > 1
        return f"{self._path}, layer by layer" if one_by_one else self._path

    @property
    def compiled(self) -> bool:
        """Never: torch's modules run eagerly."""
        return False

    @property
    def compilations(self) -> int:
        """Nothing is compiled."""
        return 0

    @property
    def leaves(self) -> Sequence[Tensor]:
        """See Model."""
        return self._leaves.values

    def put(self, batch: Batch) -> Data:
        """See Model."""
        spec = self._spec
        each = spec.readout == "each"
        inputs = torch.int64 if spec.vocab is not None else self._dtype
        integers = spec.loss == "cross_entropy"
        targets = torch.int64 if integers else self._dtype
        if batch.lengths is None:
            flat = np.swapaxes(batch.targets, 0, 1) if each else batch.targets
            flat = flat.reshape(-1) if integers else flat.reshape(-1, spec.output_size)
            return Data(
                inputs=tensor(batch.inputs, inputs, self._device, swap=True),
                targets=tensor(flat, targets, self._device),
                states=self._states.initial(batch.state, None),
                packing=None,
                dropout=place_dropout(batch, self._dtype, self._device),
            )
        packing = packing_of(batch.lengths, batch.inputs.shape[1], self._device)
        y = packing.pack(batch.targets) if each else torch.from_numpy(batch.targets[packing.order])
        return Data(
            inputs=packing.pack(batch.inputs).to(device=self._device, dtype=inputs),
            targets=y.to(device=self._device, dtype=targets),
            states=self._states.initial(batch.state, packing.order),
            packing=packing,
            dropout=None
            if batch.dropout is None
            else {
                name: packing.pack(mask).to(device=self._device, dtype=self._dtype)
                for name, mask in batch.dropout.items()
            },
        )

    def outputs(self, data: Data) -> tuple[Tensor, dict[str, Tensor]]:
        """See Model."""
        self._set_training(False)
        features, finals, _ = self._run(data)
        y = functional.linear(features, self._head_weight, self._head_bias)
        packing = data.packing
        if self._spec.readout == "each":
            y = y.transpose(0, 1) if packing is None else packing.unpack(y)
        if packing is None:
            return y, self._states.final(finals, None)
        return y.index_select(0, packing.restore), self._states.final(finals, packing.restore)

    @property
    def step_path(self) -> str:
        """A module of all time steps takes four times as long for one as torch's function for one."""
        return f"torch.{self._native.step}"

    def put_steps(self, batch: Batch) -> tuple[Sequence[Tensor], list[Any]]:
        """See Network; the state is (B,H) for each layer, or a tuple of them."""
        inputs, state = split_steps(self._cell, self._spec, batch)
        dtype = torch.int64 if self._spec.vocab is not None else self._dtype
        xs = tensor(inputs, dtype, self._device).unbind(0)
        return xs, self._states.single(state)

    def step(self, x: Tensor, state: Sequence[Any]) -> tuple[Tensor, list[Any]]:
        """See Model."""
        if self._embedding is not None:
            x = functional.embedding(x, self._embedding)
        cell = _projected_step if self._native.projected else getattr(torch, self._native.step)
        new = []
        layers = [weights for module in self._modules for weights in module.all_weights]
        for layer, (weights, before) in enumerate(zip(layers, state, strict=True)):
            after = cell(x, before, *weights)
            x, _ = self._compose(layer, after[0] if isinstance(after, tuple) else after, x)
            new.append(after)
        return functional.linear(x, self._head_weight, self._head_bias), new

    def loss(self, data: Data) -> tuple[Tensor, dict[str, Tensor]]:
        """See Model."""
        self._set_training(True)
        features, _, running = self._run(data, training=True)
        y = functional.linear(features, self._head_weight, self._head_bias)
        y = y.view(-1, y.shape[-1])
        if self._spec.loss == "cross_entropy":
            loss = functional.cross_entropy(y, data.targets)
        else:
            loss = functional.mse_loss(y, data.targets)
        if self._l2:
            squares = torch.stack([leaf.square().sum() for leaf in self._kernels])
            loss = loss + 0.5 * self._l2 * squares.sum()
        return loss, running

    def keep(self, running: Mapping[str, Tensor]) -> None:
        """See Model."""
        for name, value in running.items():
            self._norms[name].copy_(value)

    def zero_frozen(self) -> None:
        """See Model."""
        self._leaves.zero_frozen()

    def canonical(self, values: Sequence[Tensor]) -> dict[str, Tensor]:
        """See Model."""
        return self._leaves.canonical(values)

    def _make_modules(self) -> list[nn.RNNBase]:
        spec = self._spec
        layers = [1] * spec.layers if self._apart else [spec.layers]
        make = getattr(nn, self._native.module)
        options: dict[str, Any] = dict(self._native.options)
        if self._native.projected:
            options["proj_size"] = self._cell.output_size(sizes_of(self._cell, spec, 0))
            if options["proj_size"] >= spec.hidden:
                raise Unsupported(
                    f"torch's proj_size has to be smaller than hidden, {spec.hidden}; projection is "
                    f"{options['proj_size']}. Use portable, or a smaller projection"
                )
        return [
            make(
                sizes_of(self._cell, spec, number).input,
                spec.hidden,
                num_layers=count,
                bidirectional=len(spec.directions) == 2,
                dtype=self._dtype,
                device=self._device,
                **options,
            )
            for number, count in enumerate(layers)
        ]

    def _weight(self, index: int, direction: str, kind: str) -> Tensor:
        module, layer = (self._modules[index], 0) if self._apart else (self._modules[0], index)
        weight: Tensor = getattr(module, f"{kind}_l{layer}{'_reverse' if direction == 'backward' else ''}")
        return weight

    def _set_training(self, training: bool) -> None:
        # cuDNN reserves memory for a backward pass only in training
        for module in self._modules:
            if module.training is not training:
                module.training = training

    def _run(self, data: Data, *, training: bool = False) -> tuple[Tensor, list[Any], dict[str, Tensor]]:
        """Features that the head reads, the final state of each module, and running statistics."""
        dropout = data.dropout if training else None
        x = data.inputs if self._embedding is None else functional.embedding(data.inputs, self._embedding)
        y, finals, running = x, list[Any](), dict[str, Tensor]()
        for number, (module, state) in enumerate(zip(self._modules, data.states, strict=True)):
            if number:
                x, moved = self._compose(number - 1, self._merge(y), x, dropout, training=training)
                running.update(moved)
            if data.packing is None:
                y, final = self._unroll(module, x, state)
            else:
                packed, final = module(PackedSequence(x, data.packing.batch_sizes), state)
                y = packed.data
            finals.append(final)
        top = self._spec.layers - 1
        if self._spec.readout == "each":
            y = self._merge(y)
        else:
            # the last valid step forward and step 0 backward are where each direction ends
            h = finals[-1][0] if len(self._native.states) > 1 else finals[-1]
            y = merge(OPS, self._spec, list(h[-len(self._spec.directions) :]))
            if self._spec.residual and top > 0:
                x = read_ends(self._spec, split_directions(self._spec, x), data.packing)
        features, moved = self._compose(top, y, x, training=training)
        return features, finals, running | moved

    def _compose(
        self,
        layer: int,
        y: Tensor,
        x: Tensor,
        dropout: Mapping[str, Tensor] | None = None,
        *,
        training: bool = False,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return compose(OPS, self._spec, self._norms, layer, y, x, dropout, training=training, norms=NORMS)

    def _unroll(self, module: nn.RNNBase, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """All steps; where gradients are truncated, window after window, each from a state without a past."""
        window = self._spec.window
        if window is None:
            return module(x, state)  # type: ignore[no-any-return]
        ys, stop = [], (len(x) - 1) % window + 1
        for start in (0, *range(stop, len(x), window)):
            if start:  # not behind the last window, whose state may be what is read
                state = tuple(each.detach() for each in state) if isinstance(state, tuple) else state.detach()
            y, state = module(x[start : start + window if start else stop], state)
            ys.append(y)
        return torch.cat(ys), state

    def _merge(self, y: Tensor) -> Tensor:
        """Concatenated is what bidirectional modules give."""
        if not self._summed:
            return y
        forward, backward = y.chunk(2, -1)
        return forward + backward


def _projected_step(x: Tensor, before: tuple[Tensor, Tensor], *weights: Tensor) -> tuple[Tensor, Tensor]:
    """torch.lstm_cell knows no projection: the function of all steps, over one."""
    start = tuple(each[None] for each in before)
    _, h, c = torch.lstm(x[None], start, weights, True, 1, 0.0, False, False, False)
    return h[0], c[0]
