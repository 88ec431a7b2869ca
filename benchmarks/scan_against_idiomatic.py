"""``scan`` ÷ hand-written idiomatic code of the same framework, for minGRU and LRU: forward and gradients.

    python benchmarks/scan_against_idiomatic.py jax        # or torch, or tensorflow

By hand: in JAX ``jax.lax.associative_scan`` under jit, as the authors of LRU do it; in torch and TensorFlow
(which have no public associative scan) the same algorithm, odd and even steps in recursion, over tensor
operations; all of them differentiated by the framework. Both sides get the same parameters, compute the
same loss, and are timed in turns. Prints the median ratio of the rounds and its 10th and 90th percentile.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rnnbench.cells.lru import LRU
from rnnbench.cells.mingru import MinGRU
from rnnbench.contracts import Batch, Cell, NetworkSpec, Session, Settings, TrainingSpec
from rnnbench.plugins import discover
from rnnbench.training import initialise

Call = Callable[[], Any]
PREFIX = "layers.0.forward."


def combine(first: Any, second: Any) -> Any:
    """Apply s -> a s + b, then s -> c s + d."""
    (a, b), (c, d) = first, second
    return c * a, c * b + d


def jax_calls(cell: Cell, parameters: dict[str, np.ndarray], batch: Batch) -> dict[str, Call]:
    """See ``calls_of``."""
    import jax
    import jax.numpy as jnp

    values = {name.removeprefix(PREFIX): jnp.asarray(value, "float32") for name, value in parameters.items()}
    x = jnp.asarray(np.swapaxes(batch.inputs, 0, 1), "float32")
    targets = jnp.asarray(batch.targets, "float32")

    def states(a: Any, b: Any) -> Any:
        return jax.lax.associative_scan(combine, (a, b))[1]

    def mingru(p: Any, x: Any) -> Any:
        z = jax.nn.sigmoid(x @ p["W_x"][:, 0] + p["b"][0])
        return states(1 - z, z * (x @ p["W_x"][:, 1] + p["b"][1]))

    def lru(p: Any, x: Any) -> Any:
        eigenvalue = jnp.exp(-jnp.exp(p["nu_log"]) + 1j * jnp.exp(p["theta_log"]))
        B = (p["W_B"][..., 0] + 1j * p["W_B"][..., 1]) * jnp.exp(p["gamma_log"])
        h = states(jnp.repeat(eigenvalue[None, None], len(x), 0), x @ B)
        return (h @ (p["W_C"][..., 0] + 1j * p["W_C"][..., 1])).real + p["D"] * x

    layer = {"mingru": mingru, "lru": lru}[cell.name]

    def outputs(p: Any, x: Any) -> Any:
        return layer(p, x)[-1] @ p["head.W"] + p["head.b"]

    def loss(p: Any, x: Any, targets: Any) -> Any:
        return jnp.mean((outputs(p, x) - targets) ** 2)

    forward, gradients = jax.jit(outputs), jax.jit(jax.value_and_grad(loss))
    return {
        "forward": lambda: jax.block_until_ready(forward(values, x)),
        "gradients": lambda: jax.block_until_ready(gradients(values, x, targets)),
    }


def torch_calls(cell: Cell, parameters: dict[str, np.ndarray], batch: Batch) -> dict[str, Call]:
    """See ``calls_of``."""
    import torch

    values = {
        name.removeprefix(PREFIX): torch.tensor(value, dtype=torch.float32, requires_grad=True)
        for name, value in parameters.items()
    }
    x = torch.tensor(np.swapaxes(batch.inputs, 0, 1), dtype=torch.float32).contiguous()
    targets = torch.tensor(batch.targets, dtype=torch.float32)

    def interleave(even: Any, odd: Any) -> Any:
        pairs = torch.stack([even[: len(odd)], odd], 1).flatten(0, 1)
        return torch.cat([pairs, even[len(odd) :]])

    def scan(a: Any, b: Any) -> Any:
        if len(a) == 1:
            return a, b
        odd = scan(*combine((a[:-1:2], b[:-1:2]), (a[1::2], b[1::2])))
        rest = combine(tuple(value[: len(a[2::2])] for value in odd), (a[2::2], b[2::2]))
        even = (torch.cat([value[:1], other]) for value, other in zip((a, b), rest, strict=True))
        return tuple(interleave(*both) for both in zip(even, odd, strict=True))

    def mingru(p: Any, x: Any) -> Any:
        z = torch.sigmoid(x @ p["W_x"][:, 0] + p["b"][0])
        return scan(1 - z, z * (x @ p["W_x"][:, 1] + p["b"][1]))[1]

    def lru(p: Any, x: Any) -> Any:
        eigenvalue = torch.polar(torch.exp(-torch.exp(p["nu_log"])), torch.exp(p["theta_log"]))
        B = torch.view_as_complex(p["W_B"]) * torch.exp(p["gamma_log"])
        h = scan(eigenvalue.expand(len(x), 1, -1), x.to(B.dtype) @ B)[1]
        return (h @ torch.view_as_complex(p["W_C"])).real + p["D"] * x

    layer = {"mingru": mingru, "lru": lru}[cell.name]

    def outputs() -> Any:
        return layer(values, x)[-1] @ values["head.W"] + values["head.b"]

    def forward() -> Any:
        with torch.no_grad():
            return outputs()

    def gradients() -> Any:
        loss = torch.mean((outputs() - targets) ** 2)
        return loss.detach(), torch.autograd.grad(loss, list(values.values()))

    return {"forward": forward, "gradients": gradients}


def tensorflow_calls(cell: Cell, parameters: dict[str, np.ndarray], batch: Batch) -> dict[str, Call]:
    """See ``calls_of``."""
    import tensorflow as tf

    values = {name.removeprefix(PREFIX): tf.constant(value, tf.float32) for name, value in parameters.items()}
    x = tf.constant(np.swapaxes(batch.inputs, 0, 1), tf.float32)
    targets = tf.constant(batch.targets, tf.float32)

    def interleave(even: Any, odd: Any) -> Any:
        pairs = tf.stack([even[: odd.shape[0]], odd], 1)
        return tf.concat([tf.reshape(pairs, (-1, *odd.shape[1:])), even[odd.shape[0] :]], 0)

    def scan(a: Any, b: Any) -> Any:
        if a.shape[0] == 1:
            return a, b
        odd = scan(*combine((a[:-1:2], b[:-1:2]), (a[1::2], b[1::2])))
        rest = combine(tuple(value[: a[2::2].shape[0]] for value in odd), (a[2::2], b[2::2]))
        even = (tf.concat([value[:1], other], 0) for value, other in zip((a, b), rest, strict=True))
        return tuple(interleave(*both) for both in zip(even, odd, strict=True))

    def flat(x: Any, W: Any) -> Any:
        # a product with more than two axes would copy W for every step
        return tf.reshape(tf.reshape(x, (-1, x.shape[-1])) @ W, (*x.shape[:-1], W.shape[1]))

    def mingru(p: Any, x: Any) -> Any:
        z = tf.sigmoid(flat(x, p["W_x"][:, 0]) + p["b"][0])
        return scan(1 - z, z * (flat(x, p["W_x"][:, 1]) + p["b"][1]))[1]

    def lru(p: Any, x: Any) -> Any:
        radius, phase = tf.exp(-tf.exp(p["nu_log"])), tf.exp(p["theta_log"])
        eigenvalue = tf.complex(radius * tf.cos(phase), radius * tf.sin(phase))
        gain = tf.exp(p["gamma_log"])[:, None] * p["W_B"]
        B, C = tf.complex(gain[..., 0], gain[..., 1]), tf.complex(p["W_C"][..., 0], p["W_C"][..., 1])
        h = scan(tf.repeat(eigenvalue[None, None], x.shape[0], 0), flat(tf.cast(x, B.dtype), B))[1]
        return tf.math.real(flat(h, C)) + p["D"] * x

    layer = {"mingru": mingru, "lru": lru}[cell.name]

    def outputs(p: Any, x: Any) -> Any:
        return tf.linalg.matmul(layer(p, x)[-1], p["head.W"]) + p["head.b"]

    def differentiate(p: Any, x: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(p)
            loss = tf.reduce_mean((outputs(p, x) - targets) ** 2)
        return loss, tape.gradient(loss, p)

    forward = tf.function(outputs, autograph=False).get_concrete_function(values, x)
    gradients = tf.function(differentiate, autograph=False).get_concrete_function(values, x, targets)
    return {"forward": lambda: forward(values, x), "gradients": lambda: gradients(values, x, targets)}


CALLS = {"jax": jax_calls, "torch": torch_calls, "tensorflow": tensorflow_calls}
"""What a person writes: the outputs of the last step, and the loss with its gradients."""


def compare(session: Session, backend: str, cell: Cell, given: argparse.Namespace) -> None:
    """Prove the two equal, then time them in turns and print the ratios."""
    spec = NetworkSpec(cell.name, given.features, given.hidden, 10, "last", "mse")
    parameters = initialise(cell, spec, "uniform", 0.0, seed=0)
    rng = np.random.default_rng(0)
    batch = Batch(
        rng.standard_normal((given.batch, given.length, given.features)),
        rng.standard_normal((given.batch, 10)),
    )
    network = session.build(spec, parameters, TrainingSpec(), "scan")
    data = network.put(batch)
    ours: dict[str, Call] = {
        "forward": lambda: network.sync(network.forward(data)),
        "gradients": lambda: network.sync(network.gradients(data)),
    }
    theirs = CALLS[backend](cell, parameters, batch)
    outputs, (loss, _) = network.fetch(network.forward(data))[0], network.fetch(network.gradients(data))
    np.testing.assert_allclose(outputs, np.asarray(theirs["forward"]()), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(loss, np.asarray(theirs["gradients"]()[0]), rtol=1e-4)
    for phase, call in ours.items():
        times = np.array([take_turns(call, theirs[phase], number) for number in range(given.rounds)])
        low, middle, high = np.percentile(times[:, 0] / times[:, 1], (10, 50, 90))
        mine, hand = np.median(times, axis=0) * 1e3
        print(
            f"{backend:10s} {cell.name:6s} {phase:9s} scan ÷ by hand {middle:.2f} "
            f"(10–90 %: {low:.2f}–{high:.2f}); medians {mine:.1f} ÷ {hand:.1f} ms",
            flush=True,
        )


def take_turns(ours: Call, theirs: Call, number: int) -> tuple[float, float]:
    """Seconds of a call of each, the first of them by turns."""
    taken = {}
    for call in (ours, theirs) if number % 2 else (theirs, ours):
        start = time.perf_counter()
        call()
        taken[call] = time.perf_counter() - start
    return taken[ours], taken[theirs]


def main() -> None:
    """Both cells on one backend."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("backend", choices=CALLS)
    for name, default in (("batch", 16), ("length", 1024), ("features", 32), ("hidden", 64), ("rounds", 40)):
        options.add_argument(f"--{name}", type=int, default=default)
    given = options.parse_args()
    cells: dict[str, Cell] = {cell.name: cell for cell in (MinGRU(), LRU())}
    session = discover().backends[given.backend].open(Settings(), cells)
    print(f"{session.versions()} {session.environment()}")
    for cell in cells.values():
        compare(session, given.backend, cell, given)


if __name__ == "__main__":
    main()
