"""Batches with lengths, packed as torch packs them: sorted by falling length, the steps without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnnbench.cells.network import merge
from rnnbench.contracts import NetworkSpec
from rnnbench_torch.ops import TorchOps


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """``order`` (B,) sorts the sequences and ``restore`` (B,) undoes it; ``lengths`` (B,) are sorted.

    ``batch_sizes`` (T',): sequences that have a step t, on the host; ``length`` is T, of which T' may fall
    short; ``last`` (B,) the rows of the last valid steps.
    """

    order: np.ndarray
    restore: Tensor
    lengths: Tensor
    batch_sizes: Tensor
    length: int
    last: Tensor

    def pack(self, values: np.ndarray) -> Tensor:
        """values (B,T,...), or (B,1,...) for the same at all steps -> (N,...), on the host."""
        whole = np.broadcast_to(values, (len(values), self.length, *values.shape[2:]))
        sorted_values = torch.from_numpy(np.array(whole[self.order]))
        return pack_padded_sequence(sorted_values, self.lengths, batch_first=True).data

    def unpack(self, values: Tensor) -> Tensor:
        """values (N,F) -> (B,T,F), still sorted, 0 behind the lengths."""
        packed = PackedSequence(values, self.batch_sizes)
        return pad_packed_sequence(packed, batch_first=True, total_length=self.length)[0]


def packing_of(lengths: np.ndarray, length: int, device: torch.device) -> Packing:
    """How a batch of so many valid steps out of T=``length`` is packed."""
    order = np.argsort(-lengths, kind="stable")
    falling = torch.from_numpy(lengths[order].astype(np.int64))
    batch_sizes = torch.from_numpy((lengths[None, :] > np.arange(lengths.max())[:, None]).sum(1))
    starts = batch_sizes.cumsum(0) - batch_sizes
    return Packing(
        order=order,
        restore=torch.from_numpy(np.argsort(order)).to(device),
        lengths=falling,
        batch_sizes=batch_sizes,
        length=length,
        last=(starts[falling - 1] + torch.arange(len(falling))).to(device),
    )


def read_ends(spec: NetworkSpec, halves: Sequence[Tensor], packing: Packing | None) -> Tensor:
    """Of each direction (T,B,F), or packed (N,F), what stands where it ends, merged (B,F)."""
    forward, *backward = halves
    if packing is None:
        ends = [forward[-1], *(half[0] for half in backward)]
    else:
        first = len(packing.last)
        ends = [forward.index_select(0, packing.last), *(half[:first] for half in backward)]
    merged: Tensor = merge(TorchOps(), spec, ends)
    return merged
