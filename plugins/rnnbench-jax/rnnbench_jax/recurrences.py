"""The built-in cells' steps and their hand-derived derivatives, over one matrix product per gate.

One product per gate, and arrays that hold one gate, are what XLA's CPU backend runs fastest: slices
of a fused (B,GH) product inside of a loop cost a third of the forward pass. Arrays are named by gate.
Notation of the backward steps: ``d`` holds ∂L/∂state, ``du[gate]`` ∂L/∂(pre-activation of the gate).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp

from rnnbench.cells.activations import LEAKY_SLOPE
from rnnbench.cells.elman import Elman
from rnnbench.cells.gru import GRU, GRUResetBefore
from rnnbench.cells.lstm import LSTM
from rnnbench.cells.ops import Array, Arrays
from rnnbench.contracts import Cell

State = dict[str, Array]
Gates = dict[str, Array]


class Recurrence(Protocol):
    """One cell behind its input projection. Arrays (B,H), or (T,B,H) in ``gradients``."""

    @property
    def gates(self) -> tuple[str, ...]:
        """The cell's gates, in the order of its parameters' gate axis."""
        ...

    def forward(self, p: Arrays, W: Gates, u: Gates, state: State) -> tuple[State, Gates]:
        """A step from u[gate] = x W_x + b and W[gate] (H,H): the new state and what ``backward`` needs."""
        ...

    def transposed(self, W: Gates) -> Gates:
        """The kernels that ``backward`` multiplies with, laid out once, before the loop."""
        ...

    def backward(self, WT: Gates, saved: Gates, before: State, after: State, d: State) -> tuple[Gates, State]:
        """The step's transpose: du and ∂L/∂(state before) from d, ∂L/∂(state after)."""
        ...

    def gradients(self, saved: Gates, h: Array, du: Gates) -> dict[str, Array]:
        """Of all parameters but W_x, from h (T,B,H) before each step."""
        ...


@dataclass(frozen=True, slots=True)
class ElmanRecurrence:
    """h = φ(u + h W). Every φ here has a derivative that is a function of its own value."""

    gates: tuple[str, ...]
    activation: str

    def forward(self, p: Arrays, W: Gates, u: Gates, state: State) -> tuple[State, Gates]:
        """See Recurrence."""
        (gate,) = self.gates
        return {"h": _ELMAN[self.activation][0](u[gate] + state["h"] @ W[gate])}, {}

    def transposed(self, W: Gates) -> Gates:
        """See Recurrence."""
        return {gate: kernel.T for gate, kernel in W.items()}

    def backward(self, WT: Gates, saved: Gates, before: State, after: State, d: State) -> tuple[Gates, State]:
        """See Recurrence."""
        (gate,) = self.gates
        du = d["h"] * _ELMAN[self.activation][1](after["h"])
        return {gate: du}, {"h": du @ WT[gate]}

    def gradients(self, saved: Gates, h: Array, du: Gates) -> dict[str, Array]:
        """See Recurrence."""
        W_h, b = affine_gradient(h, self.gates, du)
        return {"W_h": W_h, "b": b}


_ELMAN: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "tanh": (jnp.tanh, lambda h: 1 - h * h),
    "relu": (jax.nn.relu, lambda h: (h > 0).astype(h.dtype)),
    "sigmoid": (jax.nn.sigmoid, lambda h: h * (1 - h)),
    "leaky_relu": (
        lambda z: jnp.where(z > 0, z, LEAKY_SLOPE * z),
        lambda h: jnp.where(h > 0, 1.0, LEAKY_SLOPE).astype(h.dtype),
    ),
    "hard_sigmoid": (
        lambda z: jnp.clip(z + 3, 0, 6) / 6,
        lambda h: jnp.where((h > 0) & (h < 1), 1 / 6, 0.0).astype(h.dtype),
    ),
}
"""Activation -> (φ, φ' as a function of φ's value)."""


@dataclass(frozen=True, slots=True)
class LSTMRecurrence:
    """c = σ(f) c + σ(i) tanh(g); h = σ(o) tanh(c)."""

    gates: tuple[str, ...]

    def forward(self, p: Arrays, W: Gates, u: Gates, state: State) -> tuple[State, Gates]:
        """See Recurrence."""
        z = {gate: u[gate] + state["h"] @ W[gate] for gate in self.gates}
        i, f, o = jax.nn.sigmoid(z["i"]), jax.nn.sigmoid(z["f"]), jax.nn.sigmoid(z["o"])
        g = jnp.tanh(z["g"])
        c = f * state["c"] + i * g
        squashed = jnp.tanh(c)
        return {"h": o * squashed, "c": c}, {"i": i, "f": f, "g": g, "o": o, "tanh_c": squashed}

    def transposed(self, W: Gates) -> Gates:
        """See Recurrence: all gates under each other, (4H,H)."""
        return {"all": jnp.concatenate([W[gate].T for gate in self.gates])}

    def backward(self, WT: Gates, saved: Gates, before: State, after: State, d: State) -> tuple[Gates, State]:
        """See Recurrence."""
        i, f, g, o, squashed = (saved[name] for name in ("i", "f", "g", "o", "tanh_c"))
        dc = d["c"] + d["h"] * o * (1 - squashed * squashed)
        du = {
            "i": dc * g * i * (1 - i),
            "f": dc * before["c"] * f * (1 - f),
            "g": dc * i * (1 - g * g),
            "o": d["h"] * squashed * o * (1 - o),
        }
        dh = jnp.concatenate([du[gate] for gate in self.gates], axis=1) @ WT["all"]
        return du, {"h": dh, "c": dc * f}

    def gradients(self, saved: Gates, h: Array, du: Gates) -> dict[str, Array]:
        """See Recurrence."""
        W_h, b = affine_gradient(h, self.gates, du)
        return {"W_h": W_h, "b": b}


