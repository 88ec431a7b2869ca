"""Decoders on every backend: gradients under teacher forcing, and greedy decoding, against the reference.

Two compilations for each kind of attention; ``rnnbench verify --all`` asks everything, of more cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from rnnbench.choices import Attention
from rnnbench.contracts import DecoderSpec, NetworkSpec, Session, Settings
from rnnbench.errors import Unsupported
from rnnbench.plugins import FIRST_PARTY, discover
from rnnbench.reference import (
    PROBE_TRAINING,
    ask_decoded,
    compare_decoded,
    probe_batch,
    probe_parameters,
    reference_answers,
    reference_decoded,
    worst_error,
)
from rnnbench.testing import CELLS

BACKENDS = [
    name if name == "numpy" else pytest.param(name, marks=pytest.mark.framework) for name in FIRST_PARTY
]
KINDS: tuple[Attention, ...] = ("none", "bahdanau", "luong_dot", "luong_general", "luong_concat")


@pytest.fixture(scope="module")
def sessions() -> Mapping[str, Session]:
    """Each opened when it is first asked for."""

    class Sessions(dict[str, Session]):
        def __missing__(self, name: str) -> Session:
            self[name] = discover().backends[name].open(Settings(dtype="float64", optimize=False), CELLS)
            return self[name]

    return Sessions()


def spec_of(kind: Attention, **changes: Any) -> NetworkSpec:
    decoder = DecoderSpec(6, kind, input_feeding=kind == "luong_general")
    return NetworkSpec("elman", 3, 5, 4, "each", "cross_entropy", lengths=True, decoder=decoder, **changes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_decoder_is_the_same_function(
    backend: str, kind: Attention, sessions: Mapping[str, Session]
) -> None:
    spec, cell = spec_of(kind), CELLS["elman"]
    parameters, batch = probe_parameters(cell, spec), probe_batch(cell, spec, 7, 4)
    network = sessions[backend].build(spec, parameters, PROBE_TRAINING, "portable")
    expected = reference_answers(cell, spec, parameters, batch, steps=0)
    loss, gradients = network.fetch(network.gradients(network.put(batch)))
    assert float(loss) == pytest.approx(expected.loss, rel=1e-12)
    assert worst_error(expected.gradients, gradients, 12, "float64") < 1
    decoded = reference_decoded(cell, spec, parameters, batch)
    assert compare_decoded(decoded, ask_decoded(network, batch), batch, "float64") < 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_native_layers_refuse_a_decoder(backend: str, sessions: Mapping[str, Session]) -> None:
    spec = spec_of("bahdanau")
    with pytest.raises(Unsupported, match=r"native layers run no decoder.*use portable"):
        sessions[backend].build(spec, probe_parameters(CELLS["elman"], spec), PROBE_TRAINING, "native")
