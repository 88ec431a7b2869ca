"""A layer of a cell that is affine in its state, all steps at once: no loop over time around the cell."""

from __future__ import annotations

from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import AffineCell, Cell
from rnnbench.errors import PluginError, Unsupported


def check_affine(cell: Cell) -> AffineCell:
    """The cell itself. Raises ``Unsupported`` for one that has no ``affine``."""
    if isinstance(cell, AffineCell):
        return cell
    raise Unsupported(f'cell "{cell.name}" is not affine in its state, so it has no scan; use "portable"')


def scan_layer(
    ops: Ops, cell: Cell, p: Arrays, x: Array, mask: Array | None, state: Arrays
) -> tuple[Array, dict[str, Array]]:
    """What ``rnnbench.cells.network.unroll`` computes. Raises Unsupported for a cell without ``affine``."""
    affine = check_affine(cell)
    u = affine.project(ops, p, x)
    before: dict[str, Array] = {}
    after: dict[str, Array] = {}
    while len(after) < len(state):
        found = {name: pair for name, pair in affine.affine(ops, p, u, before).items() if name not in after}
        if not found:
            missing = ", ".join(sorted(state.keys() - after.keys()))
            raise PluginError(
                f'cell "{cell.name}": affine never gives {missing}, though it has all other states'
            )
        for name, (a, b) in found.items():
            start = state[name]
            if mask is not None:
                a, b = _hold(ops, mask, a, b, affine.complex_state)
            after[name] = b if a is None else ops.affine_scan(a, b, start, affine.complex_state)
            before[name] = ops.concat([ops.reshape(start, (1, *start.shape)), after[name][:-1]], 0)
    y = affine.read(ops, p, u, before, after)
    last = {name: after[name][-1] for name in state}
    return (y if mask is None else ops.where(mask, y, 0.0)), last


def _hold(ops: Ops, mask: Array, a: Array | None, b: Array, complex_state: bool) -> tuple[Array, Array]:
    """a = 1 and b = 0 where mask (T,B,1) is False, so that the state stays as it is."""
    valid = ops.reshape(mask, (*mask.shape[:2], *(1 for _ in b.shape[2:])))
    a = ops.zeros(tuple(b.shape), b) if a is None else a
    if complex_state:
        one = ops.stack([ops.zeros((), b) + 1, ops.zeros((), b)], 0)
        return ops.where(valid, a, one), ops.where(valid, b, 0.0)
    return ops.where(valid, a, 1.0), ops.where(valid, b, 0.0)
