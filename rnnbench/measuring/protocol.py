"""What passes between conductor and worker: one JSON header and raw arrays, on a connection of its own.

Never pickled: the two sides may be different interpreters with different versions of NumPy, and
a worker's word is data, not code.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

Message = dict[str, Any]

_WORKER = ("bench", "clocking", "memory", "origins", "peak", "protocol", "serving", "streaming")
"""Modules beside this one that decide what a worker is asked, and how it measures."""


@cache
def fingerprint() -> str:
    """Of the code that measures: two environments with the same understand each other, and time alike.

    A number would have to be raised by whoever changes a request, and would be forgotten.
    """
    digest = hashlib.sha256()
    for name in _WORKER:
        file = Path(__file__).with_name(f"{name}.py")
        digest.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]


_ARRAY = "__array__"
_DTYPES = ("float32", "float64", "int32", "int64", "bool")


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as bytes: header length, header, then every array's bytes (little-endian) in order.

    Raises TypeError for a value that is neither JSON nor an array of a known dtype.
    """
    arrays: list[np.ndarray] = []
    header = json.dumps(_flatten(message, arrays)).encode()
    return b"".join([struct.pack("<Q", len(header)), header, *(array.tobytes() for array in arrays)])


def decode(data: bytes) -> Message:
    """The message of ``encode``; its arrays are read-only. Raises ValueError for anything else."""
    if len(data) < 8:
        raise ValueError("a message without a header")
    (size,) = struct.unpack_from("<Q", data)
    offset = 8 + size

    def restore(value: Any) -> Any:
        nonlocal offset
        if isinstance(value, list):
            return [restore(item) for item in value]
        if not isinstance(value, dict):
            return value
        if _ARRAY not in value:
            return {name: restore(item) for name, item in value.items()}
        name, shape = value[_ARRAY]
        if name not in _DTYPES:
            raise ValueError(f"an array of {name}")
        array = np.frombuffer(data, np.dtype(name).newbyteorder("<"), math.prod(shape), offset)
        offset += array.nbytes
        return array.reshape(shape)

    try:
        message = restore(json.loads(data[8:offset]))
    except (TypeError, OverflowError, RecursionError) as error:  # an array that is none
        raise ValueError(f"a message that cannot be read: {error}") from None
    if not isinstance(message, dict):
        raise ValueError(f"a message that is a {type(message).__name__}")
    return message


def _flatten(value: object, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str) or name == _ARRAY:
                raise TypeError(f"cannot send the key {name!r:.60}")
        return {name: _flatten(item, arrays) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_flatten(item, arrays) for item in value]
    if isinstance(value, np.ndarray):
        if value.dtype.name not in _DTYPES:
            raise TypeError(f"cannot send an array of {value.dtype}")
        arrays.append(value.astype(value.dtype.newbyteorder("<"), copy=False))
        return {_ARRAY: [value.dtype.name, list(value.shape)]}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"cannot send a {type(value).__name__}")
