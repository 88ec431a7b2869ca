"""TensorFlow keeps its thread counts from its first computation on, whichever file has that."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """As the sessions of these tests are opened."""
    threading = pytest.importorskip("tensorflow").config.threading
    if threading.get_intra_op_parallelism_threads() != 1:
        threading.set_intra_op_parallelism_threads(1)
        threading.set_inter_op_parallelism_threads(1)
