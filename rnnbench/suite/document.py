"""A YAML file as plain values, and the line that each of them stands on.

Reads the events of the YAML 1.2 parser and builds only None, bool, int, float, str, list and dict
(the core schema), within fixed limits; it never constructs an object and never calls anything that
the file names.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from rnnbench.errors import RequestError
from rnnbench.escaping import safe

KeyPath = tuple[str | int, ...]
"""The way to a value: ("axes", "hidden", 1)."""

MAX_BYTES = 256 * 1024
MAX_NODES = 10_000
MAX_DEPTH = 16
MAX_ALIASES = 100
CUT = 60
"""Characters of a name that a message shows."""

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    "-.inf": float("-inf"),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


@dataclass(frozen=True, slots=True)
class Document:
    """``value`` is the root mapping; ``places`` says for every value in it where it was given.

    ``text`` is what was read; options of the command line change values, not the text.
    """

    value: dict[str, Any]
    places: Mapping[KeyPath, str]
    text: str = ""


@dataclass(frozen=True, slots=True)
class _Child:
    part: str | int
    line: int
    node: _Node


@dataclass(frozen=True, slots=True)
class _Node:
    value: Any
    line: int
    children: tuple[_Child, ...] = ()
    size: int = 1
    height: int = 1


def dotted(path: KeyPath) -> str:
    """How a path is written in messages.

    >>> dotted(("axes", "backend", 2))
    'axes.backend[2]'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{safe(part, CUT)}"
    return text


def read_scalar(text: str) -> Any:
    """A plain scalar by the core schema of YAML 1.2: ``1e-3`` is a number, ``on`` a word, ``010`` ten.

    Raises ``ValueError`` for a whole number of more than 4,300 digits.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if text.startswith("0x") and re.fullmatch(r"0x[0-9a-fA-F]+", text):
        return int(text, 16)
    if text.startswith("0o") and re.fullmatch(r"0o[0-7]+", text):
        return int(text, 8)
    return float(text) if _FLOAT.fullmatch(text) else text


def read_document(file: Path) -> Document:
    """The mapping that a file holds. Raises ``RequestError`` naming the line of what is wrong."""
    text = _read_text(file)
    return parse_document(text, str(file))


def parse_document(text: str, name: str) -> Document:
    """As ``read_document``, of a text; ``name`` stands in the messages where the file's name would."""
    try:
        root = _Reader(text, name).read()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        source = text.splitlines()[line - 1] if line <= len(text.splitlines()) else ""
        if "\t" in source[: len(source) - len(source.lstrip())]:
            raise RequestError("a tab; YAML indents with spaces only", where=f"{name}:{line}") from None
        raise RequestError(f"not valid YAML: {error.problem}", where=f"{name}:{line}") from None
    except (OverflowError, ValueError):  # of chr(), for an escape such as U+FFFFFFFF
        raise RequestError("not valid YAML: an escape that is no character", where=name) from None
    except YAMLError as error:
        raise RequestError(f"not text: {str(error).splitlines()[0]}", where=name) from None
    if root is None or root.value is None:
        raise RequestError("is empty; a suite needs at least axes", where=name)
    if not isinstance(root.value, dict):
        raise RequestError(
            f"holds a {kind_of(root.value)}; a suite is a mapping with axes", where=f"{name}:{root.line}"
        )
    places = {path: f"{name}:{line}" for path, line in _lines(root, (), root.line)}
    return Document(root.value, places, text)


