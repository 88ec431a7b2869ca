"""Where the commands print: names are literal text, whatever brackets, colons or codes they hold."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnbench.escaping import safe

_FILE_WIDTH = 140
"""Nobody says how wide a file or a pipe is; the ranked table needs this much."""


def open_console(*, stderr: bool = False) -> Console:
    """A console on which no text is markup, an emoji's name or worth a colour of its own."""
    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _FILE_WIDTH
    return console


def say(console: Console, text: str, style: str = "") -> None:
    """One line; broken into several only where a terminal's edge demands it."""
    console.print(Text(safe(text), style=style), soft_wrap=not console.is_terminal)


def say_error(text: str) -> None:
    """One line on stderr."""
    print(f"rnnbench: {safe(text)}", file=sys.stderr)


def tabulate(
    headings: Iterable[str],
    rows: Iterable[Iterable[object]],
    right: Iterable[str] = (),
    whole: Iterable[str] = (),
) -> Table:
    """A table of literal text; columns in ``right`` hold numbers, those in ``whole`` are never folded."""
    table = Table(pad_edge=False)
    for heading in headings:
        justify: Literal["left", "right"] = "right" if heading in right else "left"
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=heading in whole)
    for row in rows:
        table.add_row(*(Text(safe(field)) for field in row))
    return table
