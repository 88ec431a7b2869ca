"""Tasks that a suite declares: a kind with options, checked here, on the user's own data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from rnnbench.contracts import Task, TaskDeclaration
from rnnbench.errors import RequestError, nearest
from rnnbench.tasks.noise import Noise
from rnnbench.tasks.series import Forecasting
from rnnbench.tasks.synthetic import Adding, Copy
from rnnbench.tasks.tables import Layout
from rnnbench.tasks.text import Side, TextClassification
from rnnbench.tasks.waves import Given, Wave


def refusal(message: str) -> PydanticCustomError:
    """A refused value, in words that pydantic leaves as they are."""
    return PydanticCustomError("refused", "{message}", {"message": message})


class Options(BaseModel):
    """The options of a kind. Paths are absolute: whoever read the suite knows where it stands."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ForecastingOptions(Options):
    """Predict a column of a csv file some rows ahead."""

    csv: Path = Field(strict=False, description="csv file with a header; .csv.gz too")
    target: str = Field(description="the column to predict")
    features: list[str] = Field(default=[], description="further columns to predict it from")
    time: str | None = Field(default=None, description="column of ISO dates or numbers that orders the rows")
    horizon: int = Field(default=1, ge=1, le=1_000_000, description="how many rows ahead")
    log: bool | list[str] = Field(
        default=False, description="logarithms: of the target (true), or of columns"
    )
    difference: bool = Field(default=True, description="learn the change from the last known value")

    @field_validator("features")
    @classmethod
    def _other_columns(cls, features: list[str], info: ValidationInfo) -> list[str]:
        target = info.data.get("target")
        if target in features:
            raise refusal(f'"{target}" is the target, whose past is an input anyway')
        if len(set(features)) < len(features):
            raise refusal("a column stands there twice")
        return features

    @field_validator("log")
    @classmethod
    def _known_columns(cls, log: bool | list[str], info: ValidationInfo) -> bool | list[str]:
        columns = [info.data.get("target"), *info.data.get("features", [])]
        for name in log if isinstance(log, list) else []:
            if name not in columns:
                raise refusal(
                    f'"{name}" is neither the target nor a feature. {nearest(name, map(str, columns))}'
                )
        return log


class TextClassificationOptions(Options):
    """Predict a class from a text."""

    csv: Path | None = Field(default=None, strict=False, description="csv file with a header")
    tsv: Path | None = Field(
        default=None, strict=False, description="tab-separated file with a header, unquoted"
    )
    jsonl: Path | None = Field(default=None, strict=False, description="file with a JSON object on each line")
    text: str = Field(default="text", description="the column that holds the text")
    label: str = Field(default="label", description="the column that holds the class")
    padding: Side = Field(
        default="post", description="where short texts are padded: post, masked, or pre, read like any word"
    )
    truncation: Side = Field(
        default="post", description="where long texts are cut: post keeps their beginning, pre their end"
    )

    @field_validator("label")
    @classmethod
    def _other_column(cls, label: str, info: ValidationInfo) -> str:
        if label == info.data.get("text"):
            raise refusal("is the text already")
        return label

    @model_validator(mode="after")
    def _one_file(self) -> Self:
        if sum(path is not None for path in (self.csv, self.tsv, self.jsonl)) != 1:
            raise refusal("give one file: csv, tsv or jsonl")
        return self

    @property
    def file(self) -> tuple[Path, Layout]:
        """The file that was given, and its layout."""
        if self.csv is not None:
            return self.csv, "csv"
        if self.tsv is not None:
            return self.tsv, "tsv"
        assert self.jsonl is not None, "the validator saw to one file"
        return self.jsonl, "jsonl"


class CopyOptions(Options):
    """The copy task with other sizes."""

    symbols: int = Field(default=10, ge=1, le=1000, description="symbols to remember")
    alphabet: int = Field(default=8, ge=2, le=1000, description="different symbols")
    evaluation: int = Field(default=500, ge=1, le=10_000_000, description="sequences held out")


