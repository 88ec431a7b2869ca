"""Encoder–decoder networks: attention in closed form, decoding, masks, the gate, and bad input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rnnbench.cells.attending import attend, attention_shapes, prepare
from rnnbench.cells.decoding import NO_FLOW, Target, target_of
from rnnbench.cells.network import network_outputs, parameter_shapes
from rnnbench.cells.placing import time_major
from rnnbench.choices import Attention
from rnnbench.contracts import Batch, Cell, DecoderSpec, NetworkSpec, Settings, TrainingSpec
from rnnbench.describing import describe
from rnnbench.errors import RequestError, Unsupported
from rnnbench.numpy_ops import NumpyOps
from rnnbench.planning.plan import plan
from rnnbench.plugins import discover
from rnnbench.reference import (
    Answers,
    compare_answers,
    compare_decoded,
    probe_batch,
    probe_parameters,
    reference_answers,
    reference_decoded,
    tolerance,
)
from rnnbench.structures import COMPOSED, structures
from rnnbench.suite.loading import parse_suite
from rnnbench.testing import CELLS, RECURRENT
from rnnbench.training import initialise

KINDS: tuple[Attention, ...] = ("none", "bahdanau", "luong_dot", "luong_general", "luong_concat")
OPS = NumpyOps()
I, H, O, D = 3, 5, 4, 6  # noqa: E741 - the letters of the equations


def spec_of(cell: str, kind: Attention, **changes: Any) -> NetworkSpec:
    spec = NetworkSpec(
        cell, I, H, O, "each", "cross_entropy", layers=2, lengths=True, decoder=DecoderSpec(D, kind)
    )
    return replace(spec, **changes)


def probe_of(cell: Cell, spec: NetworkSpec) -> tuple[dict[str, np.ndarray], Batch]:
    return probe_parameters(cell, spec), probe_batch(cell, spec, 7, 4)


def forward(cell: Cell, spec: NetworkSpec, parameters: Any, batch: Batch) -> tuple[np.ndarray, Any]:
    """Outputs (B,S,O) and final states, without gradients."""
    data = time_major(spec, batch)
    target = target_of(data.targets, data.target_lengths, data.decoder_inputs)
    y, final = network_outputs(
        OPS, cell, spec, parameters, data.inputs, data.lengths, data.state, target=target
    )
    return np.swapaxes(y, 0, 1), final


def weights_of(kind: Attention, query: np.ndarray, memory: np.ndarray, mask: np.ndarray | None) -> Any:
    """Attention with random parameters: context, weights and the parameters."""
    rng = np.random.default_rng(5)
    shapes = attention_shapes(kind, query.shape[1], memory.shape[2], 8)
    p = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    return *attend(OPS, kind, p, query, prepare(OPS, kind, p, memory, mask)), p


def test_dot_attention_over_one_hot_keys_returns_what_is_keyed() -> None:
    """Values carry their key in the first axes: a large query for key k reads the k-th value."""
    rng = np.random.default_rng(0)
    T, B = 6, 3
    memory = np.concatenate(
        [np.broadcast_to(np.eye(T)[:, None], (T, B, T)), rng.standard_normal((T, B, 2))], 2
    )
    asked = np.array([4, 0, 2])
    query = np.concatenate([1000 * np.eye(T)[asked], np.zeros((B, 2))], 1)
    context, weights, _ = weights_of("luong_dot", query, memory, None)
    assert np.array_equal(weights, np.eye(T)[asked])
    assert np.array_equal(context, memory[asked, np.arange(B)])
    assert not np.array_equal(context, memory[asked - 1, np.arange(B)])


@pytest.mark.parametrize("kind", KINDS[1:])
def test_weights_are_those_of_the_papers_one_pair_at_a_time(kind: Attention) -> None:
    """Scores in Python loops as printed, W_a [q; m] undivided; a softmax over the valid steps only."""
    rng = np.random.default_rng(1)
    T, B, M = 5, 3, H if kind == "luong_dot" else 4
    memory, query = rng.standard_normal((T, B, M)), rng.standard_normal((B, H))
    lengths = np.array([5, 2, 1])
    mask = (np.arange(T)[:, None] < lengths)[..., None]
    context, weights, p = weights_of(kind, query, memory, mask)
    assert np.allclose(weights.sum(1), 1, atol=1e-15)
    for b, length in enumerate(lengths):
        scores = []
        for t in range(length):
            q, m = query[b], memory[t, b]
            if kind == "luong_dot":
                scores.append(sum(q[i] * m[i] for i in range(H)))
            elif kind == "luong_general":
                scores.append(sum(q[i] * p["W_k"][j, i] * m[j] for i in range(H) for j in range(M)))
            else:
                W = np.concatenate([p["W_q"], p["W_k"]])
                scores.append(p["v"][:, 0] @ np.tanh(np.concatenate([q, m]) @ W))
        expected = np.exp(scores) / np.sum(np.exp(scores))
        assert np.allclose(weights[b, :length], expected, atol=1e-14)
        assert (weights[b, length:] == 0).all()
        assert np.allclose(context[b], expected @ memory[:length, b], atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["elman", "lstm", "gru"])
def test_greedy_decoding_is_teacher_forcing_with_its_own_tokens(name: str, kind: Attention) -> None:
    spec = spec_of(name, kind, bidirectional="sum")
    cell = CELLS[name]
    # so that the tokens that are fed matter, and differ
    rng = np.random.default_rng(29)
    parameters = {name: rng.standard_normal(v.shape) for name, v in probe_parameters(cell, spec).items()}
    parameters["head.b"] *= 0
    B, S = 16, 5
    batch = replace(probe_batch(cell, spec, 7, B), target_lengths=np.full(B, S, np.int32))
    decoded = reference_decoded(cell, spec, parameters, batch)
    said = decoded.argmax(-1)
    fed = np.concatenate([np.full((B, 1), O), said[:, :-1]], 1).astype(np.int32)
    forced, _ = forward(cell, spec, parameters, replace(batch, decoder_inputs=fed))
    assert np.array_equal(forced, decoded)
    assert len(np.unique(said)) > 1
    fed[0, 1] = (fed[0, 1] + 1) % O
    other, _ = forward(cell, spec, parameters, replace(batch, decoder_inputs=fed))
    assert np.array_equal(other[:, 0], decoded[:, 0])
    assert not np.allclose(other[0, 1], decoded[0, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_padding_of_source_and_answer_changes_nothing(kind: Attention) -> None:
    """Each sequence alone and unpadded gives the outputs, states and loss that it has in the padded batch."""
    spec = spec_of("gru", kind, bidirectional="sum")
    parameters, batch = probe_of(CELLS["gru"], spec)
    assert batch.lengths is not None
    assert batch.target_lengths is not None
    assert batch.decoder_inputs is not None
    assert batch.state is not None
    assert np.isnan(batch.inputs).any()
    together = reference_answers(CELLS["gru"], spec, parameters, batch, steps=0)
    assert all(np.isfinite(value).all() for value in together.gradients.values())
    losses = []
    for b, (L, S) in enumerate(zip(batch.lengths, batch.target_lengths, strict=True)):
        alone = Batch(
            batch.inputs[b : b + 1, :L],
            batch.targets[b : b + 1, :S],
            batch.lengths[b : b + 1],
            {name: value[b : b + 1] for name, value in batch.state.items()},
            target_lengths=batch.target_lengths[b : b + 1],
            decoder_inputs=batch.decoder_inputs[b : b + 1, :S],
        )
        outputs, state = forward(CELLS["gru"], spec, parameters, alone)
        assert np.allclose(outputs[0], together.outputs[b, :S], atol=1e-13)
        for name, value in state.items():
            assert np.allclose(value[0], together.state[name][b], atol=1e-13), name
        likely = np.exp(outputs[0]) / np.exp(outputs[0]).sum(-1, keepdims=True)
        losses.append(-np.log(likely[np.arange(S), batch.targets[b, :S]]).sum())
    assert together.loss == pytest.approx(sum(losses) / batch.target_lengths.sum(), rel=1e-13)
    # negative control: what is fed within the answer does matter
    changed = batch.decoder_inputs.copy()
    last = int(np.argmax(batch.target_lengths))
    changed[last, int(batch.target_lengths[last]) - 1] += 1
    changed %= O + 1
    moved, _ = forward(CELLS["gru"], spec, parameters, replace(batch, decoder_inputs=changed))
    assert not np.allclose(moved[last], together.outputs[last])


def test_gradients_are_finite_differences() -> None:
    spec = spec_of("lstm", "bahdanau", bidirectional="concat", layers=1)
    cell = CELLS["lstm"]
    parameters, batch = probe_of(cell, spec)
    found = reference_answers(cell, spec, parameters, batch, steps=0).gradients
    rng = np.random.default_rng(3)
    for name in ("decoder.embed.E", "decoder.layers.0.W_x", "decoder.attention.W_q", "decoder.attention.v",
                 "decoder.attention.W_k", "layers.0.backward.W_h"):  # fmt: skip
        way = rng.standard_normal(parameters[name].shape)
        sides = [
            reference_answers(cell, spec, {**parameters, name: parameters[name] + e * way}, batch, steps=0)
            for e in (1e-5, -1e-5)
        ]
        assert np.sum(found[name] * way) == pytest.approx((sides[0].loss - sides[1].loss) / 2e-5, rel=1e-6)


def test_the_decoder_starts_from_where_the_encoder_ended() -> None:
    """With weights of zero a GRU's gate is a half: each step of the decoder halves what the encoder left."""
    spec = spec_of("gru", "none", layers=1, bidirectional="sum", lengths=False)
    cell = CELLS["gru"]
    parameters = {name: np.zeros(shape) for name, shape in parameter_shapes(cell, spec).items()}
    batch = replace(probe_batch(cell, spec, 3, 2), target_lengths=np.array([4, 2], np.int32))
    assert batch.state is not None
    data = np.swapaxes(batch.inputs, 0, 1)
    target = Target(4, np.array([4, 2]), np.zeros((4, 2), int))
    _, final = network_outputs(OPS, cell, spec, parameters, data, None, batch.state, target=target)
    ended = (batch.state["layers.0.forward.h"] + batch.state["layers.0.backward.h"]) / 2**3
    assert np.allclose(final["decoder.layers.0.h"], ended / np.array([[2**4], [2**2]]), atol=1e-15)


