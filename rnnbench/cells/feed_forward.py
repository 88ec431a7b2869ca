"""A feed-forward net on a window of the past: what can be known without any memory."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.convolving import convolve
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class FeedForward:
    """y_t = relu([x_{t-15}; ...; x_t] W + b): one hidden layer on a window of ``taps`` = 16 steps.

    Before the first step stand zeros. relu stands for the paper's sigmoid. A second layer reads a window of
    the first one's outputs, so that L of them see 15 L + 1 steps: a time-delay network.
    """

    name: str = "feed_forward"
    gates: tuple[str, ...] = ()
    paper: str = "Waibel et al. 1989, Phoneme recognition using time-delay neural networks"
    taps: int = 16

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W (16·I,H), the oldest step's rows first, and b (H)."""
        return {"W": (self.taps * sizes.input, sizes.hidden), "b": (sizes.hidden,)}

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """None."""
        return {}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def over(self, ops: Ops, p: Arrays, x: Array) -> Array:
        """All steps."""
        return ops.relu(convolve(ops, x, p["W"], p["b"], self.taps))
