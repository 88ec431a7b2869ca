"""Parallel over time: the affine scan against plain loops, and whole layers against the cell's own steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from affine import affine_loop, draw_affine
from autograd import value_and_grad
from autograd.test_util import check_grads

from rnnbench.cells.network import network_loss, network_outputs, stack_layers, unroll
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.cells.placing import time_major
from rnnbench.cells.scanning import scan_layer
from rnnbench.contracts import AffineCell, Cell, NetworkSpec, Sizes
from rnnbench.errors import PluginError, Unsupported
from rnnbench.numpy_ops import NumpyOps
from rnnbench.reference import probe_batch, probe_parameters
from rnnbench.testing import CELLS

OPS = NumpyOps()


@dataclass(frozen=True)
class Chained:
    """s_t = f ⊙ s_{t-1} + x W, f = σ(x V);  c_t = σ(s_{t-1}) ⊙ c_{t-1} + s_{t-1};  y = c_t - c_{t-1}."""

    name: str = "chained"
    gates: tuple[str, ...] = ("f",)
    paper: str = "none"
    complex_state: bool = False

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        return {"V": (sizes.input, sizes.hidden), "W": (sizes.input, sizes.hidden)}

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        return {"c": (sizes.hidden,), "s": (sizes.hidden,)}

    def output_size(self, sizes: Sizes) -> int:
        return sizes.hidden

    def project(self, ops: Ops, p: Arrays, x: Array) -> dict[str, Array]:
        return {"f": ops.sigmoid(ops.matmul(x, p["V"])), "x": ops.matmul(x, p["W"])}

    def step(self, ops: Ops, p: Arrays, u: Arrays, state: Arrays) -> tuple[dict[str, Array], Array]:
        c = ops.sigmoid(state["s"]) * state["c"] + state["s"]
        return {"c": c, "s": u["f"] * state["s"] + u["x"]}, c - state["c"]

    def affine(self, ops: Ops, p: Arrays, u: Arrays, before: Arrays) -> dict[str, tuple[Array, Array]]:
        found = {"s": (u["f"], u["x"])}
        return found | ({"c": (ops.sigmoid(before["s"]), before["s"])} if "s" in before else {})

    def read(self, ops: Ops, p: Arrays, u: Arrays, before: Arrays, after: Arrays) -> Array:
        return after["c"] - before["c"]


@dataclass(frozen=True)
class Silent(Chained):
    """Never says how c evolves."""

    name: str = "silent"

    def affine(self, ops: Ops, p: Arrays, u: Arrays, before: Arrays) -> dict[str, tuple[Array, Array]]:
        return {"s": (u["f"], u["x"])}


@dataclass(frozen=True)
class Mistaken(Chained):
    """Takes the state after the step for the one before."""

    name: str = "mistaken"

    def read(self, ops: Ops, p: Arrays, u: Arrays, before: Arrays, after: Arrays) -> Array:
        return before["c"] - after["c"]


AFFINE: list[Cell] = [Chained(), *(cell for cell in CELLS.values() if isinstance(cell, AffineCell))]
HARD = NetworkSpec("", 3, 5, 4, "each", "mse", layers=2, bidirectional="concat", lengths=True)


@pytest.mark.parametrize("complex_state", [False, True])
@pytest.mark.parametrize(("length", "shared"), [(1, False), (2, True), (13, False), (13, True)])
def test_the_scan_is_the_loop(complex_state: bool, length: int, shared: bool) -> None:
    a, b, start = draw_affine(length, complex_state, shared)
    found = OPS.affine_scan(a, b, start, complex_state)
    np.testing.assert_allclose(found, affine_loop(a, b, start, complex_state), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("complex_state", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_gradients_of_the_scan_are_its_differences(complex_state: bool, shared: bool) -> None:
    values = draw_affine(4, complex_state, shared)

    def weighted(*values: Any) -> Any:
        s = OPS.affine_scan(*values, complex_state)
        # another weight for each state, so that none can stand for another
        return OPS.sum(s * np.cos(np.arange(s.size)).reshape(s.shape))

    for argument in range(3):
        check_grads(lambda v, n=argument: weighted(*values[:n], v, *values[n + 1 :]), modes=["rev"], order=1)(
            values[argument]
        )


def test_the_scan_keeps_float32() -> None:
    for complex_state in (False, True):
        a, b, start = (value.astype(np.float32) for value in draw_affine(5, complex_state, shared=False))
        s, gradient = value_and_grad(lambda b: OPS.sum(OPS.affine_scan(a, b, start, complex_state)))(b)  # noqa: B023
        assert (s.dtype, gradient.dtype) == (np.float32, np.float32)


def outcomes(cell: Cell, spec: NetworkSpec, layer: Any) -> tuple[Any, ...]:
    """Outputs, final states and gradients of a network of random parameters and non-zero states."""
    parameters, batch = probe_parameters(cell, spec), time_major(spec, probe_batch(cell, spec, 9, 3))

    def run(values: Any) -> Any:
        def stack(*arguments: Any) -> Any:
            return stack_layers(*arguments, layer=layer)

        return network_outputs(OPS, cell, spec, values, batch.inputs, batch.lengths, batch.state, stack=stack)

    def loss(values: Any) -> Any:
        return network_loss(OPS, spec, run(values)[0], batch.targets, batch.lengths)

    outputs, final = run(parameters)
    if spec.lengths:
        assert batch.lengths is not None
        outputs = outputs[np.arange(9)[:, None] < batch.lengths]
    return outputs, final, value_and_grad(loss)(parameters)[1]


def worst(found: tuple[Any, ...], expected: tuple[Any, ...]) -> float:
    def error(one: Any, other: Any) -> float:
        return float(np.abs(one - other).max() / (1 + np.abs(other).max()))

    values = [error(found[0], expected[0])]
    for one, other in zip(found[1:], expected[1:], strict=True):
        assert one.keys() == other.keys()
        values += [error(one[name], other[name]) for name in other]
    return max(values)


@pytest.mark.parametrize("cell", AFFINE, ids=lambda cell: cell.name)
def test_a_scanned_layer_is_the_unrolled_one(cell: Cell) -> None:
    """Both directions, two layers, lengths, non-zero states; outputs, states and every gradient."""
    spec = replace(HARD, cell=cell.name)
    assert worst(outcomes(cell, spec, scan_layer), outcomes(cell, spec, unroll)) < 1e-12
    plain = NetworkSpec(cell.name, 3, 5, 4, "last", "mse")
    assert worst(outcomes(cell, plain, scan_layer), outcomes(cell, plain, unroll)) < 1e-12


def test_a_wrong_reading_of_states_is_seen() -> None:
    spec = replace(HARD, cell="mistaken")
    assert worst(outcomes(Mistaken(), spec, scan_layer), outcomes(Mistaken(), spec, unroll)) > 1e-2


def test_cells_without_a_scan_say_so() -> None:
    with pytest.raises(Unsupported, match='"lstm" is not affine in its state'):
        outcomes(CELLS["lstm"], replace(HARD, cell="lstm"), scan_layer)
    with pytest.raises(PluginError, match='"silent": affine never gives c'):
        outcomes(Silent(), replace(HARD, cell="silent"), scan_layer)
