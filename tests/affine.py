"""What an affine scan must give, by a plain loop over NumPy arrays, and random arrays to ask it with."""

from __future__ import annotations

import numpy as np


def draw_affine(length: int, complex_state: bool, shared: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """a (T,3,2) or, ``shared`` by all sequences, (T,1,2); b (T,3,2), start (3,2); complex: one axis more."""
    rng = np.random.default_rng([length, complex_state, shared])
    shape = (2, 2) if complex_state else (2,)
    a = rng.uniform(-0.9, 0.9, (length, 1 if shared else 3, *shape))
    return a, rng.standard_normal((length, 3, *shape)), rng.standard_normal((3, *shape))


def affine_loop(a: np.ndarray, b: np.ndarray, start: np.ndarray, complex_state: bool) -> np.ndarray:
    """s_t = a_t s_{t-1} + b_t, one step after the other."""
    if complex_state:
        a, b, start = (value[..., 0] + 1j * value[..., 1] for value in (a, b, start))
    states = []
    for factor, term in zip(a, b, strict=True):
        start = factor * start + term
        states.append(start)
    s = np.stack(states)
    return np.stack([s.real, s.imag], -1) if complex_state else s


def affine_gradients(
    a: np.ndarray, b: np.ndarray, start: np.ndarray, weights: np.ndarray, complex_state: bool
) -> tuple[np.ndarray, ...]:
    """By a, b and start, of the sum of all states times ``weights``: central differences of the loop."""
    values = [a.copy(), b.copy(), start.copy()]
    gradients = [np.empty_like(value) for value in values]
    for value, gradient in zip(values, gradients, strict=True):
        for place in np.ndindex(*value.shape):
            kept, sides = value[place], []
            for moved in (kept + 1e-6, kept - 1e-6):
                value[place] = moved
                sides.append((affine_loop(*values, complex_state) * weights).sum())
            value[place] = kept
            gradient[place] = (sides[0] - sides[1]) / 2e-6
    return tuple(gradients)
