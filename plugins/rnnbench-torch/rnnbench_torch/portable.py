"""The cell's own ``step`` in a loop, eager or compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from rnnbench.cells.network import parameter_shapes, stack_layers, unroll
from rnnbench.cells.placing import DeviceBatch, batch_loss, batch_outputs, place
from rnnbench.cells.scanning import scan_layer
from rnnbench.cells.streaming import network_step, split_steps
from rnnbench.contracts import Batch, Cell, NetworkSpec, Parameters, SequenceCell, TrainingSpec
from rnnbench_torch.compiled import STEPS, Compiler, compiled_layer
from rnnbench_torch.network import tensor
from rnnbench_torch.ops import TorchOps
from rnnbench_torch.scan import scan_path


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
        steps = unroll if compiler is None else compiled_layer(compiler)
        self._stack = partial(stack_layers, layer=scan_layer if scan else steps)
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

    def put(self, batch: Batch) -> DeviceBatch:
        """See Model."""
        return place(self._spec, batch, self._place)

    def outputs(self, data: DeviceBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """See Model."""
        y, final = batch_outputs(self._ops, self._cell, self._spec, self._parameters, data, self._stack)
        return (y.transpose(0, 1) if self._spec.readout == "each" else y), final

    @property
    def step_path(self) -> str:
        """See Network."""
        return "the cell's step, eager" if self._compiler is None else "the cell's step, inductor"

    def put_steps(self, batch: Batch) -> tuple[Sequence[Tensor], dict[str, Tensor]]:
        """See Network."""
        inputs, state = split_steps(self._cell, self._spec, batch)
        xs = self._place(inputs, integers=self._spec.vocab is not None).unbind(0)
        return xs, {name: self._place(value) for name, value in state.items()}

    def step(self, x: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """See Model."""
        after: tuple[Tensor, dict[str, Tensor]] = self._network_step(
            self._ops, self._cell, self._spec, self._parameters, x, state
        )
        return after

    def loss(self, data: DeviceBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """See Model."""
        return batch_loss(
            self._ops, self._cell, self._spec, self._training, self._parameters, data, self._stack
        )

    def keep(self, running: Mapping[str, Tensor]) -> None:
        """See Model."""
        for name, value in running.items():
            self._parameters[name].copy_(value)

    def zero_frozen(self) -> None:
        """Nothing is frozen."""

    def canonical(self, values: Sequence[Tensor]) -> dict[str, Tensor]:
        """See Model."""
        return dict(zip(self._parameters, values, strict=True))

    def _place(self, values: np.ndarray, integers: bool = False) -> Tensor:
        return tensor(values, torch.int64 if integers else self._dtype, self._device)
