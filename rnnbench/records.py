"""Case, Record, Block: what is measured, what came of it, and the raw samples.

Plain frozen values; statistics are computed from them when they are read (``stats.py``),
never stored. Validation happens at the doors: ``suite`` on the way in, ``results`` on the way
back from a file.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec

from rnnbench.choices import Attention, DropoutKind, Dtype, Merge, Norm, Optimizer
from rnnbench.contracts import TrainingSpec
from rnnbench.thresholds import Thresholds

FORMAT = 2
"""Version of the files in results/<run>/; a newer one is refused, never guessed at."""

PRESENT = "present"
"""The environment that rnnbench itself runs in: its interpreter, its packages, the working tree."""

PROTOCOL = 1
"""Version of the way of measuring; times of two protocols are never compared."""

Status = Literal[
    "ok", "skipped", "unsupported", "mismatch", "diverged", "failed", "crashed", "timeout", "out_of_memory"
]
STATUSES: tuple[Status, ...] = (
    "ok", "skipped", "unsupported", "mismatch", "diverged", "failed", "crashed", "timeout", "out_of_memory",
)  # fmt: skip

Measure = Literal["forward", "gradients", "train_step", "stream", "memory", "score", "gradient_flow"]
MEASURES: tuple[Measure, ...] = (
    "forward", "gradients", "train_step", "stream", "memory", "score", "gradient_flow"
)  # fmt: skip
TIMED: tuple[Measure, ...] = ("stream", "forward", "gradients", "train_step")
"""Timed in rounds, from the least work to the most: of several the last one stands for the case."""


Seconds = Annotated[float, msgspec.Meta(gt=0)]
"""What a clock can have given; checked when it is read from a file."""


@dataclass(frozen=True, slots=True)
class Train:
    """How a network is trained for its score. ``target``: stop once the metric has reached it.

    ``optimizer`` ridge: only the readout is, by ridge regression with ``ridge_alpha`` on ``steps`` batches.
    ``window``: time steps over which gradients flow back, see ``NetworkSpec``; None: all.
    """

    optimizer: Optimizer | Literal["ridge"] = "adam"
    lr: float = 0.003
    clip: float | None = 1.0
    steps: int = 500
    seeds: int = 3
    evaluate_every: int = 100
    target: float | None = None
    window: int | None = None
    l2: float = 0.0
    ridge_alpha: float = 1.0

    @property
    def spec(self) -> TrainingSpec:
        """What a network is built with. With ridge, which is no update, its training step is plain SGD."""
        if self.optimizer == "ridge":
            return TrainingSpec(optimizer="sgd", lr=self.lr, clip=self.clip)
        return TrainingSpec(optimizer=self.optimizer, lr=self.lr, clip=self.clip, l2=self.l2)


@dataclass(frozen=True)
class Case:
    """One fully determined measurement. Nothing in it is chosen later, nothing is implied.

    ``env`` names the environment whose worker computes it: another interpreter, another revision. Without
    slots, for ``key`` is kept: whoever reads ten thousand records asks for each several times.
    """

    task: str
    length: int
    cell: str
    backend: str
    implementation: str
    hidden: int = 64
    layers: int = 1
    bidirectional: Merge = "none"
    residual: bool = False
    norm: Norm = "none"
    dropout: float = 0.0
    dropout_kind: DropoutKind = "between"
    embedding: int = 32
    batch: int = 32
    init: str = "glorot"
    gain: float = 1.0
    forget_bias: float = 1.0
    device: str = "cpu"
    dtype: Dtype = "float32"
    threads: int = 1
    projection: int | None = None
    attention: Attention = "none"
    input_feeding: bool = False
    env: str = PRESENT
    train: Train = field(default_factory=Train)
    measure: tuple[Measure, ...] = ("forward", "train_step", "memory", "score")

    @property
    def network(self) -> tuple[Any, ...]:
        """What is learned, whoever computes it: cases that share this learn the same curve."""
        return (
            self.task, self.length, self.cell, self.hidden, self.layers, self.bidirectional,
            self.embedding, self.batch, self.init, self.gain, self.forget_bias, self.dtype,
            self.projection, self.residual, self.norm, self.dropout, self.dropout_kind,
            self.attention, self.input_feeding, self.train,
        )  # fmt: skip

    @property
    def clip(self) -> float | None:
        """Of its training: an axis of suites."""
        return self.train.clip

    @property
    def l2(self) -> float:
        """Of its training: an axis of suites."""
        return self.train.l2

    @property
    def window(self) -> int | None:
        """Of its training: an axis of suites."""
        return self.train.window

    @property
    def group(self) -> tuple[Any, ...]:
        """Cases that share this compute the same function on equal terms and are timed in turns."""
        return (*self.network, self.threads, self.measure)

    @cached_property
    def key(self) -> str:
        """Identifies the case in every file: readable axes, then a digest of all fields."""
        later = zip(_LATER, _OF_LATER(self), strict=True)
        told = [(_FIRST_NAMES.get(name, name), it) for name, it in later if it != _LATER[name]]
        digested = (_OF_CASE(self), _OF_TRAIN(self.train), *told)
        digest = hashlib.sha256(repr(digested).encode()).hexdigest()[:8]
        env = "" if self.env == PRESENT else f"{self.env}-"
        return (
            f"{self.task}-T{self.length}-{self.cell}-H{self.hidden}-"
            f"{self.backend}-{self.implementation}-{self.device}-{env}{digest}"
        )


_LATER: Mapping[str, Any] = {
    "projection": None, "gain": 1.0, "window": None, "residual": False, "norm": "none", "dropout": 0.0,
    "dropout_kind": "between", "l2": 0.0, "ridge_alpha": 1.0, "attention": "none",
    "input_feeding": False,
}  # fmt: skip
"""Fields that older files do not have, and what that means: left out of the digest, so that keys hold."""
_FIRST_NAMES: Mapping[str, str] = {"ridge_alpha": "penalty"}
"""What is digested instead of a field's name: blocks of older files have keys from before it was renamed."""
_FIELDS = frozenset(item.name for item in fields(Case))
_OF_CASE = attrgetter(*(item.name for item in fields(Case) if item.name not in ("train", *_LATER)))
_OF_LATER = attrgetter(*(name if name in _FIELDS else f"train.{name}" for name in _LATER))
_OF_TRAIN = attrgetter(*(item.name for item in fields(Train) if item.name not in _LATER))
"""All fields in one go: results have ten thousand records."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A doubt about an ``ok`` record: a word from a fixed list, and the sentence that explains it.

    Words: drift, noisy, no_interval, recompiled, path_differs, not_pinned, over_budget, below_baseline,
    curve_differs; of a run of ``ci``, not_imported.
    """

    word: str
    text: str


