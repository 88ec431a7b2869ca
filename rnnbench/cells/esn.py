"""Echo state network: a random reservoir that never learns, under a readout that does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnbench.cells.gates import gated_shapes, linear
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class ESN:
    """h_t = (1 - a) h_{t-1} + a tanh([1; x_t] W_in + h_{t-1} W_h); y_t = h_t.

    W_in is b above W_x; a is ``leak``. All three are constants; the readout is fitted by ridge regression.
    Defaults are a choice; a spectral radius below 1 lets the state forget where it began.
    """

    name: str = "esn"
    leak: float = 0.3
    spectral_radius: float = 0.9
    input_scale: float = 0.5
    gates: tuple[str, ...] = ("h",)
    fixed: tuple[str, ...] = ("W_x", "W_h", "b")
    paper: str = "Jaeger 2001, The echo state approach (GMD report 148); leaky: Jaeger et al. 2007"

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """W_x (I,1,H), W_h (H,1,H), b (1,H)."""
        return gated_shapes(sizes, self.gates)

    def start(self, sizes: Sizes, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """W_in from U(±input_scale); W_h uniform too, rescaled to the spectral radius."""
        shapes = self.shapes(sizes)
        W = rng.uniform(-1.0, 1.0, (sizes.hidden, sizes.hidden))
        W *= self.spectral_radius / np.abs(np.linalg.eigvals(W)).max()
        inputs = {n: rng.uniform(-self.input_scale, self.input_scale, shapes[n]) for n in ("W_x", "b")}
        return {**inputs, "W_h": W[:, None]}

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """h (H)."""
        return {"h": (sizes.hidden,)}

    def output_size(self, sizes: Sizes) -> int:
        """H."""
        return sizes.hidden

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """[1; x_t] W_in for all t."""
        return {"u": linear(ops, x, ops.stop_gradient(p["W_x"])) + ops.stop_gradient(p["b"])}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        z = u["u"] + linear(ops, state["h"], ops.stop_gradient(p["W_h"]))
        h = (1 - self.leak) * state["h"] + self.leak * ops.tanh(z[:, 0])
        return {"h": h}, h
