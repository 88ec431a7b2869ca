"""Where each canonical parameter of a cell lies in torch's recurrent modules, gate by name.

torch keeps W_x (I,G,H) as ``weight_ih`` (G*H,I), W_h (H,G,H) as ``weight_hh`` (G*H,H), and two
biases (G*H), which are added to each other. The second one, ``bias_hh``, stays zero and frozen;
of a GRU its n row is b_hn, which the reset gate multiplies. A projection W_p (H,P) is ``weight_hr`` (P,H);
W_h then has P rows. Imports no framework, and works on NumPy arrays and torch tensors alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class NativeCell:
    """A cell as a module of torch.nn, and as torch's function of one time step.

    ``gates`` and ``states`` are in torch's order; ``inner`` is the gate whose second bias lives;
    ``projected``: the module takes a proj_size.
    """

    module: str
    step: str
    gates: tuple[str, ...]
    states: tuple[str, ...] = ("h",)
    inner: str | None = None
    projected: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


NATIVE: dict[str, NativeCell] = {
    "elman": NativeCell("RNN", "rnn_tanh_cell", ("h",), options={"nonlinearity": "tanh"}),
    "elman_relu": NativeCell("RNN", "rnn_relu_cell", ("h",), options={"nonlinearity": "relu"}),
    "lstm": NativeCell("LSTM", "lstm_cell", ("i", "f", "g", "o"), states=("h", "c")),
    "lstm_projected": NativeCell("LSTM", "lstm", ("i", "f", "g", "o"), states=("h", "c"), projected=True),
    "gru": NativeCell("GRU", "gru_cell", ("r", "z", "n"), inner="n"),
}

NO_NATIVE = {
    "elman_sigmoid": "nn.RNN knows tanh and relu only",
    "elman_leaky_relu": "nn.RNN knows tanh and relu only",
    "elman_prelu": "nn.RNN knows tanh and relu only",
    "elman_hard_sigmoid": "nn.RNN knows tanh and relu only",
    "elman_gelu": "nn.RNN knows tanh and relu only",
    "elman_linear": "nn.RNN knows tanh and relu only",
    "gru_reset_before": "nn.GRU resets after the product with W_h (that is the cell gru)",
}
"""Why a cell has no native form, where there is more to say than that torch.nn has no such module."""


def to_torch(native: NativeCell, gates: Sequence[str], p: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One layer and direction: canonical W_x, W_h, b (, b_hn, W_p), its gate axis in the order of ``gates``
    -> weight_ih, weight_hh, bias_ih, bias_hh (, weight_hr).
    """
    order = [gates.index(gate) for gate in native.gates]
    G, H = p["b"].shape
    bias_hh = np.zeros((G, H))
    if native.inner is not None:
        bias_hh[native.gates.index(native.inner)] = p["b_hn"]
    projection = {"weight_hr": p["W_p"].T} if native.projected else {}
    return {
        **projection,
        "weight_ih": p["W_x"][:, order].transpose(1, 2, 0).reshape(G * H, -1),
        "weight_hh": p["W_h"][:, order].transpose(1, 2, 0).reshape(G * H, -1),
        "bias_ih": p["b"][order].reshape(G * H),
        "bias_hh": bias_hh.reshape(G * H),
    }


def to_canonical(native: NativeCell, gates: Sequence[str], kind: str, value: Any) -> tuple[str, Any]:
    """The inverse for one tensor (a parameter or its gradient): canonical name and a view where possible."""
    if kind == "weight_hr":
        return "W_p", value.T
    G = len(native.gates)
    rows = value.reshape((G, -1, *value.shape[1:]))
    if kind == "bias_hh":
        assert native.inner is not None
        return "b_hn", rows[native.gates.index(native.inner)]
    if tuple(gates) != native.gates:
        rows = rows[[native.gates.index(gate) for gate in gates]]
    if kind == "bias_ih":
        return "b", rows
    return {"weight_ih": "W_x", "weight_hh": "W_h"}[kind], rows.permute(2, 0, 1)