@pytest.mark.parametrize("name", RECURRENT)
def test_every_cell_decodes(name: str) -> None:
    """Whatever its states are: those of another size in the decoder, such as past inputs, start at zero."""
    spec = spec_of(name, "bahdanau", projection=2)
    cell = CELLS[name]
    answers = reference_answers(cell, spec, *probe_of(cell, spec), steps=0)
    assert np.isfinite(answers.outputs).all()
    used = [key for key, value in answers.gradients.items() if np.abs(value).max() > 0]
    assert {"decoder.embed.E", "decoder.attention.W_q", "decoder.attention.W_k"} <= set(used)


def test_parameters_are_counted_and_started_like_those_of_layers() -> None:
    spec = spec_of("lstm", "bahdanau", bidirectional="concat")
    cell = CELLS["lstm"]
    shapes = parameter_shapes(cell, spec)
    decoder = {name: shape for name, shape in shapes.items() if name.startswith("decoder.")}
    assert decoder == {
        "decoder.embed.E": (O + 1, D),
        "decoder.layers.0.W_x": (D + 2 * H, 4, H), "decoder.layers.0.W_h": (H, 4, H),
        "decoder.layers.0.b": (4, H),
        "decoder.layers.1.W_x": (H, 4, H), "decoder.layers.1.W_h": (H, 4, H), "decoder.layers.1.b": (4, H),
        "decoder.attention.W_q": (H, H), "decoder.attention.W_k": (2 * H, H), "decoder.attention.v": (H, 1),
    }  # fmt: skip
    assert shapes["head.W"] == (H, O)
    started = initialise(cell, spec, "orthogonal", 1.5, seed=3)
    forget = cell.gates.index("f")
    for layer in range(2):
        assert (started[f"decoder.layers.{layer}.b"][forget] == 1.5).all()
        W = started[f"decoder.layers.{layer}.W_h"][:, forget]
        assert np.allclose(W.T @ W, np.eye(H))
    assert np.abs(started["decoder.attention.v"]).min() > 0


