"""Tasks that a suite declares on the user's own data: kind and options checked, paths resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from rnnbench.contracts import Task, TaskDeclaration
from rnnbench.document import Document, KeyPath
from rnnbench.errors import nearest
from rnnbench.suite_format import located, shown

_NAME = r"[A-Za-z][A-Za-z0-9_.-]{0,63}"


def known_kinds() -> Mapping[str, type[BaseModel]]:
    """Kind -> the model of its options."""
    # a suite without declared tasks is read without the libraries that read data
    from rnnbench.tasks.declared import KINDS

    return KINDS


def read_declaration(
    name: str, given: Mapping[str, Any], document: Document, folder: Path
) -> TaskDeclaration:
    """One entry of ``tasks``; relative paths start at ``folder``. Raises ``RequestError``."""
    path: KeyPath = ("tasks", name)
    if not re.fullmatch(_NAME, name):
        message = "is no name for a task. Give letters, digits, _, . and -, at most 64, a letter first."
        raise located(document, path, message)
    kinds = known_kinds()
    if "kind" not in given:
        raise located(document, path, f"kind is missing. {nearest('', kinds)}")
    kind = given["kind"]
    if not isinstance(kind, str) or kind not in kinds:
        raise located(document, (*path, "kind"), f"no kind {shown(kind)}. {nearest(kind, kinds)}")
    model = kinds[kind]
    options = {
        key: str(folder / value) if isinstance(value, str) and _is_path(model, key) else value
        for key, value in given.items()
        if key != "kind"
    }
    try:
        model.model_validate(options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where: KeyPath = (*path, *first["loc"])
        if first["type"] == "extra_forbidden":
            raise located(document, where, f"unknown key. {nearest(where[-1], model.model_fields)}") from None
        if first["type"] == "missing":
            raise located(document, where, "is missing") from None
        message = f"{shown(first['input'])} is not allowed. {first['msg']}"
        raise located(document, where, message) from None
    return TaskDeclaration(name, kind, options)


def declared_task(declaration: TaskDeclaration) -> Task:
    """The task of a declaration. Raises ``RequestError`` for data that does not hold what is declared."""
    from rnnbench.tasks.declared import declare

    return declare(declaration)


def _is_path(model: type[BaseModel], key: str) -> bool:
    info = model.model_fields.get(key)
    return info is not None and (info.annotation is Path or Path in get_args(info.annotation))