@dataclass(frozen=True, slots=True)
class Parity:
    """The gate's outcome. ``worst`` is quantity -> error / tolerance (1 is the bound)."""

    dtype: str
    worst: Mapping[str, float]

    @property
    def passed(self) -> bool:
        """Every error within its tolerance."""
        return all(ratio <= 1.0 for ratio in self.worst.values())


@dataclass(frozen=True, slots=True)
class Curve:
    """One seed's training: loss of every step, and the metric at each evaluation.

    ``steps``/``scores`` are parallel: the score after so many updates. ``loss`` is averaged
    over the steps since the previous evaluation. ``stopped``: "steps" (all were done), "target" or
    "budget".
    """

    seed: int
    steps: tuple[int, ...]
    scores: tuple[float, ...]
    loss: tuple[float, ...]
    stopped: str


@dataclass(frozen=True, slots=True)
class Score:
    """What the network learned. ``trained_on``: the case key of the backend that was trained.

    ``follows``: largest relative difference of this backend's loss from the trained one's over the
    first steps (0.0 for the trained one itself); None where it was not checked.
    """

    metric: str
    higher_is_better: bool
    trained_on: str
    curves: tuple[Curve, ...]
    trivial: float | None = None
    trivial_name: str = ""
    simple: float | None = None
    simple_name: str = ""
    follows: float | None = None

    @property
    def values(self) -> tuple[float, ...]:
        """The last score of every seed; NaN for a seed that diverged before its first evaluation."""
        return tuple(curve.scores[-1] if curve.scores else math.nan for curve in self.curves)


@dataclass(frozen=True, slots=True)
class Flow:
    """How gradients flow through one layer in one direction, of one batch; see ``rnnbench.gradient_flow``.

    ``gradient``: ‖∂L/∂s‖ of all states s together, mean over sequences; entry k is k steps back from what the
    last step starts from, down to what the second step starts from. ``hidden``: the same of the state h
    alone, empty where the cell has none.
    ``radius_mean``, ``radius_max``: spectral radius of ∂s_t/∂s_{t-1} at sampled steps and sequences.
    ``sigmoids``, ``tanhs``: share of saturated outputs; None where the cell has no such function.
    """

    layer: str
    gradient: tuple[float, ...]
    hidden: tuple[float, ...]
    radius_mean: float
    radius_max: float
    sigmoids: float | None
    tanhs: float | None