@pytest.mark.parametrize("name", COMPOSED)
def test_no_token_of_the_probe_is_decided_by_rounding(name: str) -> None:
    """The two likeliest tokens are never within 50 times the float32 tolerance: the gate cannot flip."""
    specs = [each.spec for each in structures(CELLS[name], every=True) if each.spec.decoder is not None]
    assert [spec.decoder.attention for spec in specs if spec.decoder] == list(KINDS)
    for spec in specs:
        decoded = reference_decoded(CELLS[name], spec, *probe_of(CELLS[name], spec))
        likeliest = np.sort(decoded, -1)[..., -2:]
        assert (likeliest[..., 1] - likeliest[..., 0]).min() > 50 * tolerance("float32", 12), spec


@pytest.mark.parametrize("mistake", ["token", "weights", "start"])
def test_the_gate_sees_a_wrong_decoder(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of("lstm", "luong_general")
    cell = CELLS["lstm"]
    parameters, batch = probe_of(cell, spec)
    right: Answers = reference_answers(cell, spec, parameters, batch)
    decoded = reference_decoded(cell, spec, parameters, batch)
    assert compare_answers(spec, right, right, batch, "float32").passed
    if mistake == "token":
        monkeypatch.setattr(NumpyOps, "argmax", lambda self, x: np.argmin(x, -1))
    elif mistake == "weights":
        monkeypatch.setattr("rnnbench.cells.attending.NEVER", 0.0)
    else:
        start = "rnnbench.cells.decoding.start_decoder"
        monkeypatch.setattr(start, _started_from_zero)
    wrong = reference_answers(cell, spec, parameters, batch)
    greedy = reference_decoded(cell, spec, parameters, batch)
    assert compare_decoded(decoded, greedy, batch, "float32") > 1
    assert compare_answers(spec, right, wrong, batch, "float32").passed == (mistake == "token")


def _started_from_zero(ops: Any, cell: Cell, spec: Any, sizes: Any, encoded: Any, memory: Any) -> Any:
    return {
        f"layers.{index}.{name}": np.zeros((memory.shape[1], *shape))
        for index, size in enumerate(sizes)
        for name, shape in cell.state_shapes(size).items()
    }


def test_a_batch_without_an_answer_is_refused() -> None:
    spec = spec_of("gru", "none")
    parameters, batch = probe_of(CELLS["gru"], spec)
    with pytest.raises(RequestError, match="has a decoder, but the batch no target_lengths"):
        reference_answers(CELLS["gru"], spec, parameters, replace(batch, target_lengths=None))


def test_dot_attention_needs_equal_sizes() -> None:
    with pytest.raises(ValueError, match="size 5 with an encoder's of size 10; take luong_general"):
        parameter_shapes(CELLS["gru"], spec_of("gru", "luong_dot", bidirectional="concat"))


SUITE = """
axes: {task: [reverse], length: [5], cell: [gru], attention: [none, luong_dot], backend: [numpy]}
defaults: {measure: [forward], ROW}
"""


def test_a_suite_of_attention_runs_the_portable_implementation() -> None:
    planned = plan(parse_suite(SUITE.replace(", ROW", "")), discover())
    assert [case.attention for case in planned.cases] == ["none", "luong_dot"]
    assert {case.implementation for case in planned.cases} == {"portable"}
    assert len({case.key for case in planned.cases}) == len({case.group for case in planned.cases}) == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "bidirectional: concat",
            r"suite.yaml:2: axes.attention\[1\]: luong_dot multiplies .* luong_general",
        ),
        ("layers: 2, norm: layer", "decoders have no norm. Leave it out"),
        ("train: {window: 3}", "decoders have no window. Leave it out"),
        ("train: {optimizer: ridge}", "ridge"),
    ],
)
def test_what_decoders_have_not_is_refused_at_plan_time(row: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        plan(parse_suite(SUITE.replace("ROW", row)), discover())


def test_attention_without_a_decoder_is_refused_at_plan_time() -> None:
    text = SUITE.replace(", ROW", "").replace("[reverse]", "[reverse, copy]")
    with pytest.raises(
        RequestError, match=r'needs a decoder, and networks of task "copy" have none.*reverse'
    ):
        plan(parse_suite(text), discover())
    exclude = "exclude: [{task: copy, attention: luong_dot}]"
    assert len(plan(parse_suite(text + exclude), discover()).cases) == 3


def test_streaming_an_answer_is_refused_with_the_reason() -> None:
    planned = plan(parse_suite(SUITE.replace("[forward], ROW", "[stream]")), discover())
    assert planned.cases == ()
    assert {it.status for it in planned.refused} == {"unsupported"}
    assert "has read the whole source before its first output" in planned.refused[0].reason


def test_gradient_flow_of_an_answer_is_refused_before_anything_is_timed() -> None:
    planned = plan(parse_suite(SUITE.replace("[forward], ROW", "[forward, gradient_flow]")), discover())
    assert planned.cases == ()
    assert {(it.status, it.reason) for it in planned.refused} == {("unsupported", NO_FLOW)}


def test_a_decoder_has_no_native_layers() -> None:
    plugins = discover()
    session = plugins.backends["numpy"].open(Settings(), plugins.cells)
    spec = spec_of("lstm", "bahdanau")
    parameters = probe_parameters(CELLS["lstm"], spec)
    for refused in ("native", "scan"):
        with pytest.raises(Unsupported, match=r"no attention .* use portable"):
            session.build(spec, parameters, TrainingSpec(), refused)
    network = session.build(spec, parameters, TrainingSpec(), "portable")
    with pytest.raises(Unsupported, match="whole source"):
        network.put_steps(probe_batch(CELLS["lstm"], spec, 7, 4))


def test_describe_counts_the_decoder() -> None:
    """In closed form, I=64, H=128, both directions concatenated, 10 classes."""
    spec = NetworkSpec(
        "gru", 64, 128, 10, "each", "cross_entropy", 1, "concat", decoder=DecoderSpec(32, "luong_general")
    )
    described = describe(CELLS["gru"], spec)
    assert {part.name: part.parameters for part in described.parts} == {
        "gru layer 0, both directions, concat": 2 * 74_240,
        "decoder embedding": 11 * 32,
        "gru decoder layer 0": 3 * (32 * 128 + 128 * 128 + 128) + 128,
        "attention luong_general": 256 * 128 + 384 * 128,
        "dense head": 1290,
    }
    assert described.decoder_flops is not None
    assert described.decoder_flops.source == 2 * 256 * 128
    assert described.own_counts == ()
    with pytest.raises(RequestError, match="luong_dot multiplies"):
        describe(CELLS["gru"], replace(spec, decoder=DecoderSpec(32, "luong_dot")))
