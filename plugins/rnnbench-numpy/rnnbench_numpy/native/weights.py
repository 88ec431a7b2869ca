"""Canonical parameters of one layer and direction in the layouts that the loops multiply with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """``x`` (I,G*H), ``b`` (G*H) and ``h`` (H,g*H for each group): forward, sigmoid gates negated.

    ``x_back`` (G*H,I) and ``h_back`` (g*H,H for each group): transposed, contiguous, true signs.
    ``others``: as they are.
    """

    x: np.ndarray
    b: np.ndarray
    h: tuple[np.ndarray, ...]
    x_back: np.ndarray
    h_back: tuple[np.ndarray, ...]
    others: Mapping[str, np.ndarray]


def columns(W: np.ndarray, gates: tuple[str, ...], wanted: tuple[str, ...]) -> np.ndarray:
    """W (...,G,H), its gates named ``gates`` -> a copy (...,g*H) of the gates ``wanted``, in that order."""
    taken = W[..., [gates.index(name) for name in wanted], :]
    return np.ascontiguousarray(taken).reshape(*W.shape[:-2], -1)


def gate_signs(
    wanted: tuple[str, ...], negated: frozenset[str], hidden: int, dtype: np.dtype[np.floating]
) -> np.ndarray:
    """(g*H,): -1 over the gates that are negated, 1 over the others."""
    return np.repeat(np.array([-1.0 if name in negated else 1.0 for name in wanted], dtype), hidden)
