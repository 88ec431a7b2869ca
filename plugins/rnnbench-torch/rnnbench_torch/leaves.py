"""What is trained of torch's recurrent modules: each leaf in torch's own layout, and its canonical name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rnnbench.cells.penalty import is_kernel
from rnnbench.contracts import Parameters
from rnnbench_torch.layout import NativeCell, to_canonical, to_torch


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a leaf belongs: "layers.0.forward." and "weight_ih", or a canonical name and ""."""

    name: str
    kind: str


class Leaves:
    """Of one network, in the order in which they were added; ``gates`` are the cell's, in canonical order."""

    def __init__(self, native: NativeCell, gates: Sequence[str]) -> None:
        self.values: list[Tensor] = []
        self._native, self._gates = native, gates
        self._slots: list[Slot] = []
        self._frozen: list[tuple[Tensor, Tensor]] = []

    def add(self, name: str, leaf: Tensor, kind: str = "") -> Tensor:
        """The leaf itself, which is trained from now on."""
        self._slots.append(Slot(name, kind))
        self.values.append(leaf.requires_grad_())
        return leaf

    def load(self, prefix: str, parameters: Parameters, weight_of: Callable[[str], Tensor]) -> None:
        """Copy one layer and direction into the module's own weights, which have a kind such as "weight_ih".

        In place: cuDNN wants all weights in the one buffer that they are in.
        """
        inner = self._native.inner
        for kind, value in to_torch(self._native, self._gates, parameters).items():
            leaf = weight_of(kind)
            with torch.no_grad():
                leaf.copy_(torch.from_numpy(np.array(value)))
            if kind != "bias_hh":
                self.add(prefix, leaf, kind)
            elif inner is None:
                leaf.requires_grad_(False)
            else:
                self.add(prefix, leaf, kind)
                alive = torch.zeros_like(leaf, requires_grad=False)
                alive.view(len(self._native.gates), -1)[self._native.gates.index(inner)] = 1
                self._frozen.append((leaf, alive))

    def kernels(self) -> list[Tensor]:
        """Those that L2 bears on."""
        pairs = zip(self._slots, self.values, strict=True)
        return [leaf for slot, leaf in pairs if slot.kind.startswith("weight") or is_kernel(slot.name)]

    def zero_frozen(self) -> None:
        """A GRU's second bias lives in its n row only."""
        for leaf, alive in self._frozen:
            assert leaf.grad is not None
            leaf.grad.mul_(alive)

    def canonical(self, values: Sequence[Tensor]) -> dict[str, Tensor]:
        """Values, or their gradients, in the order of the leaves -> by canonical name and shape."""
        named = {}
        for slot, value in zip(self._slots, values, strict=True):
            if slot.kind:
                name, view = to_canonical(self._native, self._gates, slot.kind, value)
                named[slot.name + name] = view
            else:
                named[slot.name] = value.t() if slot.name == "head.W" else value
        return named
