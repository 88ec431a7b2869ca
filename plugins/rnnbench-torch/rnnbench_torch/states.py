"""Canonical states by name, and the tensors that torch's recurrent modules take and give for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnbench.contracts import NetworkSpec, State
from rnnbench_torch.layout import NativeCell
from rnnbench_torch.network import tensor


class States:
    """Of one module for the whole stack, or of one per layer where they stand ``apart``.

    A module's states are a tensor, or a tuple of two for an LSTM.
    """

    def __init__(
        self, native: NativeCell, spec: NetworkSpec, *, apart: bool, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._dtype, self._device = dtype, device
        layers = [[f"layers.{i}.{d}." for d in spec.directions] for i in range(spec.layers)]
        modules = layers if apart else [[prefix for prefixes in layers for prefix in prefixes]]
        # of each module and state, its layers and directions in torch's order
        self._names = [[[prefix + name for prefix in each] for name in native.states] for each in modules]

    def initial(self, state: State | None, order: np.ndarray | None) -> list[Any]:
        """(layers*directions,B,H) for each module, sequences in ``order``; None where a module's are zero."""
        if state is None:
            return [None] * len(self._names)
        rows = slice(None) if order is None else order
        return [
            _joined([self._place(np.stack([state[name][rows] for name in names])) for names in module])
            for module in self._names
        ]

    def single(self, state: State) -> list[Any]:
        """(B,H) for each layer, as torch's functions of one step take them."""
        return [
            _joined([self._place(state[name]) for name in names])
            for module in self._names
            for names in zip(*module, strict=True)
        ]

    def final(self, finals: Sequence[Any], restore: Tensor | None) -> dict[str, Tensor]:
        """What the modules gave, by name; ``restore`` (B,) undoes the order of sequences."""
        named: dict[str, Tensor] = {}
        for module, final in zip(self._names, finals, strict=True):
            parts = final if len(module) > 1 else (final,)
            for names, value in zip(module, parts, strict=True):
                if restore is not None:
                    value = value.index_select(1, restore)
                named.update(zip(names, value.unbind(0), strict=True))
        return named

    def _place(self, values: np.ndarray) -> Tensor:
        return tensor(values, self._dtype, self._device)


def _joined(parts: list[Tensor]) -> Any:
    return tuple(parts) if len(parts) > 1 else parts[0]
