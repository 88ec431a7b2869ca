"""Attention: which steps of a sequence a query reads, and what it reads there.

Of a memory m_1 ... m_T (B,T,M) and a query q (B,Q), with Σ over the valid steps only,

    context = Σ_t a_t m_t,   a = softmax(e)

    bahdanau, luong_concat:   e_t = tanh(q W_q + m_t W_k) v
    luong_dot:                e_t = q · m_t
    luong_general:            e_t = q · (m_t W_k)

Bahdanau, Cho and Bengio 2015 (arXiv:1409.0473, appendix A.1.2); Luong, Pham and Manning 2015
(arXiv:1508.04025, equation 8): their W_a [q; m] is written as the two products that it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.choices import Attention

NEVER = -1e30
"""The score of padding. Its weight is exactly 0; with -inf, gradients of a softmax would be NaN."""


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """What can be read: ``values`` (B,T,M), ``keys`` as the scores need them, ``valid`` (B,T) or None."""

    values: Array
    keys: Array
    valid: Array | None


def attention_shapes(kind: Attention, query: int, memory: int, width: int) -> dict[str, tuple[int, ...]]:
    """W_q (Q,A), W_k (M,A) and v (A,1), or W_k (M,Q); and W_c (M+Q,Q), Luong's layer above the context.

    Raises ValueError where luong_dot would multiply a query with a memory of another size.
    """
    if kind == "luong_dot" and query != memory:
        raise ValueError(
            f"luong_dot multiplies a decoder's output of size {query} with an encoder's of size {memory}; "
            "take luong_general, or bidirectional none or sum"
        )
    shapes: dict[str, tuple[int, ...]] = {}
    if kind in ("bahdanau", "luong_concat"):
        shapes = {"W_q": (query, width), "W_k": (memory, width), "v": (width, 1)}
    elif kind == "luong_general":
        shapes = {"W_k": (memory, query)}
    return shapes | ({"W_c": (memory + query, query)} if kind.startswith("luong") else {})


def prepare(ops: Ops, kind: Attention, p: Arrays, memory: Array, mask: Array | None) -> Memory:
    """What does not depend on the query, once for all of them. memory (T,B,M), mask (T,B,1)."""
    values = ops.swap(memory, 0, 1)
    keys = values if kind == "luong_dot" else ops.matmul(values, p["W_k"])
    if kind in ("luong_dot", "luong_general"):
        keys = ops.swap(keys, 1, 2)
    valid = None if mask is None else ops.swap(ops.reshape(mask, tuple(mask.shape[:2])), 0, 1)
    return Memory(values, keys, valid)


def attend(ops: Ops, kind: Attention, p: Arrays, query: Array, memory: Memory) -> tuple[Array, Array]:
    """query (B,Q) -> context (B,M) and the weights (B,T) by which it was read."""
    B, T, M = memory.values.shape
    if kind in ("bahdanau", "luong_concat"):
        q = ops.matmul(query, p["W_q"])
        hidden = ops.tanh(memory.keys + ops.reshape(q, (B, 1, q.shape[1])))
        scores = ops.reshape(ops.matmul(hidden, p["v"]), (B, T))
    else:
        products = ops.batch_matmul(ops.reshape(query, (B, 1, query.shape[1])), memory.keys)
        scores = ops.reshape(products, (B, T))
    if memory.valid is not None:
        scores = ops.where(memory.valid, scores, NEVER)
    weights = ops.exp(ops.log_softmax(scores))
    context = ops.batch_matmul(ops.reshape(weights, (B, 1, T)), memory.values)
    return ops.reshape(context, (B, M)), weights
