"""Tasks that a suite declares on the user's own data: kind and options checked, paths resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnbench.contracts import TaskDeclaration
from rnnbench.errors import RequestError, nearest
from rnnbench.suite.document import Document, KeyPath
from rnnbench.suite.messages import located, shown
from rnnbench.tasks.declared import KINDS, declare

_NAME = r"[A-Za-z][A-Za-z0-9_-]{0,63}"


def read_declaration(
    name: str, given: Mapping[str, Any], document: Document, folder: Path
) -> TaskDeclaration:
    """One entry of ``tasks``; relative paths start at ``folder``. Raises ``RequestError``."""
    path: KeyPath = ("tasks", name)
    if not re.fullmatch(_NAME, name):
        message = "is no name for a task. Give letters, digits, _ and -, at most 64, a letter first."
        raise located(document, path, message)
    if "kind" not in given:
        raise located(document, path, f"kind is missing. {nearest('', KINDS)}")
    kind = given["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise located(document, (*path, "kind"), f"no kind {shown(kind)}. {nearest(kind, KINDS)}")
    paths = {key for key, info in KINDS[kind].model_fields.items() if info.annotation in (Path, Path | None)}
    options = {
        key: str(folder.absolute() / value) if key in paths and isinstance(value, str) else value
        for key, value in given.items()
        if key != "kind"
    }
    declaration = TaskDeclaration(name, kind, options)
    try:
        declare(declaration)
    except RequestError as error:
        # the task knows its option, the document knows the line
        option = tuple(int(part) if part.isdigit() else part for part in error.where.split("."))
        raise located(document, option, error.message) from None
    return declaration