class AddingOptions(Options):
    """The adding problem with another number of held-out sequences."""

    evaluation: int = Field(default=2000, ge=1, le=10_000_000, description="sequences held out")


class NoiseOptions(Options):
    """Random sequences and classes: for timing only."""

    features: int = Field(default=64, ge=1, le=1_000_000, description="input features")
    classes: int = Field(default=10, ge=2, le=1_000_000, description="classes, the network's outputs")


class WaveOptions(Options):
    """One vector in, a wave out: one to many, and with length 1 one to one."""

    given: Given = Field(
        default="first", description="where the vector is read: at the first step, zeros following, or at all"
    )
    evaluation: int = Field(default=500, ge=1, le=10_000_000, description="waves held out")


KINDS: Mapping[str, type[Options]] = MappingProxyType(
    {
        "adding": AddingOptions,
        "copy": CopyOptions,
        "forecasting": ForecastingOptions,
        "noise": NoiseOptions,
        "text_classification": TextClassificationOptions,
        "wave": WaveOptions,
    }
)


def declare(declaration: TaskDeclaration) -> Task:
    """The task that a suite declares. Files are opened by ``prepare``, not here.

    Raises ``RequestError`` at ``tasks.<name>.<option>`` for an unknown kind, an unknown or missing option and
    a value that does not fit.
    """
    where = f"tasks.{declaration.name}"
    if declaration.kind not in KINDS:
        raise RequestError(
            f'no kind "{declaration.kind}". {nearest(declaration.kind, KINDS)}', where=f"{where}.kind"
        )
    try:
        options = KINDS[declaration.kind].model_validate(dict(declaration.options))
    except ValidationError as error:
        raise _request_error(error, KINDS[declaration.kind], where) from None
    return _build(declaration.name, options)


def _build(name: str, options: Options) -> Task:
    match options:
        case ForecastingOptions():
            logs = options.log if isinstance(options.log, list) else [options.target] * options.log
            return Forecasting(
                name=name,
                about=f"{options.target} of {options.csv.name}, {options.horizon} rows ahead",
                path=options.csv,
                target=options.target,
                features=tuple(options.features),
                time=options.time,
                horizon=options.horizon,
                log=tuple(logs),
                difference=options.difference,
            )
        case TextClassificationOptions():
            path, layout = options.file
            about = f"{options.label} from {options.text} of {path.name}"
            return TextClassification(
                name,
                about,
                path,
                layout,
                options.text,
                options.label,
                padding=options.padding,
                truncation=options.truncation,
            )
        case CopyOptions():
            about = f"recall {options.symbols} symbols of {options.alphabet} after a delay"
            return Copy(name, about, True, options.symbols, options.alphabet, options.evaluation)
        case AddingOptions():
            return Adding(
                name, f"the adding problem, {options.evaluation} sequences held out", True, options.evaluation
            )
        case NoiseOptions():
            about = f"{options.features} features of noise, for timing only"
            return Noise(name, about, options.features, options.classes)
        case WaveOptions():
            where = "at the first step" if options.given == "first" else "at every step"
            about = f"the wave of an amplitude, a frequency and a phase, given {where}"
            return Wave(name, about, options.given, options.evaluation)
        case _:
            raise AssertionError(f"no task is built from {type(options).__name__}")


def _request_error(error: ValidationError, model: type[Options], where: str) -> RequestError:
    first = error.errors(include_url=False)[0]
    allowed = model.model_fields
    if not first["loc"]:
        return RequestError(first["msg"], where=where)
    option = str(first["loc"][0])
    if option not in allowed:
        return RequestError(f'no option "{option}". {nearest(option, allowed)}', where=f"{where}.{option}")
    about = allowed[option].description
    if first["type"] == "missing":
        return RequestError(f'option "{option}" is missing: {about}', where=where)
    return RequestError(f"{first['msg']}; {first['input']!r} was given ({about})", where=f"{where}.{option}")
