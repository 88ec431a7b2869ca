"""Linear recurrent unit: a diagonal complex recurrence, in real numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import Sizes


@dataclass(frozen=True, slots=True)
class LRU:
    """λ = exp(-exp(nu_log) + i exp(theta_log));  h_t = λ ⊙ h_{t-1} + exp(gamma_log) ⊙ (x_t W_B).

    y_t = Re(h_t W_C) + D ⊙ x_t;  where P differs from I, x_t W_D stands in the place of D ⊙ x_t.
    h, W_B and W_C are complex: their last axis holds real and imaginary part. P is the projection, H/2
    where none is given. λ starts in a ring of the complex plane, exp(gamma_log) at sqrt(1 - |λ|²).
    """

    name: str = "lru"
    gates: tuple[str, ...] = ()
    paper: str = "Orvieto et al. 2023, Resurrecting recurrent neural networks (arXiv:2303.06349)"
    complex_state: bool = True
    r_min: float = 0.0
    r_max: float = 1.0
    max_phase: float = 2 * math.pi

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """nu_log, theta_log, gamma_log (H); W_B (I,H,2), W_C (H,P,2); D (P) or W_D (I,P)."""
        I, H, P = sizes.input, sizes.hidden, self.output_size(sizes)  # noqa: E741 - the field's names
        shapes: dict[str, tuple[int, ...]] = {"nu_log": (H,), "theta_log": (H,), "gamma_log": (H,)}
        shapes |= {"W_B": (I, H, 2), "W_C": (H, P, 2)}
        return {**shapes, "D": (P,)} if I == P else {**shapes, "W_D": (I, P)}

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """h (H,2)."""
        return {"h": (sizes.hidden, 2)}

    def output_size(self, sizes: Sizes) -> int:
        """P: real outputs of H complex states."""
        return max(1, sizes.hidden // 2) if sizes.projection is None else sizes.projection

    def start(self, sizes: Sizes, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """As in the paper's appendix A: λ uniform over the ring, W_B, W_C and D normal."""
        square = self.r_min**2 + rng.random(sizes.hidden) * (self.r_max**2 - self.r_min**2)
        rings = {
            "nu_log": np.log(-0.5 * np.log(square)),
            "theta_log": np.log(self.max_phase * rng.random(sizes.hidden)),
            "gamma_log": 0.5 * np.log(1 - square),
        }
        scales = {"W_B": math.sqrt(2 * sizes.input), "W_C": math.sqrt(sizes.hidden)}
        scales |= {"D": 1.0, "W_D": math.sqrt(sizes.input)}
        shapes = {name: shape for name, shape in self.shapes(sizes).items() if name in scales}
        return {**rings, **{k: rng.standard_normal(v) / scales[k] for k, v in shapes.items()}}

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        """λ (T,1,H,2), exp(gamma_log) ⊙ (x_t W_B) (T,B,H,2), and D ⊙ x_t or x_t W_D (T,B,P)."""
        (T, B, I), H = x.shape, p["nu_log"].shape[0]  # noqa: E741 - the field's names
        radius, phase = ops.exp(-ops.exp(p["nu_log"])), ops.exp(p["theta_log"])
        eigenvalues = ops.stack([radius * ops.cos(phase), radius * ops.sin(phase)], 1)
        W = ops.reshape(p["W_B"] * ops.reshape(ops.exp(p["gamma_log"]), (H, 1)), (I, 2 * H))
        return {
            # the same at every step, and so computed before the first
            "lambda": ops.zeros((T, 1, H, 2), x) + eigenvalues,
            "u": ops.reshape(ops.matmul(x, W), (T, B, H, 2)),
            "skip": p["D"] * x if "D" in p else ops.matmul(x, p["W_D"]),
        }

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        """One time step."""
        a, b = u["lambda"][..., 0], u["lambda"][..., 1]
        re, im = state["h"][..., 0], state["h"][..., 1]
        h = ops.stack([a * re - b * im, a * im + b * re], 2) + u["u"]
        return {"h": h}, self.read(ops, p, u, state, {"h": h})

    def affine(self, ops: Ops, p: Arrays, u: Arrays, before: Arrays) -> dict[str, tuple[Array, Array]]:
        """a = λ, b = exp(gamma_log) ⊙ (x_t W_B)."""
        return {"h": (u["lambda"], u["u"])}

    def read(self, ops: Ops, p: Arrays, u: Arrays, before: Arrays, after: Arrays) -> Array:
        """Re(h_t W_C) and what skips the states."""
        h, C = after["h"], p["W_C"]
        return ops.matmul(h[..., 0], C[..., 0]) - ops.matmul(h[..., 1], C[..., 1]) + u["skip"]
