"""What a run has so far: the records and blocks of an earlier sitting, and each new one, written at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from typing import Any
from typing import Protocol as Interface

from rnnbench.errors import RnnbenchError
from rnnbench.measuring.budget import LEAST_ROUNDS
from rnnbench.measuring.refusals import Refused
from rnnbench.measuring.stations import Station, timed_phases
from rnnbench.records import Block, Case, Finding, Measure, Record
from rnnbench.results import Writer
from rnnbench.results.reading import RunResults, timings


class WriteFailed(RnnbenchError):
    """The results cannot be written any more; what was written before is whole."""


class Progress(Interface):
    """Who is told what happens; the command line shows it."""

    def note(self, text: str) -> None:
        """What is being done now."""
        ...

    def record(self, record: Record) -> None:
        """A case has a new record."""
        ...


class Ledger:
    """Records by case key, and blocks by case key."""

    def __init__(self, writer: Writer, progress: Progress, done: RunResults | None) -> None:
        """``done``: what an earlier sitting left.

        Its cases that were skipped are open again (a budget was spent, a package was absent), except
        beside cases that were measured: turns cannot be taken with the past.
        """
        self._writer, self._progress = writer, progress
        self.records: dict[str, Record] = {}
        self.blocks: dict[str, list[Block]] = {}
        if done is not None:
            measured = {r.case.group for r in done.records if r.status not in ("skipped", "unsupported")}
            self.records = {
                record.case.key: record
                for record in done.records
                if record.status != "skipped" or record.case.group in measured
            }
            for block in done.blocks:
                self.blocks.setdefault(block.case, []).append(block)

    def reopen(self, cases: Iterable[Case]) -> None:
        """Forget what was measured of cases: they are measured again."""
        for case in cases:
            self.records.pop(case.key, None)
            self.blocks.pop(case.key, None)

    def note(self, text: str) -> None:
        """What is being done now."""
        self._progress.note(text)

    def keep_block(self, block: Block) -> None:
        """Write one raw time."""
        self.blocks.setdefault(block.case, []).append(block)
        with writing():
            self._writer.block(block)

    def keep(self, record: Record) -> None:
        """Write what came of a case; the last record of a case holds."""
        self.records[record.case.key] = record
        with writing():
            self._writer.record(record)
        self._progress.record(record)

    def amend(self, case: Case, findings: tuple[Finding, ...] = (), **changes: Any) -> None:
        """Write a case's record again with changes and further findings.

        What an earlier sitting said of a score that the budget cut or prevented does not hold for a new one.
        """
        record = self.records[case.key]
        kept = [each for each in record.findings if "score" not in changes or each.word != "over_budget"]
        self.keep(replace(record, findings=tuple(dict.fromkeys((*kept, *findings))), **changes))

    def fail(self, station: Station, refused: Refused) -> None:
        """A case ended otherwise than well; what an earlier process learned of it stays."""
        self.end(station.case, refused, station.record(refused.status, refused.reason))

    def end(self, case: Case, refused: Refused, fresh: Record | None = None) -> None:
        """The same for a case that has perhaps not come to a station; ``fresh`` is its first record."""
        if case.key in self.records:
            self.amend(case, status=refused.status, reason=refused.reason)
        else:
            self.keep(fresh or Record(case, refused.status, refused.reason))

    def is_ok(self, case: Case) -> bool:
        """The case went well so far."""
        return self.records[case.key].status == "ok"

    def needs_score(self, case: Case) -> bool:
        """The case went well and asks for a score that it has not."""
        return self.is_ok(case) and "score" in case.measure and self.records[case.key].score is None

    def trained(self, case: Case) -> Record | None:
        """The record of the case on which an earlier sitting trained this network in this environment."""
        for record in self.records.values():
            score = record.score
            own = score is not None and score.trained_on == record.case.key
            same = (record.case.network, record.case.env) == (case.network, case.env)
            if own and record.status == "ok" and same:
                return record
        return None

    def needs_blocks(self, case: Case, process: int, rounds: int) -> bool:
        """The case has fewer rounds of a process than count, of at most ``rounds``."""
        blocks = [block for block in self.blocks.get(case.key, ()) if block.process == process]
        given = {block.round for block in blocks if block.phase == timed_phases(case)[-1]}
        return len(given) < min(LEAST_ROUNDS, rounds)

    def median_s(self, case: Case) -> dict[Measure, float]:
        """Seconds per call of each phase, of all blocks so far."""
        return {
            phase: median(time for rounds in processes.values() for time in rounds.values())
            for (_, phase), processes in timings(self.blocks.get(case.key, ())).items()
        }


@contextmanager
def writing() -> Iterator[None]:
    """Say in one line what a disk refuses. Raises WriteFailed."""
    try:
        yield
    except FileNotFoundError as error:
        raise WriteFailed("the results folder was removed or renamed during the run") from error
    except OSError as error:
        raise WriteFailed(
            f"results cannot be written: {error.strerror}. What was written is whole"
        ) from error
