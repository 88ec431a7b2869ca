"""What a check has to say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Advice:
    """One finding about the machine.

    ``word`` is from a fixed list (see docs/measuring.md), ``text`` says what was seen and what it
    disturbs, ``remedy`` what to do.
    """

    word: str
    text: str
    remedy: str
