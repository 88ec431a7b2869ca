"""What passes between conductor and worker: one JSON header and raw arrays, on a connection of its own.

Never pickled: the two sides may be different interpreters with different versions of NumPy, and
a worker's word is data, not code.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

Message = dict[str, Any]

ADDRESS_VARIABLE = "RNNBENCH_WORKER_ADDRESS"
KEY_VARIABLE = "RNNBENCH_WORKER_KEY"

_ARRAY = "__array__"
_DTYPES = ("float32", "float64", "int32", "int64", "bool")


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as bytes: header length, header, then every array's bytes in order.

    Raises TypeError for a value that is neither JSON nor an array of a known dtype.
    """
    arrays: list[np.ndarray] = []

    def replace(value: object) -> object:
        if isinstance(value, np.ndarray):
            if value.dtype.name not in _DTYPES:
                raise TypeError(f"cannot send an array of {value.dtype}")
            arrays.append(np.ascontiguousarray(value))
            return {_ARRAY: [value.dtype.name, list(value.shape)]}
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(f"cannot send a {type(value).__name__}")

    header = json.dumps(message, default=replace).encode()
    return b"".join([struct.pack("<Q", len(header)), header, *(array.tobytes() for array in arrays)])


def decode(data: bytes) -> Message:
    """The message of ``encode``."""
    (size,) = struct.unpack_from("<Q", data)
    offset = 8 + size
    layout: list[dict[str, Any]] = []

    def collect(value: dict[str, Any]) -> Any:
        if _ARRAY in value:
            layout.append(value)
        return value

    message = json.loads(data[8:offset], object_hook=collect)
    for item in layout:
        dtype, shape = item.pop(_ARRAY)
        count = int(np.prod(shape, dtype=np.int64))
        item["value"] = np.frombuffer(data, dtype, count, offset).reshape(shape)
        offset += count * np.dtype(dtype).itemsize
    found = {id(item) for item in layout}
    return _unwrap(message, found)  # type: ignore[no-any-return]


def _unwrap(value: Any, arrays: set[int]) -> Any:
    if isinstance(value, dict):
        if id(value) in arrays:
            return value["value"]
        return {name: _unwrap(item, arrays) for name, item in value.items()}
    if isinstance(value, list):
        return [_unwrap(item, arrays) for item in value]
    return value
