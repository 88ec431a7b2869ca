"""Text that comes from suites, plugins, files and crashes, made fit to be shown. It may be hostile."""

from __future__ import annotations

import unicodedata

ZERO_WIDTH_JOINER = "\u200d"
"""Joins emoji and letters of some scripts; alone it does nothing."""


def safe(text: object, limit: int | None = None) -> str:
    """Text on one line that shows what it holds, its first ``limit`` characters at most.

    What a terminal or a browser would obey (control characters, marks of direction, line breaks, halves of
    surrogate pairs) stands there as its escape. Markup is not touched: who prints knows what must be
    escaped there.
    """
    shown = str(text)
    if limit is not None and len(shown) > limit:
        shown = shown[: limit - 1] + "…"
    if shown.isprintable():
        return shown
    return "".join(
        character if _visible(character) else character.encode("unicode_escape").decode()
        for character in shown
    )


def _visible(character: str) -> bool:
    category = unicodedata.category(character)
    return character == ZERO_WIDTH_JOINER or category not in ("Cc", "Cf", "Cs", "Zl", "Zp")
