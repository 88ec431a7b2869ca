"""Native against the same layer and a Dense in a ``keras.Sequential``, on one framework.

Blocks alternate. Prints the ratio native ÷ Sequential of forward passes (median over rounds, and its
quartiles): what passing weights in, instead of leaving them in Keras' variables, costs. Run it on an idle
machine, pinned to one core:

    taskset -c 0 python benchmarks/native_against_sequential.py torch lstm gru
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rnnbench_keras import BACKENDS

from rnnbench.contracts import Batch, NetworkSpec, Session, Settings, TrainingSpec
from rnnbench.testing import CELLS
from rnnbench.training import initialise

B, T, I, H, O = 32, 100, 64, 128, 10  # noqa: E741
LAYERS = {"lstm": "LSTM", "gru": "GRU", "elman": "SimpleRNN"}


def sequential(framework: str, cell: str, inputs: np.ndarray) -> Callable[[], Any]:
    """A forward pass as a Keras user has it, compiled as by ``predict``, without its loop over batches."""
    import keras  # type: ignore[import-untyped]

    model = keras.Sequential([keras.layers.Input((T, I)), getattr(keras.layers, LAYERS[cell])(H)])
    model.add(keras.layers.Dense(O))
    x = keras.ops.convert_to_tensor(inputs)
    if framework == "tensorflow":
        import tensorflow as tf  # type: ignore[import-untyped]

        function = tf.function(model, autograph=False)
        return lambda: function(x)
    if framework == "torch":
        import torch

        def eager() -> Any:
            with torch.no_grad():
                return model(x)

        return eager
    import jax

    values = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]
    jitted = jax.jit(lambda values, x: model.stateless_call(values, others, x)[0])
    return lambda: jitted(values, x).block_until_ready()


def native(session: Session, cell: str, inputs: np.ndarray) -> Callable[[], Any]:
    """The same through the plugin."""
    spec = NetworkSpec(cell, I, H, O, "last", "cross_entropy")
    network = session.build(
        spec, initialise(CELLS[cell], spec, "glorot", 1.0, seed=0), TrainingSpec(), "native"
    )
    data = network.put(Batch(inputs, np.zeros(B, np.int32)))

    def forward() -> Any:
        y, _ = network.forward(data)
        network.sync(y)

    return forward


def block_s(call: Callable[[], Any], loops: int) -> float:
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(loops):
        call()
    return (time.perf_counter() - start) / loops


def main() -> None:
    """Print one line for each cell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("framework", choices=[backend.framework for backend in BACKENDS])
    parser.add_argument("cells", nargs="*", default=["lstm"], help=", ".join(LAYERS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--loops", type=int, default=8)
    arguments = parser.parse_args()
    backend = next(backend for backend in BACKENDS if backend.framework == arguments.framework)
    session = backend.open(Settings(), CELLS)
    inputs = np.random.default_rng(0).standard_normal((B, T, I)).astype(np.float32)
    for cell in arguments.cells:
        sides = native(session, cell, inputs), sequential(arguments.framework, cell, inputs)
        for side in sides:
            block_s(side, 2)
        times = np.empty((arguments.rounds, 2))
        for number in range(arguments.rounds):
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                times[number, side] = block_s(sides[side], arguments.loops)
        low, middle, high = np.quantile(times[:, 0] / times[:, 1], (0.25, 0.5, 0.75))
        ours, theirs = np.median(times, axis=0) * 1e3
        sys.stdout.write(
            f"{backend.name} {cell:6} forward, native/Sequential {middle:.3f} [{low:.3f}, {high:.3f}]; "
            f"medians {ours:.2f} / {theirs:.2f} ms\n"
        )


if __name__ == "__main__":
    main()
