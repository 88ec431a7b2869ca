"""A native training step ÷ the bare matrix products that it cannot do without.

Both run in alternation, so that noise meets them alike; each pair gives one ratio. Printed: the
median ratio with its quartiles, and the shortest times. The products are those of one layer with
a "last" readout: X W_x, h W_h for every step, dz W_hᵀ for every step, hᵀ dz and Xᵀ dz.

    python native_against_products.py [--pairs 15] [--threads 1]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import perf_counter

import numpy as np
from rnnbench_numpy.backend import NumpyBackend

from rnnbench.contracts import Batch, Network, NetworkSpec, Settings, TrainingSpec
from rnnbench.testing import CELLS
from rnnbench.training import initialise

B, T, I, H = 32, 100, 64, 128  # noqa: E741 - the field's names


def native_network(cell: str, threads: int) -> tuple[Network, Batch]:
    """A network at B32 T100 I64 H128 in float32, and a random batch."""
    rng = np.random.default_rng(0)
    spec = NetworkSpec(cell, I, H, 10, "last", "cross_entropy")
    session = NumpyBackend().open(Settings(threads=threads), CELLS)
    parameters = initialise(CELLS[cell], spec, "glorot", 1.0, seed=0)
    network = session.build(spec, parameters, TrainingSpec(), "native")
    return network, Batch(rng.standard_normal((B, T, I)), rng.integers(0, 10, B))


def bare_products(gates: int, *, backward: bool) -> Callable[[], None]:
    """The products of a cell with G=gates gates, in preallocated arrays, nothing between them."""
    rng = np.random.default_rng(1)

    def random(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    width = gates * H
    X, h, dz = random(T * B, I), random(T * B, H), random(T * B, width)
    W_x, W_h, W_h_back = random(I, width), random(H, width), random(width, H)
    u, z, dh = random(T * B, width), random(B, width), random(B, H)
    dW_x, dW_h = random(I, width), random(H, width)

    def run() -> None:
        np.dot(X, W_x, out=u)
        for t in range(T):
            np.dot(h[t * B : (t + 1) * B], W_h, out=z)
        if not backward:
            return
        for t in range(T):
            np.dot(dz[t * B : (t + 1) * B], W_h_back, out=dh)
        np.dot(h.T, dz, out=dW_h)
        np.dot(X.T, dz, out=dW_x)

    return run


def seconds(call: Callable[[], object]) -> float:
    """One call."""
    start = perf_counter()
    call()
    return perf_counter() - start


def compare(label: str, ours: Callable[[], object], products: Callable[[], None], pairs: int) -> None:
    """Print one line."""
    times = np.array([(seconds(ours), seconds(products)) for _ in range(pairs + 2)])[2:]
    low, middle, high = np.percentile(times[:, 0] / times[:, 1], [25, 50, 75])
    best = times.min(axis=0) * 1e3
    print(f"{label:32} ratio {middle:.2f} [{low:.2f}, {high:.2f}]   {best[0]:6.2f} ms ÷ {best[1]:6.2f} ms")


def main() -> None:
    """Every cell, forward and training step."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pairs", type=int, default=15)
    options.add_argument("--threads", type=int, default=1)
    given = options.parse_args()
    for name in ("elman", "gru", "gru_reset_before", "lstm"):
        network, batch = native_network(name, given.threads)
        data = network.put(batch)
        gates = len(CELLS[name].gates)
        for label, call, backward in (
            ("forward", network.forward, False),
            ("train step", network.train_step, True),
        ):
            compare(
                f"{name}, {label}",
                lambda call=call, data=data: call(data),
                bare_products(gates, backward=backward),
                given.pairs,
            )


if __name__ == "__main__":
    main()
