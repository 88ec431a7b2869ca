"""Temporal convolutional network: causal convolutions whose reach doubles from level to level."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.convolving import convolve
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class TCN:
    """``levels`` = 6 residual blocks l = 0 ... 5 of two causal convolutions of ``taps`` = 3 steps, 2^l apart.

    a_t = relu(Σ_k x_{t-k·2^l} W_1k + b_1);  f_t = relu(Σ_k a_{t-k·2^l} W_2k + b_2);  k = 0, 1, 2.
    y_t = relu(f_t + x_t), which the next block reads; in the first, x_t W_skip + b_skip where I ≠ H.
    It sees 1 + 4 (2^6 - 1) = 253 steps. Without the paper's weight normalisation and dropout inside blocks.
    """

    name: str = "tcn"
    gates: tuple[str, ...] = ()
    paper: str = (
        "Bai, Kolter & Koltun 2018, An empirical evaluation of generic convolutional and recurrent networks "
        "for sequence modeling (arXiv:1803.01271)"
    )
    levels: int = 6
    taps: int = 3

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """<l>.W_1 (3·I,H) or (3·H,H) above level 0, <l>.W_2 (3·H,H), b_1 and b_2 (H); 0.W_skip (I,H)."""
        H, features = sizes.hidden, sizes.input
        shapes: dict[str, tuple[int, ...]] = {}
        for level in range(self.levels):
            shapes[f"{level}.W_1"] = (self.taps * features, H)
            shapes[f"{level}.b_1"] = (H,)
            shapes[f"{level}.W_2"] = (self.taps * H, H)
            shapes[f"{level}.b_2"] = (H,)
            features = H
        if sizes.input != H:
            shapes |= {"0.W_skip": (sizes.input, H), "0.b_skip": (H,)}
        return shapes

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """None."""
        return {}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def over(self, ops: Ops, p: Arrays, x: Array) -> Array:
        """All steps, one level after the other."""
        skipped = ops.matmul(x, p["0.W_skip"]) + p["0.b_skip"] if "0.W_skip" in p else x
        for level in range(self.levels):
            for name in ("1", "2"):
                W, b = p[f"{level}.W_{name}"], p[f"{level}.b_{name}"]
                x = ops.relu(convolve(ops, x, W, b, self.taps, 2**level))
            x = skipped = ops.relu(x + skipped)
        return x
