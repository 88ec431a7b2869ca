"""One sequence at batch 1, one time step after the other, each under the clock by itself."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from rnnbench.contracts import Batch, Network
from rnnbench.errors import Unsupported


class Stream:
    """A sequence on the device whose state is carried from call to call.

    After its last step it begins again from the first state: a network that is fed for ever may overflow.
    """

    def __init__(self, network: Network, batch: Batch) -> None:
        """The first sequence of ``batch``, its padding left out. Raises ``Unsupported``."""
        if not hasattr(network, "put_steps"):
            raise Unsupported("stream: this implementation cannot compute one time step at a time")
        self._network = network
        self._inputs, self._start = network.put_steps(first_sequence(batch))
        self._state, self._position = self._start, 0

    def __call__(self) -> Any:
        """The next step; its outputs (1,O)."""
        x, state = self._next()
        y, self._state = self._network.step(x, state)
        return y

    def clock(self, steps: int) -> np.ndarray:
        """Seconds of each of the next steps (N,), from the call to the barrier behind it."""
        step, sync, now = self._network.step, self._network.sync, time.perf_counter
        seconds = np.empty(steps)
        for number in range(steps):
            x, state = self._next()
            start = now()
            y, self._state = step(x, state)
            sync(y)
            seconds[number] = now() - start
        return seconds

    def _next(self) -> tuple[Any, Any]:
        if self._position == len(self._inputs):
            self._state, self._position = self._start, 0
        self._position += 1
        return self._inputs[self._position - 1], self._state


def first_sequence(batch: Batch) -> Batch:
    """B=1, T its own length, without a padding."""
    length = batch.inputs.shape[1] if batch.lengths is None else int(batch.lengths[0])
    state = None if batch.state is None else {name: value[:1] for name, value in batch.state.items()}
    return Batch(batch.inputs[:1, :length], batch.targets[:1], None, state)
