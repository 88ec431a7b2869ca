"""The cell's own ``step`` in a loop, eager or compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rnnbench.cells.composing import running_of
from rnnbench.cells.decoding import target_of
from rnnbench.cells.network import network_loss, network_outputs, parameter_shapes, stack_layers, unroll
from rnnbench.cells.penalty import l2_penalty
from rnnbench.cells.scanning import scan_layer
from rnnbench.cells.streaming import network_step, split_steps
from rnnbench.contracts import Batch, Cell, NetworkSpec, Parameters, SequenceCell, TrainingSpec
from rnnbench_torch.compiled import STEPS, Compiler, compiled_layer
from rnnbench_torch.network import place_dropout, tensor
from rnnbench_torch.ops import TorchOps
from rnnbench_torch.scan import scan_path


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """inputs (T,B,I) or (T,B); targets with time first for readout "each"; lengths (B,); dropout (T,B,F)."""

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None
    state: Mapping[str, Tensor] | None
    dropout: Mapping[str, Tensor] | None
    target_lengths: Tensor | None
    decoder_inputs: Tensor | None


class PortableModel:
    """Runs any cell; its leaves are the canonical parameters themselves.

    Where a ``compiler`` is given, the steps run through what it makes of them. With ``scan`` all steps of a
    layer are computed at once; the cell must be affine in its state.
    """

    def __init__(
        self,
        cell: Cell,
        spec: NetworkSpec,
        parameters: Parameters,
        training: TrainingSpec,
        dtype: torch.dtype,
        device: torch.device,
        compiler: Compiler | None = None,
        *,
        scan: bool = False,
    ) -> None:
        self._compiler = compiler
        self._scan = scan
        if scan:
            self._layer = scan_layer
        else:
            self._layer = unroll if compiler is None else compiled_layer(compiler)
        self._network_step = network_step if compiler is None else compiler.compile(network_step)
        self._ops = TorchOps()
        self._cell = cell
        self._spec = spec
        self._training = training
        self._dtype = dtype
        self._device = device
        self._parameters = {
            name: tensor(parameters[name], dtype, device).requires_grad_()
            for name in parameter_shapes(cell, spec)
        }

    @property
    def path(self) -> str:
        """See Model."""
        if self._scan:
            return scan_path(self._device)
        if isinstance(self._cell, SequenceCell):
            return "eager, all steps at once"
        return "eager loop" if self._compiler is None else f"inductor, {STEPS} steps at a time"

    @property
    def compiled(self) -> bool:
        """See Model."""
        return self._compiler is not None

    @property
    def compilations(self) -> int:
        """See Model."""
        return 0 if self._compiler is None else self._compiler.compilations

    @property
    def leaves(self) -> Sequence[Tensor]:
        """The canonical parameters, in canonical order."""
        return list(self._parameters.values())

    def put(self, batch: Batch) -> Data:
        """See Model."""
        spec = self._spec
        inputs = torch.int64 if spec.vocab is not None else self._dtype
        targets = torch.int64 if spec.loss == "cross_entropy" else self._dtype
        lengths, state, fed = batch.lengths, batch.state, batch.decoder_inputs
        answers = batch.target_lengths
        return Data(
            inputs=tensor(batch.inputs, inputs, self._device, swap=True),
            targets=tensor(batch.targets, targets, self._device, swap=spec.readout == "each"),
            lengths=None if lengths is None else tensor(lengths, torch.int64, self._device),
            state=None
            if state is None
            else {name: tensor(value, self._dtype, self._device) for name, value in state.items()},
            dropout=place_dropout(batch, self._dtype, self._device),
            target_lengths=None if answers is None else tensor(answers, torch.int64, self._device),
            decoder_inputs=None if fed is None else tensor(fed, torch.int64, self._device, swap=True),
        )

    def outputs(self, data: Data) -> tuple[Tensor, dict[str, Tensor]]:
        """See Model."""
        y, final = self._run(data)
        return (y.transpose(0, 1) if self._spec.readout == "each" else y), final

    @property
    def step_path(self) -> str:
        """See Network."""
        return "the cell's step, eager" if self._compiler is None else "the cell's step, inductor"

    def put_steps(self, batch: Batch) -> tuple[Sequence[Tensor], dict[str, Tensor]]:
        """See Network."""
        inputs, state = split_steps(self._cell, self._spec, batch)
        dtype = torch.int64 if self._spec.vocab is not None else self._dtype
        xs = tensor(inputs, dtype, self._device).unbind(0)
        return xs, {name: tensor(value, self._dtype, self._device) for name, value in state.items()}

    def step(self, x: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """See Model."""
        after: tuple[Tensor, dict[str, Tensor]] = self._network_step(
            self._ops, self._cell, self._spec, self._parameters, x, state
        )
        return after

    def loss(self, data: Data) -> tuple[Tensor, dict[str, Tensor]]:
        """See Model."""
        y, final = self._run(data, training=True)
        lengths = data.lengths if data.target_lengths is None else data.target_lengths
        loss: Tensor = network_loss(self._ops, self._spec, y, data.targets, lengths)
        if self._training.l2:
            loss = loss + l2_penalty(self._ops, self._training, self._parameters, self._cell)
        return loss, running_of(final)

    def keep(self, running: Mapping[str, Tensor]) -> None:
        """See Model."""
        for name, value in running.items():
            self._parameters[name].copy_(value)

    def zero_frozen(self) -> None:
        """Nothing is frozen."""

    def canonical(self, values: Sequence[Tensor]) -> dict[str, Tensor]:
        """See Model."""
        return dict(zip(self._parameters, values, strict=True))

    def _run(self, data: Data, *, training: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
        return network_outputs(
            self._ops,
            self._cell,
            self._spec,
            self._parameters,
            data.inputs,
            data.lengths,
            data.state,
            stack=partial(stack_layers, layer=self._layer),
            dropout=data.dropout if training else None,
            target=target_of(data.targets, data.target_lengths, data.decoder_inputs),
            training=training,
        )
