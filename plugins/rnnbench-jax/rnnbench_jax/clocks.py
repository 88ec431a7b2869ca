"""How long JAX has traced and compiled in this process, as its own monitoring tells."""

from __future__ import annotations

import time
from typing import Any

from jax import monitoring

TRACE = ("/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/jaxpr_to_mlir_module_duration")
COMPILE = ("/jax/core/compile/backend_compile_duration",)


class CompileClock:
    """Seconds under ``events``. What is traced within another function is in that one's, and counts once."""

    def __init__(self, events: tuple[str, ...]) -> None:
        self._events = events
        self._spans: list[tuple[float, float]] = []

    @property
    def seconds(self) -> float:
        """So far."""
        return sum(end - start for start, end in self._spans)

    def note(self, event: str, duration_secs: float, **_: Any) -> None:
        """JAX calls it at the end of what took so many seconds."""
        if event in self._events:
            end = time.perf_counter()
            start = end - duration_secs
            self._spans = [span for span in self._spans if span[0] < start] + [(start, end)]


TRACING, COMPILING = CompileClock(TRACE), CompileClock(COMPILE)
for clock in (TRACING, COMPILING):
    monitoring.register_event_duration_secs_listener(clock.note)
