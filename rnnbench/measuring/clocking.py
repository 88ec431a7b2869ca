"""A phase of a network under the clock, alone or call after call, and on the scales.

All clocks that measure are read in this file and in ``streaming.py``.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rnnbench.contracts import Network
from rnnbench.measuring.memory import HostPeak
from rnnbench.measuring.protocol import Message
from rnnbench.measuring.streaming import Stream

Call = Callable[[], Any]
"""One call of a phase, which does not wait for the device."""


def clock_first(network: Network, call: Call) -> Message:
    """The first call, alone, and what of it was tracing and compilation as far as the framework tells."""
    before = dict(network.compile_times())  # a live mapping would move along
    start = time.perf_counter()
    network.sync(call())
    seconds = time.perf_counter() - start
    after = network.compile_times()
    parts = {f"{part}_s": after[part] - before.get(part, 0.0) for part in after}
    return {"seconds": seconds, "path": network.path, **parts}


def clock_warming(
    network: Network, call: Call, at_least_s: float, at_least_calls: int, at_most_s: float
) -> Message:
    """Calls until ``at_least`` both hold, counted anew after each compilation; ``at_most_s`` ends it."""
    begin = start = time.perf_counter()
    compiled, calls, times = network.compilations(), 0, []
    while True:
        before = time.perf_counter()
        network.sync(call())
        now = time.perf_counter()
        calls += 1
        times.append(now - before)
        if network.compilations() != compiled:
            compiled, calls, start, times = network.compilations(), 0, now, []
        enough = calls >= at_least_calls and now - start >= at_least_s
        if enough or now - begin >= at_most_s:
            return {
                "calls": calls,
                "median_s": float(np.median(times)) if times else now - before,
                "compilations": network.compilations(),
            }


def clock_block(network: Network, call: Call, loops: int) -> Message:
    """One untimed primer call, then ``loops`` calls and one barrier under the clock."""
    network.sync(call())
    compiled = network.compilations()
    collecting = gc.isenabled()
    gc.disable()
    latencies: dict[str, float] = {}
    try:
        if isinstance(call, Stream):
            steps_s = call.clock(loops)
            seconds = float(steps_s.sum())
            p50_s, p99_s = (float(value) for value in np.percentile(steps_s, (50, 99)))
            latencies = {"p50_s": p50_s, "p99_s": p99_s}
        else:
            start = time.perf_counter()
            for _ in range(loops):
                value = call()
            network.sync(value)
            seconds = time.perf_counter() - start
    finally:
        if collecting:
            gc.enable()
    return {"seconds": seconds, "compiled": network.compilations() - compiled, **latencies}


def weigh(network: Network, call: Call, before_bytes: int) -> Message:
    """Peak bytes of one call above ``before_bytes``, after one that is not weighed."""
    network.sync(call())
    network.memory()  # forgets the peak so far
    gc.collect()
    with HostPeak(before_bytes) as host:
        network.sync(call())
    sizes = {"host_peak_bytes": host.peak_bytes, "device_peak_bytes": network.memory()}
    return {name: size for name, size in sizes.items() if size is not None}
