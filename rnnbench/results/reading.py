"""From results/<run>/ to values. Nothing here writes, and no damage stops the reading of the rest."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from rnnbench.errors import RequestError
from rnnbench.records import FORMAT, Block, Measure, Record, Run
from rnnbench.results.encoding import Line, decode, decode_all
from rnnbench.stacked import Stack
from rnnbench.stats import Interval, Samples, Summary, summarize

RUN, RECORDS, BLOCKS = "run.json", "records.jsonl", "blocks.jsonl"

Timings = Mapping[tuple[str, Measure], Samples]


@dataclass(frozen=True)
class RunResults:
    """A run as read: one record per case, the last one written; ``problems`` name the lines not used."""

    run: Run
    records: tuple[Record, ...]
    blocks: tuple[Block, ...]
    problems: tuple[str, ...] = ()

    @cached_property
    def timings(self) -> Timings:
        """(case key, phase) -> process -> round -> seconds per call."""
        return timings(self.blocks)

    @cached_property
    def stack(self) -> Stack:
        """The values of ``timings`` in their order."""
        return Stack(list(self.timings.values()))

    @cached_property
    def summaries(self) -> Mapping[tuple[str, Measure], Summary]:
        """(case key, phase) -> what its processes come to."""
        return dict(zip(self.timings, summarize(self.stack), strict=True))

    @cached_property
    def estimates(self) -> Mapping[tuple[str, Measure], Interval]:
        """(case key, phase) -> seconds per call, with 99 % bounds."""
        return {at: summary.interval() for at, summary in self.summaries.items()}

    def with_records(self, records: Iterable[Record]) -> RunResults:
        """The same run, and so the same timings, with other records."""
        changed = replace(self, records=tuple(records))
        # to sort a hundred thousand blocks twice takes long
        vars(changed).update(timings=self.timings, stack=self.stack, estimates=self.estimates)
        return changed


def read(folder: Path) -> RunResults:
    """The run in ``folder`` as it is stored; ``rnnbench.results.open_run`` adds what its numbers give.

    A last line that a kill cut off is ignored; a damaged line elsewhere is named in ``problems``, and all
    others are used. Raises ``RequestError`` for a folder that holds no run or one of a newer format.
    """
    run = read_run(folder)
    problems: list[str] = []
    records = {record.case.key: record for record in _lines(folder / RECORDS, Record, problems)}
    blocks = tuple(_lines(folder / BLOCKS, Block, problems))
    return RunResults(run, tuple(records.values()), blocks, tuple(problems))


def read_run(folder: Path) -> Run:
    """run.json alone. Raises ``RequestError`` where it is missing, not ours, damaged or of a newer format."""
    path = folder / RUN
    if not folder.is_dir():
        raise RequestError("no such results folder.", where=str(folder))
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise RequestError(f"holds no {RUN}: not the folder of a run.", where=str(folder)) from None
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}.", where=str(path)) from None
    try:
        fields = json.loads(content)
        version = fields["format"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise RequestError(
            "not written by rnnbench: no JSON object with a format.", where=str(path)
        ) from None
    if isinstance(version, int) and version > FORMAT:
        raise RequestError(
            f"has format {version}; this rnnbench {_allowed()}. Update rnnbench to read it.", where=str(path)
        )
    if version != FORMAT:
        raise RequestError(f"has format {version!r:.20}; this rnnbench {_allowed()}.", where=str(path))
    try:
        return decode(Run, content)
    except RequestError as error:
        raise RequestError(f"damaged: {error}", where=str(path)) from None


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """The folders of runs at or directly below ``paths``, by name. Raises ``RequestError`` for none."""
    found: list[Path] = []
    for path in paths:
        if (path / RUN).exists():
            found.append(path)
            continue
        below = sorted(entry.parent for entry in path.glob(f"*/{RUN}"))
        if not below:
            raise RequestError(f"no run at or below this path (a run has a {RUN}).", where=str(path))
        found += below
    return list(dict.fromkeys(found))


def timings(blocks: Iterable[Block]) -> dict[tuple[str, Measure], dict[int, dict[int, float]]]:
    """Blocks by (case key, phase), process and round, in seconds per call.

    Rounds of a process rise; where one does not, the case was begun again (after a kill, by a resumed
    run), and what that process gave before is forgotten: two sittings are never one sample.
    """
    found: dict[tuple[str, Measure], dict[int, dict[int, float]]] = {}
    for block in blocks:
        at = block.case, block.phase
        processes = found.get(at)
        if processes is None:
            processes = found[at] = {}
        rounds = processes.get(block.process)
        if rounds is None or block.round <= next(reversed(rounds)):
            processes[block.process] = {block.round: block.per_call_s}
        else:
            rounds[block.round] = block.per_call_s
    return found


@contextmanager
def collection_paused() -> Iterator[None]:
    """A hundred thousand small values and no cycle among them: looking for cycles costs a third."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _allowed() -> str:
    return f"reads format {FORMAT}"


def _lines(path: Path, kind: type[Line], problems: list[str]) -> list[Line]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(f"{path.name}: cannot be read: {error.strerror}")
        return []
    end = content.rfind(b"\n") + 1
    whole, rest = content[:end], content[end:]
    found = decode_all(kind, whole)
    values: list[Line] = [] if found is None else found
    if found is None:
        for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
            try:
                values.append(decode(kind, line))
            except RequestError as error:
                problems.append(f"{path.name}:{number}: {error}")
    if rest:
        with suppress(RequestError):
            # what follows the last newline is the line in hand at a kill, whole or not
            values.append(decode(kind, rest))
    return values
