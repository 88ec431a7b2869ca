"""What may stand in a suite: every key, its type and its bounds.

The pydantic models here are the door; ``loading`` turns what passes into frozen values. From the
same tables come the JSON Schema and the words "Give ..." of ``messages``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    create_model,
)
from pydantic_core import PydanticCustomError

from rnnbench.choices import Attention, DropoutKind, Dtype, Merge, Norm, Optimizer
from rnnbench.records import MEASURES

_BUDGET = r"^[0-9]+(\.[0-9]+)? ?(s|min|h)$"
_CONFIG = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: the type of one value, what is allowed in words, and what it means."""

    type: Any
    allowed: str
    about: str
    words: tuple[str, ...] = ()


def _whole(low: int, high: int, about: str) -> Setting:
    bounds = f"a whole number from {low:,} to {high:,}"
    return Setting(Annotated[int, Field(ge=low, le=high)], bounds, about)


def _or_null(setting: Setting) -> Setting:
    return replace(setting, type=setting.type | None, allowed=f"{setting.allowed} or null")


def _real(low: float, high: float, about: str) -> Setting:
    return Setting(Annotated[float, Field(ge=low, le=high)], f"a number from {low:g} to {high:g}", about)


def _positive(high: float, about: str) -> Setting:
    bounds = f"a number above 0, at most {high:g}"
    return Setting(Annotated[float, Field(gt=0, le=high)], bounds, about)


def _below_one(about: str) -> Setting:
    return Setting(Annotated[float, Field(ge=0, lt=1)], "a number from 0 to below 1", about)


def _share(about: str) -> Setting:
    return Setting(Annotated[float, Field(ge=0, le=10)], "a share from 0 to 10, 0.01 for 1 %", about)


def _word(about: str, *words: str) -> Setting:
    allowed = f"{', '.join(words[:-1])} or {words[-1]}"
    schema = Field(json_schema_extra={"enum": [*words]})
    return Setting(Annotated[str, AfterValidator(_one_of(words)), schema], allowed, about, words)


def _name(about: str, of: str) -> Setting:
    return Setting(Annotated[str, StringConstraints(min_length=1, max_length=200)], of, about)


def _one_of(words: tuple[str, ...]) -> Any:
    def check(value: str) -> str:
        if value not in words:
            raise PydanticCustomError("word", "not one of the words")
        return value

    return check


def _merge(value: Any) -> Any:
    return {True: "concat", False: "none"}[value] if isinstance(value, bool) else value


def _bidirectional() -> Setting:
    merge = _word("merge of the two directions; true means concat", *get_args(Merge))
    schema = Merge | bool
    kind: Any = Annotated[merge.type, BeforeValidator(_merge, json_schema_input_type=schema)]
    return Setting(kind, "none, concat, sum, true or false", merge.about, merge.words)


_DEVICE = Setting(
    Annotated[str, StringConstraints(pattern=r"^[a-z]+(:[0-9]+)?$", max_length=40)],
    "auto, all, cpu, or what a backend reports (cuda, cuda:1, ...)",
    "where to compute; auto: an accelerator where the backend has one; all: every device of the backend",
)

_OF_TRAINING: Mapping[str, Setting] = {
    "clip": Setting(Annotated[float, Field(gt=0, le=1e6)] | None, "a number above 0, at most 1e+06, or null",
                    "bound on the global norm of the gradient; null: none"),
    "l2": _real(0, 1000, "λ of a penalty (λ/2) Σ ‖W‖² over all kernels, a part of the loss"),
    "window": _or_null(_whole(1, 1_000_000, "time steps over which gradients flow back; null: all")),
}  # fmt: skip

AXES: Mapping[str, Setting] = {
    "task": _name("what is learned; see rnnbench list tasks", "the name of a task"),
    "length": _whole(1, 1_000_000, "time steps T of a sequence"),
    "cell": _name("recurrent cell; see rnnbench list cells", "the name of a cell"),
    "backend": _name("framework; all that are installed where none is named", "the name of a backend"),
    "implementation": _name("the first of the backend where none is named", "the name of an implementation"),
    "hidden": _whole(1, 65_536, "hidden units H of each layer and direction"),
    "layers": _whole(1, 64, "stacked layers"),
    "bidirectional": _bidirectional(),
    "residual": Setting(bool, "true or false", "add a layer's input to its output, from the second layer on"),
    "norm": _word("normalise each layer's output: over its features, or each feature over the batch",
                  *get_args(Norm)),
    "dropout": _below_one("share of a layer's outputs that the next layer does not get in training"),
    "dropout_kind": _word("what is dropped: drawn anew at each time step, or the same at all of them",
                          *get_args(DropoutKind)),
    "embedding": _whole(1, 65_536, "width of the embedding, for tasks whose inputs are tokens"),
    "batch": _whole(1, 1_048_576, "sequences B in a batch"),
    "init": _word("initialiser of the weights", "uniform", "glorot", "orthogonal", "identity", "zero"),
    "gain": _real(0, 100, "factor of the initial recurrent kernels; their spectral radius if orthogonal"),
    "forget_bias": _real(-100, 100, "initial bias of the forget gate, for cells that have one"),
    "device": _DEVICE,
    "dtype": _word("precision of parameters and arithmetic", *get_args(Dtype)),
    "threads": _whole(1, 1024, "cores that a case may use"),
    "projection": _or_null(
        _whole(1, 65_536, "output features P of cells that project their output; null: a quarter of hidden")
    ),
    "attention": _word("what a decoder reads of the source, for tasks from sequence to sequence",
                       *get_args(Attention)),
    "input_feeding": Setting(bool, "true or false", "feed what Luong's attention says into the next step"),
    **_OF_TRAINING,
}  # fmt: skip
"""Everything that multiplies, in the order in which cases are planned."""

