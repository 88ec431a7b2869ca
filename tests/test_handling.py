"""A field of a network's structure that native layers do not follow is refused, one of tomorrow's too."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import pytest

from rnnbench.cells.handling import refuse_unknown
from rnnbench.contracts import NetworkSpec, Settings
from rnnbench.errors import Unsupported
from rnnbench.plugins import discover
from rnnbench.reference import PROBE_TRAINING, probe_parameters
from rnnbench.testing import CELLS


@dataclass(frozen=True, slots=True)
class Tomorrow(NetworkSpec):
    """As a later rnnbench may have it."""

    tilt: float = 0.0


SPEC = Tomorrow("lstm", 3, 5, 4, "last", "mse")


def test_what_is_not_handled_is_refused_unless_it_is_at_its_default() -> None:
    refuse_unknown(SPEC, (), by="layers")
    refuse_unknown(replace(SPEC, layers=2), ("layers",), by="layers")
    with pytest.raises(Unsupported, match=r"^layers know no tilt \(1\.5\); use portable$"):
        refuse_unknown(replace(SPEC, tilt=1.5), [field.name for field in fields(NetworkSpec)], by="layers")
    with pytest.raises(Unsupported, match=r"^layers know no layers \(2\); ask jax$"):
        refuse_unknown(replace(SPEC, layers=2), ("tilt",), by="layers", instead="ask jax")


@pytest.mark.parametrize(
    "backend",
    [
        "numpy",
        pytest.param("torch", marks=pytest.mark.framework),
        pytest.param("jax", marks=pytest.mark.framework),
        pytest.param("tensorflow", marks=pytest.mark.framework),
    ],
)
def test_native_builders_refuse_it(backend: str) -> None:
    session = discover().backends[backend].open(Settings(), CELLS)
    parameters = probe_parameters(CELLS["lstm"], SPEC)
    session.build(SPEC, parameters, PROBE_TRAINING, "native")
    with pytest.raises(Unsupported, match=r"tilt \(1\.5\)"):
        session.build(replace(SPEC, tilt=1.5), parameters, PROBE_TRAINING, "native")
