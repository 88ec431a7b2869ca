"""Plausible results without any measuring: every status, every finding, every kind of name."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from itertools import product

from rnnbench.records import (
    STATUSES,
    TIMED,
    Block,
    Case,
    Curve,
    Finding,
    Parity,
    Record,
    Run,
    Score,
    Status,
    Train,
)
from rnnbench.results.reading import RunResults

HOSTILE = (
    "<script>alert('1')</script>",
    "\"quotes' & ampersand",
    "right\u202eto left\u200f",
    "long-" + "name-" * 40,
    "emoji 🦆 and é",
    "two\nlines\tand a bell\a",
    "[bold red]markup[/bold red]",
    "$x^2$ \\alpha {{ 7 * 7 }}",
)
HOSTILE_LABELS = ("<b>\"'&$x^2$</b>", "\u202eé🦆\n\t\a$", "{{7*7}}\\alpha$", "long-" + "name-" * 40)
"""The same, short enough to stand whole in a figure, where a label is cut after 22 characters."""
FINDINGS = (
    "drift", "noisy", "no_interval", "recompiled", "path_differs", "not_pinned", "over_budget",
    "below_baseline", "curve_differs", "not_imported",
)  # fmt: skip
SPEED = {"torch": 0.02e-3, "jax": 0.026e-3, "tensorflow": 0.034e-3, "numpy": 0.055e-3}
"""Seconds of one time step of a training step."""
CELL_COST = {"elman": 0.5, "gru": 0.9, "lstm": 1.0}
REACH = {"elman": 30, "gru": 150, "lstm": 90}
"""The length up to which a cell learns, in these stories."""
REASONS: dict[Status, str] = {
    "ok": "",
    "skipped": 'package "jax" is not installed. Install it with: pip install rnnbench-jax',
    "unsupported": "leaky_relu is not an activation of torch.nn.RNN (tanh, relu)",
    "mismatch": "gradient of layers.0.forward.W_h differs by 37 × the tolerance",
    "diverged": "loss is NaN at step 212 of seed 1",
    "failed": "ValueError: shapes (32,64) and (128,) not aligned",
    "crashed": "the worker ended with signal 11 (SIGSEGV)",
    "timeout": "not done after 120 s",
    "out_of_memory": "the worker was killed at 7.9 GiB",
}


def run(name: str = "2026-03-01-long_deps", **changes: object) -> Run:
    fields: dict[str, object] = {
        "name": name,
        "suite": "long_deps",
        "about": "Who still learns as the dependency grows longer, and what does each step cost?",
        "command": ("rnnbench", "run", "suites/long_deps.yaml", "--set", "defaults.hidden=64"),
        "started": "2026-03-01T09:00:00+00:00",
        "finished": "2026-03-01T09:24:31+00:00",
        "rnnbench": "0.1.0",
        "rounds": 20,
        "processes": 3,
        "budget_s": 1800.0,
        "machine": {
            "cpu": "Example CPU @ 2.5 GHz",
            "cores": 2,
            "memory_bytes": 8 << 30,
            "os": "Linux 6.1",
            "python": "3.11.7",
            "load": 0.4,
        },
        "environments": {
            "torch": {
                "versions": {"torch": "2.13.0", "rnnbench-torch": "0.1.0"},
                "settings": {"threads": "1", "mkldnn": "on"},
                "devices": ["cpu"],
            },
            "numpy": {"versions": {"numpy": "2.4.6"}, "settings": {"blas": "OpenBLAS"}, "devices": ["cpu"]},
        },
        "findings": (Finding("noisy", "load rose from 0.4 to 1.9 during the run"),),
    }
    return Run(**(fields | changes))  # type: ignore[arg-type]


def case(**changes: object) -> Case:
    fields: dict[str, object] = {
        "task": "copy",
        "length": 20,
        "cell": "lstm",
        "backend": "torch",
        "implementation": "native",
        "train": Train(steps=1500, evaluate_every=250),
    }
    return Case(**(fields | changes))  # type: ignore[arg-type]


def blocks(
    case: Case,
    per_step_s: float,
    *,
    processes: int = 3,
    rounds: int = 8,
    spread: float = 0.01,
    seed: int = 0,
    drift: float = 0.0,
) -> Iterator[Block]:
    """Log-normal times about ``per_step_s`` × length for a training step, a third of it for forward."""
    draw = random.Random(f"{seed}{case.key}")
    for phase in TIMED:
        if phase not in case.measure:
            continue
        share = {"forward": 0.33, "gradients": 0.9, "train_step": 1.0}[phase]
        for process in range(processes):
            offset = draw.gauss(0, spread / 2)
            for number in range(rounds):
                noise = offset + draw.gauss(0, spread) + drift * number / rounds
                seconds = share * (per_step_s * case.length + 2e-4) * math.exp(noise)
                loops = max(1, round(0.02 / seconds))
                yield Block(case.key, phase, process, number, draw.randrange(4), loops, seconds * loops)


def score(case: Case, *, trained_on: str = "", seeds: int = 3) -> Score:
    """A recall that rises towards 1 within the cell's reach and stays at chance beyond it."""
    draw = random.Random(f"score{case.network}")
    limit = 0.13 + 0.85 / (1 + (case.length / REACH.get(case.cell, 60)) ** 4)
    steps = tuple(range(case.train.evaluate_every, case.train.steps + 1, case.train.evaluate_every))
    curves = []
    for seed in range(seeds):
        scale = draw.uniform(0.25, 0.5) * case.train.steps
        top = limit * draw.uniform(0.94, 1.0)
        scores = tuple(0.12 + (top - 0.12) * (1 - math.exp(-step / scale)) for step in steps)
        curves.append(Curve(seed, steps, scores, tuple(2.1 * (1.05 - value) for value in scores), "steps"))
    return Score(
        "recall", True, trained_on or case.key, tuple(curves), 0.125, "chance", 0.31, "last symbol", 0.0
    )  # fmt: skip


