"""Asks one backend everything, in a process of its own, and prints the answers as JSON: Keras runs on one
framework in each process, and other tests have one of their own.

    python keras_answers.py jax
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from rnnbench_keras import BACKENDS, KerasBackend

from rnnbench.contracts import NetworkSpec, Parameters, Session, Settings, TrainingSpec
from rnnbench.errors import Unavailable, Unsupported
from rnnbench.reference import probe_batch, probe_parameters
from rnnbench.testing import CELLS, optimizer_parity_of, parity_of, step_parity_of

SIMPLE = NetworkSpec("lstm", 3, 5, 4, "last", "cross_entropy")
HARD = replace(SIMPLE, readout="each", loss="mse", layers=2, bidirectional="concat", lengths=True)
TOKENS = replace(SIMPLE, cell="gru", vocab=9, lengths=True)
COMPOSED = replace(HARD, readout="last", loss="cross_entropy", residual=True, dropout=0.3)


def main() -> None:
    """Print one object: question -> answer."""
    backend = next(backend for backend in BACKENDS if backend.framework == sys.argv[1])
    session = backend.open(Settings(optimize=False), CELLS)
    answers = {
        "parity": parities(session),
        "optimizer": optimizer_parity_of(session, CELLS["gru"], TOKENS, "native", "float32").worst,
        "network": network(session),
        "paths": paths(session),
        "fused": fused(session, backend.framework),
        "refused": refused(backend, session),
        "versions": session.versions(),
        "environment": session.environment(),
        "devices": session.devices(),
    }
    session.product(8)()
    if backend.framework == "tensorflow":
        sharper = backend.open(Settings(dtype="float64", optimize=False), CELLS)
        answers["parity64"] = {
            cell: parity_of(sharper, CELLS[cell], cell_of(HARD, cell), "native", "float64").worst
            for cell in ("lstm", "gru")
        }
    if backend.framework == "torch":
        for norm in ("layer", "batch"):
            spec = replace(COMPOSED, cell="gru", norm=norm)
            answers[f"{norm} norm"] = parity_of(session, CELLS["gru"], spec, "native", "float32").worst
        answers["mistakes"] = mistakes(session)
    print(json.dumps(answers))  # noqa: T201 - the answers


def cell_of(spec: NetworkSpec, cell: str) -> NetworkSpec:
    return replace(spec, cell=cell)


def parities(session: Session) -> dict[str, dict[str, float]]:
    """Error / tolerance by quantity."""

    def asked(spec: NetworkSpec) -> dict[str, float]:
        return dict(parity_of(session, CELLS[spec.cell], spec, "native", "float32").worst)

    def stepped(spec: NetworkSpec) -> dict[str, float]:
        return dict(step_parity_of(session, CELLS[spec.cell], spec, "native", "float32").worst)

    return {
        "lstm": asked(HARD),
        "gru": asked(cell_of(HARD, "gru")),
        "elman_leaky_relu": asked(cell_of(SIMPLE, "elman_leaky_relu")),
        "gru_reset_before": asked(cell_of(SIMPLE, "gru_reset_before")),
        "lstm step": stepped(replace(SIMPLE, layers=2, lengths=True)),
        "gru step": stepped(TOKENS),
    }


def built(session: Session, spec: NetworkSpec, parameters: Parameters | None = None) -> Any:
    given = parameters or probe_parameters(CELLS[spec.cell], spec)
    return session.build(spec, given, TrainingSpec(lr=0.1), "native")


def network(session: Session) -> dict[str, Any]:
    """What is not about numbers: states, compilations, and who owns the memory."""
    one = built(session, SIMPLE)
    batch = probe_batch(CELLS["lstm"], SIMPLE, 6, 3)
    assert batch.state is not None
    zeros = {name: np.zeros_like(value) for name, value in batch.state.items()}
    none, zero, other = (
        one.fetch(one.forward(one.put(replace(batch, state=state))))[0]
        for state in (None, zeros, batch.state)
    )
    counts, times = [one.compilations()], [dict(one.compile_times())]
    for length, size in ((6, 3), (4, 2)):
        y, _ = one.forward(one.put(probe_batch(CELLS["lstm"], SIMPLE, length, size)))
        one.sync(y)
        counts.append(one.compilations())
        times.append(dict(one.compile_times()))
    inputs = batch.inputs.copy()
    data = one.put(replace(batch, inputs=inputs))
    inputs[:] = 7
    before = one.parameters()
    kept = {name: value.copy() for name, value in before.items()}
    one.train_step(data)
    return {
        "zero state": bool(np.array_equal(none, zero)) and bool(np.abs(none - other).max() > 1e-2),
        "counts": counts,
        "times": times,
        "owned": all(np.array_equal(kept[name], value) for name, value in before.items())
        and not np.array_equal(before["head.W"], one.parameters()["head.W"]),
        "memory": one.memory(),
    }


def paths(session: Session) -> dict[str, str]:
    """By cell, with and without lengths."""
    found = {"step": built(session, SIMPLE).step_path}
    for cell in ("lstm", "gru", "gru_reset_before", "elman_relu"):
        for lengths in (False, True):
            one = built(session, replace(SIMPLE, cell=cell, lengths=lengths))
            found[f"{cell}{' lengths' if lengths else ''}"] = one.path
            assert one.compilations() == 0
    return found


def fused(session: Session, framework: str) -> str:
    """The path where Keras believes that there is a GPU: graphs can be traced for one that is not there."""
    from collections import Counter

    if framework == "torch":
        from rnnbench_keras.on_torch import name_path

        return name_path(Counter({"aten::_cudnn_rnn": 1}), Counter({"aten::_cudnn_rnn": 1}), layers=1)
    import importlib

    module: Any = importlib.import_module(f"keras.src.backend.{framework}.rnn")
    if framework == "jax":
        from jaxlib import gpu_rnn

        # only a jaxlib for GPUs can tell how much scratch cuDNN wants
        gpu_rnn.compute_rnn_workspace_reserve_space_sizes = lambda *sizes: (1, 1)
    there, module._is_gpu_available = module._is_gpu_available, lambda: True
    try:
        return str(built(session, SIMPLE).path)
    finally:
        module._is_gpu_available = there


def refused(backend: KerasBackend, session: Session) -> dict[str, str]:
    """What each mistake is answered with."""
    other = next(other for other in BACKENDS if other is not backend)
    parameters = probe_parameters(CELLS["lstm"], SIMPLE)
    training = TrainingSpec()
    asked: dict[str, Callable[[], object]] = {
        "cell": lambda: session.build(cell_of(SIMPLE, "elman_prelu"), {}, training, "native"),
        "implementation": lambda: session.build(SIMPLE, parameters, training, "portable"),
        "window": lambda: session.build(replace(SIMPLE, window=3), parameters, training, "native"),
        "device": lambda: backend.open(Settings(device="tpu:3"), CELLS),
        "framework": lambda: other.open(Settings(), CELLS),
        "float64": lambda: replace(session, settings=Settings(dtype="float64")).build(  # type: ignore[type-var]
            SIMPLE, parameters, training, "native"
        ),
    }
    answers = {}
    for name, ask in asked.items():
        try:
            ask()
            answers[name] = ""
        except (Unavailable, Unsupported) as error:
            answers[name] = f"{type(error).__name__}: {error}"
    return answers


def mistakes(session: Session) -> dict[str, float]:
    """The worst error / tolerance of each planted mistake, and of none."""
    from rnnbench_keras import layers
    from rnnbench_keras import session as opened

    form, weights = opened.keras_form, layers.keras_weights
    run = layers.KerasStack._run
    lengths, both = replace(SIMPLE, lengths=True), replace(SIMPLE, bidirectional="sum")

    def with_form(**changes: Any) -> Callable[[Any], Any]:
        return lambda cell: replace(form(cell), **changes)

    planted: dict[str, tuple[NetworkSpec, Any, str, Any]] = {
        "none": (SIMPLE, opened, "keras_form", form),
        "permuted gates": (SIMPLE, opened, "keras_form", with_form(gates=("i", "f", "o", "g"))),
        "swapped h and c": (SIMPLE, opened, "keras_form", with_form(states=("c", "h"))),
        "dropped bias": (
            cell_of(SIMPLE, "gru"), layers, "keras_weights",
            lambda *given: [*weights(*given)[:2], 0 * weights(*given)[2]],
        ),
        "reset before for after": (
            cell_of(SIMPLE, "gru"), opened, "keras_form", with_form(reset_after=False)
        ),
        "padding that reaches the state": (
            lengths, layers.KerasStack, "_run",
            lambda self, layer, p, x, mask, state: run(self, layer, p, x, None, state),
        ),
        "a backward direction that runs forward": (
            both, type(session.framework), "turn", lambda self, x, lengths: x,  # type: ignore[attr-defined]
        ),
    }  # fmt: skip
    errors = {}
    for name, (spec, place, attribute, wrong) in planted.items():
        right = getattr(place, attribute)
        setattr(place, attribute, wrong)
        try:
            worst = parity_of(session, CELLS[spec.cell], spec, "native", "float32").worst
            errors[name] = max(worst.values())
        except RuntimeError:  # torch refuses the shapes
            errors[name] = float("inf")
        finally:
            setattr(place, attribute, right)
    return errors


if __name__ == "__main__":
    main()