TRAINED = tuple(_OF_TRAINING)
"""Axes that are keys of ``train``: as such they stand there when they do not multiply."""

TRAIN: Mapping[str, Setting] = {
    "optimizer": _word("how parameters are updated; ridge: only the readout, by one linear solve",
                       *get_args(Optimizer), "ridge"),
    "lr": _positive(1000, "learning rate"),
    **_OF_TRAINING,
    "steps": _whole(1, 10_000_000, "updates for each seed"),
    "seeds": _whole(1, 1000, "trainings from different seeds; below 3 the spread says little"),
    "evaluate_every": _whole(1, 10_000_000, "updates between two evaluations"),
    "ridge_alpha": _positive(1e9, "of the squared weights of a readout that ridge fits"),
    "target": Setting(float | None, "a number or null", "stop once the task's metric has reached it"),
}  # fmt: skip

RUN: Mapping[str, Setting] = {
    "rounds": _whole(1, 1000, "blocks timed for each case in each process"),
    "processes": _whole(1, 100, "fresh processes; with 1 there is no interval"),
}

THRESHOLDS: Mapping[str, Setting] = {
    "regression": _share("slower by more, with the whole 99 % interval, is a regression"),
    "improvement": _share("faster by more, with the whole interval, is an improvement"),
    "unchanged": _share("slower by less, with the whole interval, is unchanged"),
    "stored": _share("runs may differ by this where it is not known how much they do"),
    "peak_bytes": _share("peak memory may grow by this"),
    "score": _share("a score may fall by this share of the way from chance to perfect"),
}
"""How large a difference counts; shares, 0.01 is 1 %."""

MATCH: Mapping[str, Setting] = {
    "parameters": _whole(
        1, 10**9, "hidden is chosen for each case so that its network has so many parameters"
    ),
    "head": Setting(bool, "true or false", "whether those of the head count; of an embedding none do"),
}

LISTS: Mapping[str, str] = {
    "measure": f"a list of {', '.join(MEASURES)}",
    "score_on": "fastest, all, or a list of backends",
}


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _without_duplicates(values: list[Any]) -> list[Any]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise PydanticCustomError("duplicate", "given twice", {"index": index})
    return values


def _several(kind: Any) -> Any:
    """One value or a list of distinct ones, read as a list."""
    return Annotated[
        list[kind],
        Field(min_length=1),
        AfterValidator(_without_duplicates),
        BeforeValidator(_as_list, json_schema_input_type=kind | list[kind]),
    ]


def _fields(settings: Mapping[str, Setting], *, several: bool = False) -> dict[str, Any]:
    return {
        key: (_several(it.type) if several else it.type, Field(default=None, description=it.about))
        for key, it in settings.items()
    }


MEASURE = _word("what is measured", *MEASURES)
_axes: Any = create_model("Axes", __config__=_CONFIG, **_fields(AXES, several=True))
_row: Any = create_model("Row", __config__=_CONFIG, **_fields(AXES, several=True))
_train: Any = create_model("Train", __config__=_CONFIG, **_fields(TRAIN))
_match: Any = create_model("Match", __config__=_CONFIG, **_fields(MATCH))
_special: Any = create_model(
    "Special", __config__=_CONFIG, **_fields(AXES, several=True), **_fields(THRESHOLDS)
)
_thresholds: Any = create_model(
    "Thresholds",
    __config__=_CONFIG,
    **_fields(THRESHOLDS),
    cases=(list[_special], Field(default=[], description="other thresholds for some cases; the last holds")),
)
DefaultsFormat: Any = create_model(
    "Defaults",
    __config__=_CONFIG,
    **_fields({axis: it for axis, it in AXES.items() if axis not in TRAINED}),
    **_fields(RUN),
    train=(_train, Field(default=None, description="how networks are trained for their score")),
    match=(
        _match,
        Field(default=None, description="a hidden size for each case, by its number of parameters"),
    ),
    measure=(_several(MEASURE.type), Field(default=None, description=MEASURE.about)),
    score_on=(
        _several(str),
        Field(default=None, description="backends that train: fastest (default), all, or a list of names"),
    ),
)


class SuiteFormat(BaseModel):
    """A suite: axes that multiply, and what holds for all of their cases."""

    model_config = _CONFIG | ConfigDict(title="rnnbench suite")

    about: str = Field(default="", max_length=2000, description="the question that this suite answers")
    tasks: dict[str, dict[str, Any]] = Field(default={}, description="tasks on data of your own")
    axes: _axes = Field(description="values that multiply to cases")
    defaults: DefaultsFormat = Field(default=None, description="one value each, for every case")
    exclude: list[_row] = Field(default=[], description="cases of the product that are left out")
    include: list[_row] = Field(
        default=[], description="further cases; a row inherits the axes it does not name"
    )
    thresholds: _thresholds = Field(default=None, description="how large a difference counts in compare")
    budget: Annotated[str, Field(pattern=_BUDGET)] | None = Field(
        default=None, description="wall time for the whole run, such as 30 min, 90 s, 2 h"
    )


SECTIONS: Mapping[str, str] = {
    "about": "a sentence of at most 2,000 characters",
    "tasks": "a mapping from names to tasks",
    "axes": "a mapping from axes to values",
    "defaults": "a mapping from keys to values",
    "train": "a mapping from keys to values",
    "match": "a mapping from parameters, and perhaps head, to values",
    "exclude": "a list of mappings from axes to values",
    "include": "a list of mappings from axes to values",
    "thresholds": "a mapping from thresholds to shares",
    "cases": "a list of mappings from axes to values and from thresholds to shares",
    "budget": "a time such as 30 min, 90 s or 2 h",
}