def _read_text(file: Path) -> str:
    name = str(file)
    try:
        status = file.stat()
        if stat.S_ISDIR(status.st_mode):
            raise RequestError("is a directory; give a suite file", where=name)
        if not stat.S_ISREG(status.st_mode):
            raise RequestError("is not a regular file", where=name)
        if status.st_size > MAX_BYTES:
            raise RequestError(f"has {status.st_size:,} bytes; a suite has at most {MAX_BYTES:,}", where=name)
        data = file.read_bytes()
    except FileNotFoundError:
        raise RequestError("no such file", where=name) from None
    except (OSError, ValueError) as error:
        raise RequestError(f"cannot be read: {error}", where=name) from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise RequestError("is encoded in UTF-16; save it as UTF-8", where=name)
    if b"\0" in data:
        raise RequestError("is binary, not a suite", where=name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise RequestError(
            f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8", where=f"{name}:{line}"
        ) from None


class _Reader:
    """One pass over the parser's events; recursion is bounded by ``MAX_DEPTH``."""

    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._events: Iterator[Any] = iter(YAML(typ="safe", pure=True).parse(text))
        self._anchors: dict[str, _Node | None] = {}
        self._aliases = 0

    def read(self) -> _Node | None:
        root: _Node | None = None
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if root is not None:
                    raise self._error(event, "a second document begins; a suite is one document")
                root = self._node(next(self._events), 1)
            elif isinstance(event, StreamEndEvent):
                break
        return root

    def _error(self, event: Any, message: str) -> RequestError:
        return RequestError(message, where=f"{self._name}:{event.start_mark.line + 1}")

    def _node(self, event: Any, depth: int) -> _Node:
        if depth > MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, AliasEvent):
            return self._alias(event, depth)
        if event.tag is not None:
            raise self._error(event, f'tag "{safe(event.tag, CUT)}"; a suite is plain data, without tags')
        anchor = event.anchor
        if anchor is not None:
            self._anchors[anchor] = None
        if isinstance(event, ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, SequenceStartEvent):
            node = self._sequence(event, depth)
        else:
            assert isinstance(event, MappingStartEvent)
            node = self._mapping(event, depth)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _alias(self, event: Any, depth: int) -> _Node:
        name = event.anchor
        if name not in self._anchors:
            raise self._error(event, f"*{safe(name, CUT)} has no anchor &{safe(name, CUT)} above it")
        node = self._anchors[name]
        if node is None:
            raise self._error(event, f"*{safe(name, CUT)} lies within &{safe(name, CUT)}: a loop")
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise self._error(event, f"more than {MAX_ALIASES} aliases")
        if depth + node.height - 1 > MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH} levels")
        return node

    def _scalar(self, event: Any) -> _Node:
        line = event.start_mark.line + 1
        if any("\ud800" <= char <= "\udfff" for char in event.value):
            raise self._error(event, "half of a surrogate pair, which is no character")
        if event.style:
            return _Node(event.value, line)
        try:
            return _Node(read_scalar(event.value), line)
        except ValueError:
            raise self._error(event, f"a number of {len(event.value):,} digits") from None

    def _sequence(self, event: Any, depth: int) -> _Node:
        children: list[_Child] = []
        size = 1
        while not isinstance(item := next(self._events), SequenceEndEvent):
            node = self._node(item, depth + 1)
            children.append(_Child(len(children), node.line, node))
            size = self._grown(item, size + node.size)
        return self._collection(event, [child.node.value for child in children], children, size)

    def _mapping(self, event: Any, depth: int) -> _Node:
        children: list[_Child] = []
        first: dict[str, int] = {}
        size = 1
        while not isinstance(item := next(self._events), MappingEndEvent):
            key = self._key(item)
            if key in first:
                raise self._error(item, f'key "{safe(key, CUT)}" is given twice, first on line {first[key]}')
            first[key] = item.start_mark.line + 1
            node = self._node(next(self._events), depth + 1)
            children.append(_Child(key, first[key], node))
            size = self._grown(item, size + node.size)
        return self._collection(event, {child.part: child.node.value for child in children}, children, size)

    def _key(self, event: Any) -> str:
        if not isinstance(event, ScalarEvent):
            raise self._error(event, "a key must be a word")
        if event.tag is not None:
            raise self._error(event, f'tag "{safe(event.tag, CUT)}"; a suite is plain data, without tags')
        value = self._scalar(event).value
        if not isinstance(value, str):
            raise self._error(
                event, f"key {event.value[:40] or 'null'} is a {kind_of(value)}; a key is a word"
            )
        return value

    def _grown(self, event: Any, size: int) -> int:
        if size > MAX_NODES:
            raise self._error(event, f"more than {MAX_NODES:,} values, aliases written out")
        return size

    def _collection(self, event: Any, value: Any, children: list[_Child], size: int) -> _Node:
        height = 1 + max((child.node.height for child in children), default=0)
        return _Node(value, event.start_mark.line + 1, tuple(children), size, height)


def _lines(node: _Node, path: KeyPath, line: int) -> Iterator[tuple[KeyPath, int]]:
    yield path, line
    for child in node.children:
        yield from _lines(child.node, (*path, child.part), child.line)


def kind_of(value: Any) -> str:
    """What a person calls a value of this type."""
    names = {dict: "mapping", list: "list", str: "word", bool: "truth value", type(None): "null"}
    return names.get(type(value), "number")
