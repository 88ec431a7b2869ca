"""``ops`` over torch, differentiable by its autograd."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rnnbench.cells.ops import Array, Arrays, Body
from rnnbench_torch.scan import affine_scan


class TorchOps:
    """See ``rnnbench.cells.ops.Ops``."""

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """See Ops."""
        return torch.matmul(a, b)

    def batch_matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """See Ops."""
        return torch.matmul(a, b)

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """See Ops."""
        return x.reshape(shape)

    def swap(self, x: Tensor, a: int, b: int) -> Tensor:
        """See Ops."""
        return x.transpose(a, b)

    def concat(self, xs: Sequence[Tensor], axis: int) -> Tensor:
        """See Ops."""
        return torch.cat(list(xs), axis)

    def stack(self, xs: Sequence[Tensor], axis: int) -> Tensor:
        """See Ops."""
        return torch.stack(list(xs), axis)

    def flip(self, x: Tensor, axis: int) -> Tensor:
        """See Ops."""
        return x.flip(axis)

    def rows(self, table: Tensor, index: Tensor) -> Tensor:
        """See Ops."""
        return functional.embedding(index, table)

    def pick(self, x: Tensor, index: Tensor) -> Tensor:
        """See Ops."""
        return x.gather(-1, index.unsqueeze(-1)).squeeze(-1)

    def argmax(self, x: Tensor) -> Tensor:
        """See Ops."""
        return x.argmax(-1)

    def where(self, condition: Tensor, a: Array, b: Array) -> Tensor:
        """See Ops."""
        return torch.where(condition, a, b)

    def tanh(self, x: Tensor) -> Tensor:
        """See Ops."""
        return torch.tanh(x)

    def sigmoid(self, x: Tensor) -> Tensor:
        """See Ops."""
        return torch.sigmoid(x)

    def relu(self, x: Tensor) -> Tensor:
        """See Ops."""
        return torch.relu(x)

    def exp(self, x: Tensor) -> Tensor:
        """See Ops."""
        return torch.exp(x)

    def log(self, x: Tensor) -> Tensor:
        """See Ops."""
        return torch.log(x)

    def sqrt(self, x: Tensor) -> Tensor:
        """See Ops."""
        return torch.sqrt(x)

    def sin(self, x: Tensor) -> Tensor:
        """See Ops."""
        return torch.sin(x)

    def cos(self, x: Tensor) -> Tensor:
        """See Ops."""
        return torch.cos(x)

    def erf(self, x: Tensor) -> Tensor:
        """See Ops."""
        return torch.erf(x)

    def stop_gradient(self, x: Tensor) -> Tensor:
        """See Ops."""
        return x.detach()

    def minimum(self, x: Tensor, bound: float) -> Tensor:
        """See Ops."""
        return torch.clamp(x, max=bound)

    def log_softmax(self, x: Tensor) -> Tensor:
        """See Ops."""
        return torch.log_softmax(x, -1)

    def sum(self, x: Tensor, axis: int | None = None) -> Tensor:
        """See Ops."""
        return x.sum() if axis is None else x.sum(axis)

    def zeros(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """See Ops."""
        return torch.zeros(shape, dtype=like.dtype, device=like.device)

    def steps(self, length: int, like: Tensor) -> Tensor:
        """See Ops."""
        return torch.arange(length, dtype=like.dtype, device=like.device)

    def constant(self, value: np.ndarray, like: Tensor) -> Tensor:
        """See Ops."""
        return torch.tensor(value, dtype=like.dtype, device=like.device)

    def cast(self, x: Tensor, like: Tensor) -> Tensor:
        """See Ops."""
        return x.to(like.dtype)

    def scan(self, body: Body, state: Arrays, inputs: Arrays) -> tuple[dict[str, Tensor], Tensor]:
        """A Python loop, as anybody writes it in torch."""
        # x[t] in a loop would give T gradients the size of x; unbind gives one
        steps = {name: value.unbind(0) for name, value in inputs.items()}
        current = dict(state)
        ys = []
        for t in range(len(next(iter(steps.values())))):
            current, y = body(current, {name: value[t] for name, value in steps.items()})
            ys.append(y)
        return current, torch.stack(ys)

    def affine_scan(self, a: Tensor, b: Tensor, start: Tensor, complex_state: bool) -> Tensor:
        """See Ops."""
        return affine_scan(a, b, start, complex_state)