@dataclass(frozen=True, slots=True)
class GradientFlow:
    """On the first training batch of the first seed, before the first update and after the last one.

    ``after`` is empty where nothing was trained; ``trained_on``: the case key of who was. ``closed_form``:
    the q of gradient_k = q^k gradient_0, where theory says that before training; None where it does not.
    """

    before: tuple[Flow, ...]
    after: tuple[Flow, ...] = ()
    closed_form: float | None = None
    trained_on: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """What came of one case. Every planned case ends as exactly one of these.

    ``phases`` holds single timings in seconds: import_s, build_s, first_forward_s,
    first_train_step_s, ..., and, of such a first call, trace_forward_s and compile_forward_s, ... where the
    framework tells. ``step_path`` is the kernel path of ``stream``, "" where that was not measured.
    ``memory`` holds bytes: parameters_bytes, host_peak_bytes, device_peak_bytes. ``flops`` are of one call
    of each timed phase, by the convention of ``rnnbench.flops``. ``steps`` are the time steps of a sequence,
    padding and what the task adds to its length included; None where the case did not come to a worker.
    """

    case: Case
    status: Status
    reason: str = ""
    path: str = ""
    step_path: str = ""
    parameters: int | None = None
    steps: int | None = None
    parity: Parity | None = None
    phases: Mapping[str, float] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    flops: Mapping[str, int] = field(default_factory=dict)
    compilations: int | None = None
    score: Score | None = None
    gradient_flow: GradientFlow | None = None
    findings: tuple[Finding, ...] = ()


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Raw time: ``loops`` calls of one phase took ``seconds``, in one round of one process.

    ``order`` is the position within the round; ``process`` counts fresh processes from 0. A call of
    ``stream`` is one time step; of its ``loops`` steps, each clocked apart, ``p50_s`` and ``p99_s`` are the
    median and the 99th percentile (linear between order statistics). Not a dataclass, for results hold a
    hundred thousand, and these are read seven times faster.
    """

    case: str
    phase: Measure
    process: int
    round: int
    order: int
    loops: Annotated[int, msgspec.Meta(gt=0)]
    seconds: Seconds
    p50_s: Seconds | None = None
    p99_s: Seconds | None = None

    @property
    def per_call_s(self) -> float:
        """Seconds of one call."""
        return self.seconds / self.loops


@dataclass(frozen=True, slots=True)
class Run:
    """run.json: all that holds for every record of a run.

    ``environments`` maps a backend to {"versions": {...}, "settings": {...}, "devices": [...]}; one that
    ran on several devices, in several dtypes or with several numbers of threads has an entry for each;
    ``tasks_digest`` is of the tasks that the suite declares, "" where it was not kept;
    ``machine`` is a flat mapping (cpu, cores, memory_bytes, os, python, load, ...). ``spent_s`` says
    where the wall time went: seconds by kind of request, and "total". ``unranked`` names the tasks that
    are negative controls: shown, never ranked. ``thresholds`` are the suite's, for ``compare``.
    ``match`` says in a sentence how hidden sizes were chosen, "" where the suite gives them. ``suite_text``
    is the suite as it was read, before the options of ``command`` changed it; "" where it was not kept.
    ``rounds`` and ``processes`` were measured at least, up to ``most_rounds`` and ``most_processes`` where
    those are numbers; ``block_s`` is the least length of a block in seconds.
    """

    name: str
    suite: str
    about: str
    command: tuple[str, ...]
    started: str
    rnnbench: str
    rounds: int
    processes: int
    budget_s: float | None
    machine: Mapping[str, Any]
    environments: Mapping[str, Mapping[str, Any]]
    findings: tuple[Finding, ...] = ()
    finished: str = ""
    spent_s: Mapping[str, float] = field(default_factory=dict)
    unranked: tuple[str, ...] = ()
    tasks_digest: str = ""
    match: str = ""
    suite_text: str = ""
    thresholds: Thresholds = field(default_factory=Thresholds)
    block_s: float = 0.020
    most_rounds: int | None = None
    most_processes: int | None = None
    format: int = FORMAT
    protocol: int = PROTOCOL
