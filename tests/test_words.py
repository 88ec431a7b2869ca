"""Words and numbers as a person reads them, and the table for a terminal."""

from __future__ import annotations

import math
import os
from dataclasses import replace

import pytest
import synthetic
from rich.console import Console

from rnnbench.escaping import safe
from rnnbench.records import Finding
from rnnbench.report.terminal import table
from rnnbench.report.words import digits, listed, seconds, size, times


def test_the_terminal_takes_names_literally() -> None:
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        console.print(table(synthetic.hostile()))
        text = console.export_text(styles=True)
    assert "[bold red]markup[/bold red]" in text
    assert not set("\u202e\u200f\a\t") & set(text)


def test_the_terminal_has_a_row_per_case_and_its_interval() -> None:
    results = synthetic.timed({"torch": 1e-5, "jax": 2e-5})
    noisy = replace(results.records[1], findings=(Finding("noisy", "spread of 9 %"),))
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        console.print(table(replace(results, records=(results.records[0], noisy))))
        lines = console.export_text().splitlines()
    (torch,) = [line for line in lines if "torch native" in line]
    (jax,) = [line for line in lines if "jax native" in line]
    assert "1.00×" in torch
    assert "µs" in torch
    assert "1.50×" in jax or "1.49×" in jax or "1.51×" in jax
    assert "noisy" in jax


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (seconds(0.00123456), "1.23 ms"),
        (seconds(-0.00123456), "-1.23 ms"),
        (seconds(0.0), "0 s"),
        (seconds(12.3), "12.3 s"),
        (seconds(1.5e-3, "µs"), "1500 µs"),
        (seconds(None), "–"),
        (seconds(math.inf), "∞"),
        (digits(0.9996), "1.000"),
        (digits(1e9), "1.00e+09"),
        (digits(-0.5), "-0.500"),
        (digits(math.nan), "–"),
        (size(0), "0 B"),
        (size(1536), "1.5 KiB"),
        (size(3 << 30), "3.00 GiB"),
        (times(1.234), "1.23×"),
        (listed(["a", "b", "c"]), "a, b and c"),
        (listed([]), ""),
        (safe("a\x1b[31mb"), "a\\x1b[31mb"),
        (safe("x" * 30, 10), "x" * 9 + "…"),
        (safe("👩‍🔬"), "👩‍🔬"),
    ],
)
def test_words(said: str, words: str) -> None:
    assert said == words
