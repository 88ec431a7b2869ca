"""JAX native ÷ flax nnx.RNN(OptimizedLSTMCell), both jitted: forward and gradient, paired in alternation.

Needs flax. Run pinned to the cores that matter: ``taskset -c 0 python native_against_flax.py``.
Prints, for each phase, the median ratio of the rounds and its 10th and 90th percentile, and the ratio
of the two minima.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rnnbench_jax import JaxBackend

from rnnbench.cells.lstm import LSTM
from rnnbench.contracts import Batch, NetworkSpec, Settings, TrainingSpec
from rnnbench.training import initialise

Call = Callable[[], Any]


def flax_calls(spec: NetworkSpec, parameters: dict[str, np.ndarray], data: Any) -> dict[str, Call]:
    """The same network in flax: same parameters, time-major, mean squared error of the last output."""
    rnn = nnx.RNN(
        nnx.OptimizedLSTMCell(spec.input_size, spec.hidden, rngs=nnx.Rngs(0)),
        time_major=True,
        rngs=nnx.Rngs(0),
    )
    structure, weights, rest = nnx.split(rnn, nnx.Param, ...)
    ours = {name: jnp.asarray(value, jnp.float32) for name, value in parameters.items()}
    gates = 4 * spec.hidden
    layer = {name: ours[f"layers.0.forward.{name}"] for name in ("W_x", "W_h", "b")}
    weights["cell"]["dense_i"]["kernel"].set_value(layer["W_x"].reshape(spec.input_size, gates))
    weights["cell"]["dense_h"]["kernel"].set_value(layer["W_h"].reshape(spec.hidden, gates))
    weights["cell"]["dense_h"]["bias"].set_value(layer["b"].reshape(gates))
    zeros = jnp.zeros((data.inputs.shape[1], spec.hidden), jnp.float32)
    head = {"W": ours["head.W"], "b": ours["head.b"]}

    def outputs(weights: Any, head: Any, inputs: Any) -> Any:
        y = nnx.merge(structure, weights, rest)(inputs, initial_carry=(zeros, zeros))
        return y[-1] @ head["W"] + head["b"]

    def loss(both: Any, inputs: Any, targets: Any) -> Any:
        return jnp.mean((outputs(*both, inputs) - targets) ** 2)

    forward, gradients = jax.jit(outputs), jax.jit(jax.value_and_grad(loss))
    return {
        "forward": lambda: forward(weights, head, data.inputs),
        "gradients": lambda: gradients((weights, head), data.inputs, data.targets),
    }


def seconds(call: Call, loops: int) -> float:
    """Time per call of a block of ``loops`` calls with one barrier."""
    start = time.perf_counter()
    for _ in range(loops):
        value = call()
    jax.block_until_ready(value)
    return (time.perf_counter() - start) / loops


def compare(native: Call, flax: Call, rounds: int, loops: int) -> np.ndarray:
    """Seconds per call, (rounds,2): native and flax in alternating order."""
    for call in (native, flax):
        seconds(call, loops)
    times = np.empty((rounds, 2))
    for index in range(rounds):
        order = (0, 1) if index % 2 else (1, 0)
        for which in order:
            times[index, which] = seconds((native, flax)[which], loops)
    return times


def main() -> None:
    """Prove the two equal, then time them."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("batch", 32), ("length", 100), ("features", 64), ("hidden", 128)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--rounds", type=int, default=40)
    options.add_argument("--loops", type=int, default=3)
    given = options.parse_args()

    cell = LSTM()
    spec = NetworkSpec("lstm", given.features, given.hidden, 10, "last", "mse")
    parameters = initialise(cell, spec, "uniform", 0.0, seed=0)
    session = JaxBackend().open(Settings(), {"lstm": cell})
    network = session.build(spec, parameters, TrainingSpec(), "native")
    rng = np.random.default_rng(0)
    data = network.put(
        Batch(
            rng.standard_normal((given.batch, given.length, given.features)),
            rng.standard_normal((given.batch, 10)),
        )
    )
    flax = flax_calls(spec, parameters, data[0])
    native = {"forward": lambda: network.forward(data), "gradients": lambda: network.gradients(data)}
    np.testing.assert_allclose(native["forward"]()[0], flax["forward"](), atol=2e-6)
    np.testing.assert_allclose(native["gradients"]()[0], flax["gradients"]()[0], rtol=1e-5)

    print(f"{session.versions()} {session.environment()}")
    for phase in native:
        times = compare(native[phase], flax[phase], given.rounds, given.loops)
        low, middle, high = np.percentile(times[:, 0] / times[:, 1], (10, 50, 90))
        ours, theirs = times.min(axis=0) * 1e3
        print(
            f"{phase:9s} native ÷ flax {middle:.2f} (10–90 %: {low:.2f}–{high:.2f}); "
            f"minima {ours:.1f} ÷ {theirs:.1f} ms = {ours / theirs:.2f}"
        )


if __name__ == "__main__":
    main()
