"""From values of a network to arrays of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np


def copy_values(value: Any) -> Any:
    """The same tuple or dict with every array copied: what was fetched never changes afterwards."""
    if isinstance(value, dict):
        return {name: copy_values(entry) for name, entry in value.items()}
    if isinstance(value, tuple):
        return tuple(copy_values(entry) for entry in value)
    return np.array(value)