@dataclass(frozen=True, slots=True)
class GRURecurrence:
    """n = tanh(u_n + r (h W_n + b_hn)); h = (1 - z) n + z h."""

    gates: tuple[str, ...]

    def forward(self, p: Arrays, W: Gates, u: Gates, state: State) -> tuple[State, Gates]:
        """See Recurrence."""
        h = state["h"]
        r = jax.nn.sigmoid(u["r"] + h @ W["r"])
        z = jax.nn.sigmoid(u["z"] + h @ W["z"])
        a = h @ W["n"] + p["b_hn"]
        n = jnp.tanh(u["n"] + r * a)
        return {"h": (1 - z) * n + z * h}, {"r": r, "z": z, "n": n, "a": a}

    def transposed(self, W: Gates) -> Gates:
        """See Recurrence: all gates under each other, (3H,H)."""
        return {"all": jnp.concatenate([W[gate].T for gate in self.gates])}

    def backward(self, WT: Gates, saved: Gates, before: State, after: State, d: State) -> tuple[Gates, State]:
        """See Recurrence."""
        r, z, n, a = (saved[name] for name in ("r", "z", "n", "a"))
        dn = d["h"] * (1 - z) * (1 - n * n)
        du = {
            "r": dn * a * r * (1 - r),
            "z": d["h"] * (before["h"] - n) * z * (1 - z),
            "n": dn,
        }
        da = {**du, "n": dn * r}
        dh = jnp.concatenate([da[gate] for gate in self.gates], axis=1) @ WT["all"]
        return du, {"h": d["h"] * z + dh}

    def gradients(self, saved: Gates, h: Array, du: Gates) -> dict[str, Array]:
        """See Recurrence."""
        da = {**du, "n": du["n"] * saved["r"]}
        W_h, b = affine_gradient(h, self.gates, da)
        n = self.gates.index("n")
        return {"W_h": W_h, "b": b.at[n].set(du["n"].sum((0, 1))), "b_hn": b[n]}


@dataclass(frozen=True, slots=True)
class GRUResetBeforeRecurrence:
    """n = tanh(u_n + (r h) W_n); h = (1 - z) n + z h."""

    gates: tuple[str, ...]

    def forward(self, p: Arrays, W: Gates, u: Gates, state: State) -> tuple[State, Gates]:
        """See Recurrence."""
        h = state["h"]
        r = jax.nn.sigmoid(u["r"] + h @ W["r"])
        z = jax.nn.sigmoid(u["z"] + h @ W["z"])
        n = jnp.tanh(u["n"] + (r * h) @ W["n"])
        return {"h": (1 - z) * n + z * h}, {"r": r, "z": z, "n": n}

    def transposed(self, W: Gates) -> Gates:
        """See Recurrence: r above z, (2H,H), because n's comes first."""
        return {"rz": jnp.concatenate([W["r"].T, W["z"].T]), "n": W["n"].T}

    def backward(self, WT: Gates, saved: Gates, before: State, after: State, d: State) -> tuple[Gates, State]:
        """See Recurrence."""
        r, z, n = (saved[name] for name in ("r", "z", "n"))
        dn = d["h"] * (1 - z) * (1 - n * n)
        d_reset = dn @ WT["n"]
        du = {
            "r": d_reset * before["h"] * r * (1 - r),
            "z": d["h"] * (before["h"] - n) * z * (1 - z),
            "n": dn,
        }
        dh = jnp.concatenate([du["r"], du["z"]], axis=1) @ WT["rz"]
        return du, {"h": d["h"] * z + d_reset * r + dh}

    def gradients(self, saved: Gates, h: Array, du: Gates) -> dict[str, Array]:
        """See Recurrence."""
        (W_r, W_z), (b_r, b_z) = (jnp.moveaxis(g, -2, 0) for g in affine_gradient(h, ("r", "z"), du))
        (W_n,), (b_n,) = (jnp.moveaxis(g, -2, 0) for g in affine_gradient(saved["r"] * h, ("n",), du))
        W, b = {"r": W_r, "z": W_z, "n": W_n}, {"r": b_r, "z": b_z, "n": b_n}
        return {
            "W_h": jnp.stack([W[gate] for gate in self.gates], axis=1),
            "b": jnp.stack([b[gate] for gate in self.gates]),
        }


def affine_gradient(h: Array, gates: tuple[str, ...], du: Gates) -> tuple[Array, Array]:
    """Σ_t h_tᵀ du_t (H,G,H) and Σ_t du_t (G,H) as one product over all t for each gate.

    h (T,B,H), du[gate] (T,B,H). A column of ones beside h makes the sum a row of the product.
    """
    T, B, H = h.shape
    augmented = jnp.concatenate([h.reshape(T * B, H), jnp.ones((T * B, 1), h.dtype)], axis=1).T
    products = jnp.stack([augmented @ du[gate].reshape(T * B, H) for gate in gates], axis=1)
    return products[:H], products[H]


def recurrence_of(cell: Cell) -> Recurrence | None:
    """The recurrence of a cell that has been derived by hand; None for others."""
    match cell:
        case Elman() if cell.activation in _ELMAN:
            return ElmanRecurrence(cell.gates, cell.activation)
        case LSTM():
            return LSTMRecurrence(cell.gates)
        case GRU():
            return GRURecurrence(cell.gates)
        case GRUResetBefore():
            return GRUResetBeforeRecurrence(cell.gates)
        case _:
            return None
