"""Native against the same Keras layer and a Dense called directly in a tf.function.

Each side is built several times, because identical graphs differ in one process (memory layout);
blocks alternate. Prints the ratio native ÷ direct (geometric mean over instances of the median over
rounds), its range over instances, and how far identical direct instances lie apart.
Run it on an idle machine, pinned to one core:

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
Pair = tuple[Callable[[], Any], Callable[[], Any]]
LAYERS = {"lstm": "LSTM", "gru": "GRU", "elman": "SimpleRNN"}


def direct(cell: str, batch: Batch) -> Pair:
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


def native(session: Session, cell: str, batch: Batch) -> Pair:
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
    parser.add_argument("--rounds", type=int, default=10, help="rounds of blocks")
    parser.add_argument("--instances", type=int, default=5, help="times that each side is built")
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
        sides = [(native(session, cell, batch), direct(cell, batch)) for _ in range(arguments.instances)]
        for phase, name in enumerate(("forward", "gradients")):
            pairs = [(ours[phase], theirs[phase]) for ours, theirs in sides]
            sys.stdout.write(compare(f"{cell:6} {name:10}", pairs, arguments.rounds, (8, 3)[phase]) + "\n")


def compare(
    label: str, pairs: list[tuple[Callable[[], Any], Callable[[], Any]]], rounds: int, loops: int
) -> str:
    """The line for one cell and phase; ``rounds`` blocks of each side of each pair."""
    for ours, theirs in pairs:
        ours(), theirs()
    times = np.empty((rounds, len(pairs), 2))
    for number in range(rounds):
        for index, pair in enumerate(pairs):
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                times[number, index, side] = block_s(pair[side], loops)
    # by instance: two graphs of the very same code differ by several per cent, however often they run
    medians = np.median(times, axis=0) * 1e3
    ratios = np.median(times[:, :, 0] / times[:, :, 1], axis=0)
    identical = medians[:, 1].max() / medians[:, 1].min()
    return (
        f"{label} native/direct {np.exp(np.log(ratios).mean()):.3f} "
        f"[{ratios.min():.3f}, {ratios.max():.3f}] over instances; "
        f"medians {medians[:, 0].mean():.2f} / {medians[:, 1].mean():.2f} ms; "
        f"direct against itself up to {identical:.3f}"
    )


if __name__ == "__main__":
    main()
