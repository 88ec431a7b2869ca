"""Arrays that are kept from call to call: fresh pages cost more than the arithmetic on them."""

from __future__ import annotations

from typing import Any

import numpy as np


class Space:
    """Named scratch arrays, grown when needed; what they hold lasts until the name is taken again."""

    def __init__(self, dtype: Any) -> None:
        self._dtype = np.dtype(dtype)
        self._held: dict[str, np.ndarray] = {}

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """A contiguous array of ``shape`` with anything in it."""
        size = int(np.prod(shape))
        held = self._held.get(name)
        if held is None or held.size < size:
            held = self._held[name] = np.empty(size, self._dtype)
        return held[:size].reshape(shape)
