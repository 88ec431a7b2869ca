"""One time step of a cell: under a mask, and for one input alone."""

from __future__ import annotations

from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import RecurrentCell


def one_step(
    ops: Ops, cell: RecurrentCell, p: Arrays, x: Array, state: Arrays
) -> tuple[dict[str, Array], Array]:
    """From an input x (B,I) that nothing has been computed of: the new state, and y (B,output_size)."""
    # project is written for all steps at once, (T,B,...)
    projected = cell.project(ops, p, ops.reshape(x, (1, *x.shape)))
    return cell.step(ops, p, {name: value[0] for name, value in projected.items()}, state)


def masked_step(
    ops: Ops, cell: RecurrentCell, p: Arrays, u: Arrays, state: Arrays
) -> tuple[dict[str, Array], Array]:
    """The cell's step; where ``u`` has a "mask" (B,1) that is False the state stays and y is 0."""
    if "mask" not in u:
        return cell.step(ops, p, u, state)
    valid = u["mask"]
    new, y = cell.step(ops, p, {name: value for name, value in u.items() if name != "mask"}, state)
    kept = {name: ops.where(widened(ops, valid, h), new[name], h) for name, h in state.items()}
    return kept, ops.where(valid, y, 0.0)


def widened(ops: Ops, mask: Array, value: Array) -> Array:
    """mask (...,1) with axes of 1 behind it, as many axes as ``value`` has: some states have several."""
    more = len(value.shape) - len(mask.shape)
    return ops.reshape(mask, (-1, *mask.shape[1:], *(1,) * more)) if more else mask
