"""Built-in cells with the classic mistakes in them: the gate must tell each from the right one."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.elman import Elman
from rnnbench.cells.gates import linear
from rnnbench.cells.gru import GRU, GRUResetBefore
from rnnbench.cells.lru import LRU
from rnnbench.cells.lstm import LSTM
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.cells.qrnn import QRNN
from rnnbench.cells.sru import SRU
from rnnbench.contracts import Cell


@dataclass(frozen=True, slots=True)
class PermutedLSTM(LSTM):
    """i and f exchanged."""

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        z = u["u"] + linear(ops, state["h"], p["W_h"])
        f, i, g, o = z[:, 0], z[:, 1], z[:, 2], z[:, 3]
        c = ops.sigmoid(f) * state["c"] + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(c)
        return {"h": h, "c": c}, h


@dataclass(frozen=True, slots=True)
class SwappedLSTM(LSTM):
    """h and c exchanged on the way in and out."""

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        new, y = LSTM().step(ops, p, u, {"h": state["c"], "c": state["h"]})
        return {"h": new["c"], "c": new["h"]}, y


@dataclass(frozen=True, slots=True)
class SwappedFinalLSTM(LSTM):
    """y right; h and c exchanged in what is handed on: right for one step from equal states only."""

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        new, y = LSTM().step(ops, p, u, state)
        return {"h": new["c"], "c": new["h"]}, y


@dataclass(frozen=True, slots=True)
class BiaslessElman(Elman):
    """b dropped."""

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        return {"u": linear(ops, x, p["W_x"])}


@dataclass(frozen=True, slots=True)
class BiaslessLSTM(LSTM):
    """b dropped."""

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        return {"u": linear(ops, x, p["W_x"])}


@dataclass(frozen=True, slots=True)
class BeforeForAfter(GRU):
    """The reset before the product, b_hn outside of it."""

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        inner = ops.concat([0 * u["u"][:, :2], 0 * u["u"][:, 2:] + p["b_hn"]], 1)
        return GRUResetBefore().step(ops, p, {"u": u["u"] + inner}, state)


@dataclass(frozen=True, slots=True)
class BiasOutsideReset(GRU):
    """b_hn added outside the reset."""

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        inner = ops.concat([0 * u["u"][:, :2], 0 * u["u"][:, 2:] + p["b_hn"]], 1)
        return GRU().step(ops, {**p, "b_hn": 0 * p["b_hn"]}, {"u": u["u"] + inner}, state)


@dataclass(frozen=True, slots=True)
class AfterForBefore(GRUResetBefore):
    """The reset after the product."""

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        return GRU().step(ops, {**p, "b_hn": 0 * p["b"][0]}, u, state)


@dataclass(frozen=True, slots=True)
class NewForOldGRU(GRU):
    """z keeps the new state, as in Haiku."""

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        # σ(-a) = 1 - σ(a)
        W, x = (ops.concat([v[:, :1], -v[:, 1:2], v[:, 2:]], 1) for v in (p["W_h"], u["u"]))
        return GRU().step(ops, {**p, "W_h": W}, {"u": x}, state)


@dataclass(frozen=True, slots=True)
class NewForOldQRNN(QRNN):
    """f lets the new in, as in Salesforce's code."""

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        # σ(-a) = 1 - σ(a)
        x, past = (ops.concat([v[:, :1], -v[:, 1:2], v[:, 2:]], 1) for v in (u["u"], state["past"]))
        return QRNN().step(ops, p, {"u": x, "past": u["past"]}, {**state, "past": past})


@dataclass(frozen=True, slots=True)
class ForgetfulQRNN(QRNN):
    """The input before forgotten at every step."""

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        return QRNN().step(ops, p, u, {**state, "past": 0 * state["past"]})


@dataclass(frozen=True, slots=True)
class ConjugateLRU(LRU):
    """λ turned the other way."""

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        turned = ops.stack([u["lambda"][..., 0], -u["lambda"][..., 1]], 2)
        return LRU().step(ops, p, {**u, "lambda": turned}, state)


@dataclass(frozen=True, slots=True)
class FirstSRU(SRU):
    """Version 1, whose gates do not see the state."""

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        return SRU().step(ops, {**p, "v": 0 * p["v"]}, u, state)


WRONG: list[tuple[Cell, Cell]] = [
    (PermutedLSTM(), LSTM()),
    (SwappedLSTM(), LSTM()),
    (SwappedFinalLSTM(), LSTM()),
    (BiaslessElman("elman", "tanh"), Elman("elman", "tanh")),
    (BiaslessLSTM(), LSTM()),
    (BeforeForAfter(), GRU()),
    (BiasOutsideReset(), GRU()),
    (AfterForBefore(), GRUResetBefore()),
    (NewForOldGRU(), GRU()),
    (NewForOldQRNN(), QRNN()),
    (ForgetfulQRNN(), QRNN()),
    (ConjugateLRU(), LRU()),
    (FirstSRU(), SRU()),
]