def record(case: Case, status: Status = "ok", **changes: object) -> Record:
    fields: dict[str, object] = {
        "reason": REASONS[status],
        "path": {"torch": "oneDNN LSTM", "jax": "lax.scan", "numpy": "NumPy BPTT"}.get(case.backend, "loop"),
        "parameters": 20_000,
        "phases": {"import_s": 1.4, "build_s": 0.02, "first_forward_s": 0.3, "first_train_step_s": 0.9},
        "memory": {"parameters_bytes": 80_000, "host_peak_bytes": 512 << 20},
        "compilations": 2,
        "parity": Parity("float32", {"y": 0.12, "gradient layers.0.forward.W_h": 0.31}),
    }
    if status == "ok" and "score" in case.measure:
        fields["score"] = score(case)
    if status in ("skipped", "unsupported", "crashed"):
        fields |= {
            "parity": None,
            "path": "",
            "phases": {},
            "memory": {},
            "parameters": None,
            "compilations": None,
        }
    if status == "mismatch":
        fields["parity"] = Parity("float32", {"y": 0.4, "gradient layers.0.forward.W_h": 37.2})
    return Record(case, status, **(fields | changes))  # type: ignore[arg-type]


def results(
    *,
    tasks: Sequence[str] = ("copy", "adding"),
    lengths: Sequence[int] = (20, 50, 100, 200),
    cells: Sequence[str] = ("elman", "gru", "lstm"),
    backends: Sequence[str] = ("torch", "jax", "tensorflow", "numpy"),
    processes: int = 3,
    troubled: bool = True,
) -> RunResults:
    """A whole run; ``troubled``: with every status and some findings in it."""
    records: list[Record] = []
    times: list[Block] = []
    statuses = iter(
        ("mismatch", "timeout", "unsupported", "diverged", "failed", "crashed", "skipped", "out_of_memory")
    )
    plan = product(tasks, cells, lengths, backends)
    for number, (task, cell, length, backend) in enumerate(plan):
        each = case(task=task, cell=cell, length=length, backend=backend)
        status: Status = next(statuses, "ok") if troubled and number % 9 == 7 else "ok"  # type: ignore[assignment]
        found = (Finding("drift", "calls grew 6 % slower over the rounds"),) if number % 13 == 4 else ()
        records.append(record(each, status, findings=found if status == "ok" else ()))
        if status == "ok":
            cost = SPEED.get(backend, 0.05e-3) * CELL_COST.get(cell, 1.0)
            # at the shortest length two backends are as good as equal
            cost = 0.0205e-3 * CELL_COST.get(cell, 1.0) if backend == "jax" and length == lengths[0] else cost
            times += blocks(each, cost, processes=processes, spread=0.004, seed=number)
    return RunResults(run(processes=processes), tuple(records), tuple(times))


def timed(per_step_s: dict[str, float], *, processes: int = 3, **changes: object) -> RunResults:
    """One group: a time per step for each backend, all ``ok``."""
    cases = [case(backend=backend, **changes) for backend in per_step_s]
    times = [
        block
        for each in cases
        for block in blocks(each, per_step_s[each.backend], processes=processes, spread=0.002)
    ]
    return RunResults(run(), tuple(map(record, cases)), tuple(times))


def everything() -> RunResults:
    """A record of every status, and one with every finding."""
    cases = [case(length=20 + number) for number in range(len(STATUSES) + 1)]
    records = [record(each, status) for each, status in zip(cases, STATUSES, strict=False)]
    found = tuple(Finding(word, f"why it is {word}") for word in FINDINGS)
    records.append(record(cases[-1], findings=found))
    times = [block for each in (cases[0], cases[-1]) for block in blocks(each, 1e-5)]
    return RunResults(run(), tuple(records), tuple(times))


def hostile(names: Sequence[str] = HOSTILE) -> RunResults:
    """Every hostile name in every place that a suite or a plugin can fill."""
    records, times = [], []
    for number, name in enumerate(names):
        each = case(task=name, cell=name, backend=name, implementation=name, init=name)
        other = case(task=name, cell=name, backend="torch", init=name)
        found = (Finding("noisy", name),)
        records.append(record(each, findings=found, path=name, score=_hostile_score(each, name)))
        records.append(record(other, "failed", reason=name))
        times += blocks(each, 1e-5, seed=number)
    each_name = {name: {name: name} for name in HOSTILE}
    names = {
        name: {"versions": each_name[name], "settings": each_name[name], "devices": [name]}
        for name in HOSTILE
    }
    return RunResults(
        run(
            name=HOSTILE[0],
            suite=HOSTILE[2],
            about=HOSTILE[5],
            command=HOSTILE,
            machine=dict.fromkeys(HOSTILE, HOSTILE[0]),
            environments=names,
            findings=tuple(Finding("noisy", name) for name in HOSTILE),
        ),
        tuple(records),
        tuple(times),
        HOSTILE,
    )


def _hostile_score(case: Case, name: str) -> Score:
    curve = Curve(0, (1, 2), (0.5, 0.6), (1.0, 0.9), "steps")
    return Score(name, True, case.key, (curve,), 0.1, name, 0.2, name, 0.0)
