"""Encoder–decoder networks against torch: its layers, its cells in a loop, attention written apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from oracles import gates_side_by_side

from rnnbench.choices import Attention
from rnnbench.contracts import DecoderSpec, NetworkSpec
from rnnbench.reference import probe_batch, probe_parameters, reference_answers, reference_decoded
from rnnbench.testing import CELLS

pytestmark = pytest.mark.framework

ORDERS = {"lstm": "ifgo", "gru": "rzn", "elman": ["h"]}
I, H, O, D, T, S, B = 3, 5, 4, 6, 7, 5, 4  # noqa: E741 - the letters of the equations


class Oracle:
    """A network of torch's own modules, with a bridge from canonical parameters to theirs."""

    def __init__(
        self, torch: Any, cell: Any, parameters: dict[str, np.ndarray], kind: str, both: str
    ) -> None:
        self.torch, self.kind, self.both, self.name = torch, kind, both, cell.name
        self.leaves = {
            name: torch.tensor(value, requires_grad=True)
            for name, value in parameters.items()
            if "layers." not in name
        }
        kinds = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "elman": torch.nn.RNN}
        self.encoder = kinds[cell.name](I, H, bidirectional=both != "none", dtype=torch.float64)
        fed = parameters["decoder.layers.0.W_x"].shape[0]
        cells = {"lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell, "elman": torch.nn.RNNCell}
        self.decoder = cells[cell.name](fed, H, dtype=torch.float64)
        self._fill(cell, parameters, self.encoder, "layers.0.forward.", "_l0")
        if both != "none":
            self._fill(cell, parameters, self.encoder, "layers.0.backward.", "_l0_reverse")
        self._fill(cell, parameters, self.decoder, "decoder.layers.0.", "")

    def _fill(self, cell: Any, parameters: Any, module: Any, prefix: str, suffix: str) -> None:
        order = ORDERS[cell.name] if cell.name != "elman" else cell.gates
        values = {
            "weight_ih": gates_side_by_side(cell, parameters[prefix + "W_x"], order).T,
            "weight_hh": gates_side_by_side(cell, parameters[prefix + "W_h"], order).T,
            "bias_ih": gates_side_by_side(cell, parameters[prefix + "b"][None], order)[0],
        }
        second = np.zeros_like(values["bias_ih"])
        if cell.name == "gru":
            second[2 * H :] = parameters[prefix + "b_hn"]
        with self.torch.no_grad():
            for name, value in (values | {"bias_hh": second}).items():
                getattr(module, name + suffix).copy_(self.torch.tensor(np.ascontiguousarray(value)))

    def run(self, batch: Any, fed: np.ndarray | None) -> Any:
        """Logits (B,S,O), one sequence at a time, each without its padding, so that there is no mask."""
        rows = [self._sequence(batch, b, None if fed is None else fed[b]) for b in range(B)]
        return self.torch.stack(rows)

    def _sequence(self, batch: Any, b: int, fed: np.ndarray | None) -> Any:
        torch, leaves = self.torch, self.leaves
        x = torch.tensor(batch.inputs[b, : batch.lengths[b]])[:, None]
        directions = ["forward"] if self.both == "none" else ["forward", "backward"]

        def initial(state: str) -> Any:
            names = [f"layers.0.{direction}.{state}" for direction in directions]
            return torch.tensor(np.stack([batch.state[name][b : b + 1] for name in names]))

        if self.name == "lstm":
            y, (h, c) = self.encoder(x, (initial("h"), initial("c")))
            c = c.sum(0)
        else:
            y, h = self.encoder(x, initial("h"))
        h = h.sum(0)
        memory = y[:, 0]
        if self.both == "sum":
            memory = memory[:, :H] + memory[:, H:]
        token, logits = O, []
        for s in range(S):
            token = token if fed is None else int(fed[s])
            given = leaves["decoder.embed.E"][token][None]
            if self.kind == "bahdanau":
                given = torch.cat([given, self._context(h[0], memory)[None]], 1)
            if self.name == "lstm":
                h, c = self.decoder(given, (h, c))
            else:
                h = self.decoder(given, h)
            read = h[0]
            if self.kind.startswith("luong"):
                joined = torch.cat([self._context(read, memory), read])
                read = torch.tanh(joined @ leaves["decoder.attention.W_c"])
            logits.append(read @ leaves["head.W"] + leaves["head.b"])
            token = int(logits[-1].argmax())
        return torch.stack(logits)

    def _context(self, query: Any, memory: Any) -> Any:
        torch = self.torch
        p = {name.rsplit(".", 1)[1]: leaf for name, leaf in self.leaves.items() if ".attention." in name}
        if self.kind == "luong_dot":
            scores = torch.stack([torch.dot(query, m) for m in memory])
        elif self.kind == "luong_general":
            scores = torch.stack([torch.dot(query, p["W_k"].T @ m) for m in memory])
        else:
            W = torch.cat([p["W_q"], p["W_k"]])
            scores = torch.stack([(torch.tanh(torch.cat([query, m]) @ W) @ p["v"])[0] for m in memory])
        return torch.softmax(scores, 0) @ memory


@pytest.mark.parametrize(
    ("name", "kind", "both"),
    [
        ("lstm", "none", "sum"),
        ("lstm", "bahdanau", "concat"),
        ("gru", "bahdanau", "none"),
        ("elman", "luong_dot", "sum"),
        ("lstm", "luong_general", "concat"),
        ("gru", "luong_concat", "concat"),
    ],
)
def test_outputs_and_gradients_are_those_of_torch(name: str, kind: Attention, both: Any) -> None:
    torch = pytest.importorskip("torch")
    cell = CELLS[name]
    spec = NetworkSpec(
        name, I, H, O, "each", "cross_entropy", 1, both, lengths=True, decoder=DecoderSpec(D, kind)
    )
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, T, B)
    answers = reference_answers(cell, spec, parameters, batch, steps=0)
    oracle = Oracle(torch, cell, parameters, kind, both)
    logits = oracle.run(batch, batch.decoder_inputs)
    assert batch.target_lengths is not None
    valid = torch.tensor(np.arange(S) < batch.target_lengths[:, None])
    loss = torch.nn.functional.cross_entropy(logits[valid], torch.tensor(batch.targets).long()[valid])
    loss.backward()
    assert np.abs((logits.detach().numpy() - answers.outputs)[valid.numpy()]).max() < 1e-12
    assert abs(loss.item() - answers.loss) < 1e-12
    for leaf, value in oracle.leaves.items():
        assert np.abs(value.grad.numpy() - answers.gradients[leaf]).max() < 1e-12, leaf
    for module, prefix, suffix in (
        (oracle.encoder, "layers.0.forward.", "_l0"),
        (oracle.decoder, "decoder.layers.0.", ""),
    ):
        order = cell.gates if name == "elman" else ORDERS[name]
        for ours, theirs in (("W_x", "weight_ih"), ("W_h", "weight_hh")):
            expected = getattr(module, theirs + suffix).grad.numpy().T
            given = gates_side_by_side(cell, answers.gradients[prefix + ours], order)
            assert np.abs(given - expected).max() < 1e-12, prefix + ours
    with torch.no_grad():
        greedy = oracle.run(batch, None).numpy()
    assert np.abs(greedy - reference_decoded(cell, spec, parameters, batch)).max() < 1e-12
    # negative control: another kind of attention is another function
    if kind == "luong_general":
        wrong = replace(spec, decoder=DecoderSpec(D, "none"))
        other = reference_answers(cell, wrong, parameters, batch, steps=0).outputs
        assert np.abs(other - answers.outputs).max() > 0.01
