"""s_t = a_t ⊙ s_{t-1} + b_t in torch: chunks of √T steps side by side, in place, with a gradient of its own.

All chunks take their first step in one call, then their second, ...; what each hands to the next follows in
√T steps more. So 2√T calls do what takes a loop T, at the price of some passes over memory more: where a
single step fills a core already, the loop is the quicker (measured on CPUs), and is taken.
The gradient is the same recurrence, run backward; autograd through the loop would keep a graph of every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any

import torch
from torch import Tensor

ENOUGH = 4096
"""Real numbers in one step from which a CPU gains nothing by several steps at once."""


def affine_scan(a: Tensor, b: Tensor, start: Tensor, complex_state: bool) -> Tensor:
    """See ``rnnbench.cells.ops.Ops``."""
    if not complex_state:
        states: Tensor = _Scan.apply(a, b, start)  # type: ignore[no-untyped-call]
        return states
    a, b, start = (torch.view_as_complex(value.contiguous()) for value in (a, b, start))
    return torch.view_as_real(_Scan.apply(a, b, start))  # type: ignore[no-untyped-call]


def scan_path(device: torch.device) -> str:
    """In words: what ``affine_scan`` does on a device."""
    chunks = "affine scan in chunks of √T steps"
    return f"{chunks} (a loop in place from {ENOUGH} numbers a step)" if device.type == "cpu" else chunks


class _Scan(torch.autograd.Function):
    """Real or complex a, b and start."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, start: Tensor) -> Tensor:
        """All states."""
        s = torch.empty_like(b, memory_format=torch.contiguous_format)
        _fill(s, a, b, start, reverse=False)
        ctx.save_for_backward(a, start, s)
        return s

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """d_t = g_t + conj(a_{t+1}) ⊙ d_{t+1}."""
        a, start, s = ctx.saved_tensors
        (g,) = gradients
        factors = a.conj().resolve_conj()
        d = torch.empty_like(s)
        d[-1] = g[-1]
        _fill(d[:-1], factors[1:], g[:-1], d[-1], reverse=True)
        da = torch.empty_like(s)
        torch.mul(d[1:], s[:-1].conj(), out=da[1:])
        torch.mul(d[0], start.conj(), out=da[0])
        if a.shape[1] != s.shape[1]:
            da = da.sum(1, keepdim=True)
        return da, d, factors[0] * d[0]


def _fill(out: Tensor, a: Tensor, b: Tensor, state: Tensor, *, reverse: bool) -> None:
    """Write the states after ``state`` into ``out``, from its end where ``reverse``."""
    T = len(b)
    size = isqrt(T)
    numbers = state.numel() * (2 if state.is_complex() else 1)
    rest = T if size < 2 or (b.device.type == "cpu" and numbers >= ENOUGH) else T % size
    chunks, left = (slice(rest, T), slice(0, rest)) if reverse else (slice(0, T - rest), slice(T - rest, T))
    if rest < T:
        state = _fill_chunks(out[chunks], a[chunks], b[chunks], state, size, reverse)
    _fill_steps(_steps(out[left], reverse), _steps(a[left], reverse), _steps(b[left], reverse), state)


def _fill_steps(out: Sequence[Tensor], a: Sequence[Tensor], b: Sequence[Tensor], state: Tensor) -> Tensor:
    for after, factor, term in zip(out, a, b, strict=True):
        state = torch.addcmul(term, factor, state, out=after)
    return state


def _fill_chunks(out: Tensor, a: Tensor, b: Tensor, state: Tensor, size: int, reverse: bool) -> Tensor:
    """Chunks of ``size`` steps as if each began at 0; then the state before each, by what it still counts."""
    count = len(b) // size
    split = [x.unflatten(0, (count, size)) for x in (out, a, b)]
    share = torch.empty_like(split[1])
    steps, factors, terms, shares = (_steps(x, reverse, 1) for x in (*split, share))
    steps[0].copy_(terms[0])
    shares[0].copy_(factors[0])
    _fill_steps(steps[1:], factors[1:], terms[1:], steps[0])
    for now, factor, past in zip(shares[1:], factors[1:], shares, strict=False):
        torch.mul(factor, past, out=now)
    before = torch.empty_like(steps[0])
    for each, share_of, term in zip(
        *(_steps(x, reverse) for x in (before, shares[-1], steps[-1])), strict=True
    ):
        each.copy_(state)
        state = torch.addcmul(term, share_of, state)
    split[0].addcmul_(share, before.unsqueeze(1))
    return state


def _steps(x: Tensor, reverse: bool, axis: int = 0) -> Sequence[Tensor]:
    steps = x.unbind(axis)
    return steps[::-1] if reverse else steps
