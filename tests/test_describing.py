"""A network on paper: counts against the textbook's and against each framework's own layers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from oracles import keras_on_one_thread

from rnnbench.contracts import NetworkSpec
from rnnbench.describing import OWN_BIASES, describe
from rnnbench.testing import CELLS

Invoke = Callable[..., tuple[int, str, str]]
TEXT = NetworkSpec("lstm", 64, 128, 10, "last", "cross_entropy", vocab=1000)


def test_counts_are_those_of_the_textbook_summary() -> None:
    described = describe(CELLS["lstm"], TEXT)
    assert [(part.output, part.parameters) for part in described.parts] == [
        ("(B, T, 64)", 64_000),
        ("(B, 128)", 98_816),
        ("(B, 10)", 1_290),
    ]
    assert described.parameters == 164_106
    assert described.state_bytes == 4 * 2 * 128
    assert described.step_flops == 2 * (64 + 128) * 4 * 128


@pytest.mark.parametrize(
    ("cell", "count"), [("elman", 24_704), ("gru", 74_240), ("gru_reset_before", 74_112)]
)
def test_layer_counts_of_the_other_cells(cell: str, count: int) -> None:
    # (I + H + 1)·G·H at I = 64, H = 128; the GRU with reset after has b_hn, one more H
    assert describe(CELLS[cell], replace(TEXT, cell=cell)).parts[1].parameters == count


def test_layers_and_directions_stand_in_the_shapes() -> None:
    spec = replace(TEXT, vocab=None, layers=2, bidirectional="concat", readout="each")
    described = describe(CELLS["lstm"], spec)
    assert [part.output for part in described.parts] == ["(B, T, 256)", "(B, T, 256)", "(B, T, 10)"]
    assert described.step_flops == 2 * 2 * 4 * 128 * (64 + 128 + 256 + 128)
    assert described.parts[0].parameters == 2 * 4 * 128 * (64 + 128 + 1)
    assert described.parts[1].parameters == 2 * 4 * 128 * (256 + 128 + 1)
    assert described.parts[2].parameters == 256 * 10 + 10
    assert described.shapes["layers.1.backward.W_x"] == (256, 4, 128)
    assert describe(CELLS["lstm"], replace(spec, bidirectional="sum")).parts[0].output == "(B, T, 128)"


def test_a_norm_is_a_part_of_its_own_and_a_residual_costs_nothing() -> None:
    spec = replace(TEXT, vocab=None, layers=2, bidirectional="concat", norm="layer", residual=True)
    described = describe(CELLS["lstm"], spec)
    plain = describe(CELLS["lstm"], replace(spec, norm="none", residual=False))
    assert [(part.output, part.parameters) for part in described.parts[1::2]] == [
        ("(B, T, 256)", 512),
        ("(B, 256)", 512),
    ]
    assert described.parameters == plain.parameters + 2 * 512
    assert [part.name.endswith("residual") for part in described.parts] == [False, False, True, False, False]


def test_equations_are_the_cells_own_lines() -> None:
    described = describe(CELLS["lstm"], TEXT)
    assert "h_t = σ(z_o) ⊙ tanh(c_t)" in described.equations
    assert described.paper == CELLS["lstm"].paper


def test_the_command_prints_summary_and_backends(invoke: Invoke) -> None:
    status, shown, _ = invoke("describe", "lstm", "--vocab", 1000)
    assert status == 0
    for text in ("64,000", "98,816", "1,290", "164,106", "torch.nn counts 99,328", "numpy runs native"):
        assert text in shown, text
    assert json.loads(invoke("describe", "lstm", "--vocab", 1000, "--json")[1])["parameters"] == 164_106


def test_the_command_knows_norms_and_input_feeding(invoke: Invoke) -> None:
    def told(*options: str) -> Any:
        status, shown, _ = invoke("describe", "lstm", "--layers", 2, *options, "--json")
        assert status == 0
        return json.loads(shown)

    plain, normed = told(), told("--norm", "batch")
    assert {name: shape for name, shape in normed["shapes"].items() if name not in plain["shapes"]} == {
        f"layers.{layer}.norm.{name}": [128]
        for layer in range(2)
        for name in ("gain", "shift", "mean", "variance")
    }
    # gain and shift: running statistics are not learned
    assert normed["parameters"] == plain["parameters"] + 2 * 2 * 128
    attention = "--attention", "luong_general"
    without, fed = told(*attention), told(*attention, "--input-feeding")
    assert {name for name, shape in fed["shapes"].items() if without["shapes"][name] != shape} == {
        "decoder.layers.0.W_x"
    }
    assert fed["shapes"]["decoder.layers.0.W_x"][0] == 64 + 128
    assert fed["parameters"] == without["parameters"] + 128 * 4 * 128


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lstm", "--input-feeding"], "--input-feeding: feeds back what a decoder's attention says"),
        (["lstm", "--input-feeding", "--attention", "bahdanau"], "and the decoder has bahdanau; take luong_"),
        (["lstm", "--norm", "batch", "--attention", "none"], "--norm: decoders have none"),
        (["lsmt"], 'no cell "lsmt". Did you mean "lstm"?'),
        (["lstm", "--hidden", "0"], "--hidden"),
        (["lstm", "--bidirectional", "cat"], "--bidirectional"),
    ],
)
def test_wrong_requests_exit_with_2(arguments: list[str], message: str, invoke: Invoke) -> None:
    status, _, said = invoke("describe", *arguments)
    assert status == 2
    assert message in said


@pytest.mark.framework
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("name", OWN_BIASES["torch.nn"])
def test_torch_counts_as_it_is_said_to(name: str, both: bool, layers: int) -> None:
    torch = pytest.importorskip("torch")
    kinds: dict[str, Any] = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
    kinds["lstm_projected"] = partial(torch.nn.LSTM, proj_size=32)
    layer = kinds.get(name, torch.nn.RNN)(64, 128, layers, bidirectional=both)
    spec = replace(TEXT, cell=name, layers=layers, bidirectional="concat" if both else "none")
    assert own_count(name, spec, "torch.nn") == sum(weight.numel() for weight in layer.parameters())


@pytest.mark.framework
@pytest.mark.slow
def test_keras_counts_as_it_is_said_to() -> None:
    keras = keras_on_one_thread()
    layer = keras.layers.GRU(128)
    layer.build((None, None, 64))
    assert own_count("gru", replace(TEXT, cell="gru"), "keras") == layer.count_params()
    for name, layer in (("lstm", keras.layers.LSTM(128)), ("elman", keras.layers.SimpleRNN(128))):
        layer.build((None, None, 64))
        assert describe(CELLS[name], replace(TEXT, cell=name)).parts[1].parameters == layer.count_params()


@pytest.mark.framework
def test_flax_counts_as_it_is_said_to() -> None:
    nnx = pytest.importorskip("flax.nnx")
    jax = pytest.importorskip("jax")
    layer = nnx.GRUCell(64, 128, rngs=nnx.Rngs(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(layer, nnx.Param)))
    assert own_count("gru", replace(TEXT, cell="gru"), "flax.nnx") == count


def own_count(name: str, spec: NetworkSpec, framework: str) -> int:
    (own,) = [each for each in describe(CELLS[name], spec).own_counts if each.framework == framework]
    return own.parameters
