"""Luong's input feeding: a decoder in plain loops, one sequence and one step at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rnnbench.cells.network import parameter_shapes
from rnnbench.contracts import Batch, DecoderSpec, NetworkSpec, Settings
from rnnbench.errors import RequestError
from rnnbench.planning.plan import plan
from rnnbench.plugins import discover
from rnnbench.records import Case
from rnnbench.reference import probe_batch, probe_parameters, reference_answers, reference_decoded
from rnnbench.suite.loading import parse_suite
from rnnbench.testing import CELLS, decoding_parity_of, parity_of

I, H, O, D = 3, 5, 4, 6  # noqa: E741 - the letters of the equations
DECODER = DecoderSpec(D, "luong_general", input_feeding=True)
SPEC = NetworkSpec("elman", I, H, O, "each", "cross_entropy", lengths=True, decoder=DECODER)


def plain_logits(p: dict[str, np.ndarray], batch: Batch, b: int, *, forced: bool, feeding: bool) -> Any:
    """What the head says of sequence b at each step, of one Elman layer; ``feeding`` False: a is always 0."""
    assert batch.state is not None
    assert batch.lengths is not None
    assert batch.decoder_inputs is not None

    def step(prefix: str, x: list[float], h: list[float]) -> list[float]:
        W_x, W_h, bias = (p[prefix + name] for name in ("W_x", "W_h", "b"))
        return [
            float(
                np.tanh(
                    sum(x[i] * W_x[i, 0, j] for i in range(len(x)))
                    + sum(h[i] * W_h[i, 0, j] for i in range(H))
                    + bias[0, j]
                )
            )
            for j in range(H)
        ]

    h, memory = list(batch.state["layers.0.forward.h"][b]), []
    for t in range(batch.lengths[b]):
        h = step("layers.0.forward.", list(batch.inputs[b, t]), h)
        memory.append(h)
    W_k, W_c = p["decoder.attention.W_k"], p["decoder.attention.W_c"]
    read, token, logits = [0.0] * H, O, []
    for s in range(batch.targets.shape[1]):
        token = int(batch.decoder_inputs[b, s]) if forced else token
        x = [*p["decoder.embed.E"][token], *(read if feeding else [0.0] * H)]
        h = step("decoder.layers.0.", x, h)
        scores = [sum(h[i] * W_k[j, i] * m[j] for i in range(H) for j in range(H)) for m in memory]
        weights = np.exp(scores) / np.sum(np.exp(scores))
        context = [sum(w * m[i] for w, m in zip(weights, memory, strict=True)) for i in range(H)]
        joined = [*context, *h]
        read = [float(np.tanh(sum(joined[i] * W_c[i, j] for i in range(2 * H)))) for j in range(H)]
        logits.append(np.array(read) @ p["head.W"] + p["head.b"])
        token = int(np.argmax(logits[-1]))
    return np.array(logits)


def probe() -> tuple[dict[str, np.ndarray], Batch]:
    return probe_parameters(CELLS["elman"], SPEC), probe_batch(CELLS["elman"], SPEC, 7, 4)


def test_outputs_are_those_of_plain_loops_under_teacher_forcing_and_greedily() -> None:
    parameters, batch = probe()
    assert batch.target_lengths is not None
    outputs = reference_answers(CELLS["elman"], SPEC, parameters, batch, steps=0).outputs
    decoded = reference_decoded(CELLS["elman"], SPEC, parameters, batch)
    for b, S in enumerate(batch.target_lengths):
        forced = plain_logits(parameters, batch, b, forced=True, feeding=True)
        np.testing.assert_allclose(outputs[b, :S], forced[:S], atol=1e-13)
        greedy = plain_logits(parameters, batch, b, forced=False, feeding=True)
        np.testing.assert_allclose(decoded[b], greedy, atol=1e-13)
        without = plain_logits(parameters, batch, b, forced=True, feeding=False)
        np.testing.assert_allclose(outputs[b, 0], without[0], atol=1e-13)
        assert S < 2 or np.abs(outputs[b, 1:S] - without[1:S]).max() > 1e-2


def test_gradients_flow_back_through_what_is_fed() -> None:
    parameters, batch = probe()
    found = reference_answers(CELLS["elman"], SPEC, parameters, batch, steps=0).gradients
    rng, epsilon = np.random.default_rng(0), 1e-5
    direction = {name: rng.standard_normal(value.shape) for name, value in parameters.items()}
    losses = [
        reference_answers(
            CELLS["elman"],
            SPEC,
            {n: p + sign * epsilon * direction[n] for n, p in parameters.items()},
            batch,
            steps=0,
        ).loss
        for sign in (1, -1)
    ]
    slope = sum(float(np.sum(found[name] * direction[name])) for name in parameters)
    assert (losses[0] - losses[1]) / (2 * epsilon) == pytest.approx(slope, rel=1e-6)
    assert np.abs(found["decoder.layers.0.W_x"][D:]).min() > 0


def test_the_first_layer_is_as_wide_as_what_it_reads() -> None:
    deep = replace(SPEC, layers=2, bidirectional="concat", cell="lstm_projected", projection=2)
    shapes = parameter_shapes(CELLS["lstm_projected"], deep)
    assert shapes["decoder.layers.0.W_x"][0] == D + 2
    assert shapes["decoder.layers.1.W_x"][0] == 2
    without = replace(deep, decoder=replace(DECODER, input_feeding=False))
    plain = parameter_shapes(CELLS["lstm_projected"], without)
    assert {name for name, shape in shapes.items() if plain[name] != shape} == {"decoder.layers.0.W_x"}


def test_a_backend_passes_the_gate_and_one_that_feeds_nothing_back_does_not() -> None:
    pytest.importorskip("rnnbench_numpy")
    session = discover().backends["numpy"].open(Settings(dtype="float64"), CELLS)

    class Blind:
        def build(self, spec: NetworkSpec, parameters: Any, *rest: Any) -> Any:
            W = np.array(parameters["decoder.layers.0.W_x"])
            W[D:] = 0
            return session.build(spec, {**parameters, "decoder.layers.0.W_x": W}, *rest)

    cell, wrong = CELLS["elman"], Blind()
    assert parity_of(session, cell, SPEC, "portable", "float64").passed
    assert decoding_parity_of(session, cell, SPEC, "portable", "float64").passed
    worst = parity_of(wrong, cell, SPEC, "portable", "float64").worst  # type: ignore[arg-type]
    assert worst["outputs"] > 1
    assert not decoding_parity_of(wrong, cell, SPEC, "portable", "float64").passed  # type: ignore[arg-type]


SUITE = """
axes: {task: reverse, length: 5, cell: gru, attention: [luong_dot, bahdanau], input_feeding: [false, true]}
defaults: {backend: numpy}
"""


def test_a_suite_asks_for_it_and_only_luongs_attention_has_it() -> None:
    with pytest.raises(
        RequestError, match=r"s.yaml:2: axes.input_feeding\[1\]: input_feeding feeds back .* bahdanau. Give"
    ):
        plan(parse_suite(SUITE, name="s"), discover())
    cases = plan(
        parse_suite(SUITE + "exclude: [{attention: bahdanau, input_feeding: true}]", name="s"), discover()
    ).cases
    assert [(case.attention, case.input_feeding) for case in cases] == [
        ("luong_dot", False), ("luong_dot", True), ("bahdanau", False)
    ]  # fmt: skip
    assert len({case.key for case in cases}) == len({case.network for case in cases}) == 3
    with pytest.raises(RequestError, match="input_feeding feeds back what Luong's attention puts out"):
        plan(parse_suite(SUITE.replace("reverse", "copy").replace("luong_dot, bahdanau", "none")), discover())
    assert Case("copy", 20, "gru", "torch", "native").key == "copy-T20-gru-H64-torch-native-cpu-98293101"
