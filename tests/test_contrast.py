"""Colours of the page, light and dark: WCAG 2.2 AA, by its own formula."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

import rnnbench.report
from rnnbench.report.matrix import STEPS
from rnnbench.report.panels import COLOURS

STYLE = (Path(rnnbench.report.__file__).parent / "templates" / "style.css").read_text()
PAIRS = {name: both for name, *both in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", STYLE)}
TEXTS = ("ink", "muted", "accent", "warn")
LINES = tuple(f"c{index}" for index in range(6))
PAPERS = ("paper", "card", "warn-card", "first")
TINTS = tuple(f"h{step + 1}" for step in range(len(STEPS)))


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance, of #rrggbb."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize(
    ("text", "paper"), [*product(TEXTS, PAPERS), *product(LINES, ("paper",)), *product(("ink",), TINTS)]
)
def test_text_can_be_read(text: str, paper: str) -> None:
    for theme in (0, 1):
        assert contrast(PAIRS[text][theme], PAIRS[paper][theme]) >= 4.5


def test_controls_can_be_seen_and_figures_keep_their_colours() -> None:
    for theme in (0, 1):
        assert contrast(PAIRS["edge"][theme], PAIRS["paper"][theme]) >= 3
    assert [PAIRS[f"c{index}"][0] for index in range(6)] == [colour.lower() for colour in COLOURS]
