"""What passes between conductor and worker comes back as it was, or is refused."""

from __future__ import annotations

import json
import math
import re
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rnnbench.measuring.protocol import decode, encode

DTYPES = ("float32", "float64", "int32", "int64", "bool")
ORDERS = st.sampled_from("<>")


def _ordered(array: np.ndarray, order: str) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder(order))


any_array = st.builds(
    _ordered,
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays.arrays(
            dtype, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
        )
    ),
    ORDERS,
)
scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text()
names = st.text().filter(lambda name: name != "__array__")
messages = st.dictionaries(
    names,
    st.recursive(
        scalars | any_array,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    ),
    max_size=5,
)


def same(given: Any, back: Any) -> bool:
    if isinstance(given, np.ndarray):
        return (
            isinstance(back, np.ndarray)
            and back.dtype == given.dtype.newbyteorder("=")
            and back.shape == given.shape
            and np.array_equal(back, given, equal_nan=given.dtype.kind == "f")
        )
    if isinstance(given, dict):
        return list(given) == list(back) and all(same(given[name], back[name]) for name in given)
    if isinstance(given, list | tuple):
        return len(given) == len(back) and all(map(same, given, back))
    if isinstance(given, float) and math.isnan(given):
        return isinstance(back, float) and math.isnan(back)
    return type(given) is type(back) and bool(given == back)


@settings(max_examples=60, deadline=None)
@given(messages)
def test_round_trip(message: dict[str, Any]) -> None:
    assert same(message, decode(encode(message)))


def test_round_trip_sees_a_difference() -> None:
    assert not same({"x": np.array([1.0, 2.0])}, decode(encode({"x": np.array([2.0, 1.0])})))
    assert not same({"x": np.zeros((2, 1))}, decode(encode({"x": np.zeros((1, 2))})))
    assert not same({"x": np.float32([1])}, {"x": np.float64([1])})


def test_arrays_that_are_not_contiguous_and_arrays_in_a_row() -> None:
    x = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    message = {"a": x.transpose(2, 0, 1), "b": [x[:, ::2], np.array(True), x[0, 0, 0:0]], "c": np.nan}
    assert same(message, decode(encode(message)))


def test_a_big_array() -> None:
    x = np.random.default_rng(3).standard_normal((1 << 20, 4))
    assert np.array_equal(decode(encode({"x": x}))["x"], x)


def test_numpy_scalars_become_numbers() -> None:
    back = decode(encode({"f": np.float32(0.1), "i": np.int64(7), "b": np.bool_(True)}))
    assert back == {"f": float(np.float32(0.1)), "i": 7, "b": True}
    assert [type(value) for value in back.values()] == [float, int, bool]


def test_arrays_are_views_that_nobody_writes_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        decode(encode({"x": np.ones(3)}))["x"][0] = 2


@pytest.mark.parametrize(
    "value",
    [
        object(), {1, 2}, b"bytes", 1 + 2j, np.float16([1]), np.array(["text"]), np.array([object()]),
        np.complex128([1j]), {1: "x"}, {"__array__": ["float32", [1]]}, [lambda: 0],
        np.datetime64("2020-01-01"),
    ],
    # without addresses: tests side by side must have the same names
    ids=lambda value: re.sub(r" at 0x\w+", "", repr(value))[:30],
)  # fmt: skip
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match="cannot send"):
        encode({"ok": {"deep": [value]}})


def _framed(header: object) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "data",
    [
        b"", b"short", struct.pack("<Q", 5) + b"{nope", _framed({"x": {"__array__": ["object", [1]]}}),
        _framed({"x": {"__array__": ["float32", [9]]}}),
    ],
    ids=["empty", "short", "not JSON", "objects", "cut off"],
)  # fmt: skip
def test_what_is_no_message_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's, NumPy's and our own words
        decode(data)
