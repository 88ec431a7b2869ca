"""Native against the same Keras layer and a Dense called directly in a tf.function.

Pairs of blocks in alternating order; prints the median ratio native ÷ direct, its quartiles over
the pairs, and both fastest times. Run it on an idle machine, pinned to one core:

    taskset -c 0 python benchmarks/native_against_keras.py lstm gru elman
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rnnbench_tensorflow import TensorflowBackend

from rnnbench.cells import rnnbench_cells
from rnnbench.contracts import Batch, NetworkSpec, Session, Settings, TrainingSpec
from rnnbench.training import initialise

B, T, I, H, O = 32, 100, 64, 128, 10  # noqa: E741
LAYERS = {"lstm": "LSTM", "gru": "GRU", "elman": "SimpleRNN"}


def direct(cell: str, batch: Batch) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Forward and gradients as a Keras user would write them: defaults, batch-major, last output."""
    import keras  # type: ignore[import-untyped]
    import tensorflow as tf  # type: ignore[import-untyped]

    layer, head = getattr(keras.layers, LAYERS[cell])(H), keras.layers.Dense(O)
    x, targets = tf.constant(batch.inputs), tf.constant(batch.targets)
    mask = None if batch.lengths is None else tf.sequence_mask(batch.lengths, T)
    head(layer(x))
    variables = [v.value for v in (*layer.trainable_variables, *head.trainable_variables)]

    def forward(x: Any) -> Any:
        return head(layer(x, mask=mask))

    def gradients(x: Any) -> Any:
        with tf.GradientTape() as tape:
            errors = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, forward(x))
            loss = tf.reduce_mean(errors)
        return loss, tape.gradient(loss, variables)

    forward_function, gradients_function = tf.function(forward), tf.function(gradients)
    return lambda: forward_function(x), lambda: gradients_function(x)


def native(session: Session, cell: str, batch: Batch) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The same two through the plugin."""
    spec = NetworkSpec(cell, I, H, O, "last", "cross_entropy", lengths=batch.lengths is not None)
    cells = {cell.name: cell for cell in rnnbench_cells()}
    parameters = initialise(cells[cell], spec, "glorot", 1.0, seed=0)
    network = session.build(spec, parameters, TrainingSpec(), "native")
    data = network.put(batch)
    return lambda: network.forward(data), lambda: network.gradients(data)


def block_s(call: Callable[[], Any], loops: int) -> float:
    """Seconds per call; TensorFlow's CPU calls have finished when they return."""
    call()
    start = time.perf_counter()
    for _ in range(loops):
        call()
    return (time.perf_counter() - start) / loops


def main() -> None:
    """Print one line for each cell and phase."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", nargs="*", default=["lstm"], help=", ".join(LAYERS))
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--lengths", action="store_true", help="masked: half of the sequences end early")
    arguments = parser.parse_args()
    cells = {cell.name: cell for cell in rnnbench_cells()}
    session = TensorflowBackend().open(Settings(threads=arguments.threads), cells)
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((B, T, I)).astype(np.float32)
    targets = rng.integers(0, O, B).astype(np.int32)
    lengths = np.minimum(rng.integers(T // 2, 3 * T // 2, B), T).astype(np.int32)
    batch = Batch(inputs, targets, lengths if arguments.lengths else None)
    for cell in arguments.cells:
        pairs = zip(native(session, cell, batch), direct(cell, batch), strict=True)
        for phase, (ours, theirs) in zip(("forward", "gradients"), pairs, strict=True):
            ours(), theirs()
            loops = 8 if phase == "forward" else 3
            times = []
            for number in range(arguments.pairs):
                if number % 2:
                    second, first = block_s(theirs, loops), block_s(ours, loops)
                else:
                    first, second = block_s(ours, loops), block_s(theirs, loops)
                times.append((first, second))
            first, second = np.array(times).T
            low, middle, high = np.quantile(first / second, (0.25, 0.5, 0.75))
            sys.stdout.write(
                f"{cell:6} {phase:10} native/direct {middle:.3f} [{low:.3f}, {high:.3f}]   "
                f"min {first.min() * 1e3:.2f} / {second.min() * 1e3:.2f} ms, "
                f"ratio of minima {first.min() / second.min():.3f}\n"
            )


if __name__ == "__main__":
    main()
