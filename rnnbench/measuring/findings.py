"""Doubts that only the run itself can see, each a word and its sentence. Nothing here measures or writes."""

from __future__ import annotations

from collections.abc import Iterator

from rnnbench.measuring.stations import Station
from rnnbench.records import Finding


def of_first_process(station: Station) -> Iterator[Finding]:
    """What the first process has shown of a case: cores, and compilations after warm-up."""
    threads, cores = station.case.threads, station.cores
    if cores == 0:
        yield Finding("not_pinned", "this system cannot pin a process to cores")
    elif cores < threads:
        yield Finding("not_pinned", f"{threads} threads share {cores} cores, all that are allowed here")
    yield from _recompiled(station, 0)


def of_further_process(station: Station, process: int, path: str) -> Iterator[Finding]:
    """What a further process has shown: compilations after warm-up, or another kernel than ``path``."""
    yield from _recompiled(station, process)
    if station.path != path:
        text = f'in process {process + 1} it ran "{station.path}", before "{path}"'
        yield Finding("path_differs", text)


def _recompiled(station: Station, process: int) -> Iterator[Finding]:
    if station.compiled_in_blocks:
        yield Finding(
            "recompiled",
            f"{station.compiled_in_blocks} compilations after warm-up in process {process + 1}; "
            "their blocks do not count",
        )
