"""Real runs that are killed, starved and lied to: nothing recorded is lost, no wrong number is stored.

The command line runs as a user runs it, except that its protocol is short (``quick_cli.py``). Moments are
random with fixed seeds; what is asserted holds at every moment, so no test depends on the machine's speed.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO

import psutil
import pytest

from rnnbench.measuring.log import Log
from rnnbench.records import Record
from rnnbench.results.reading import RunResults, read

pytestmark = [
    pytest.mark.slow,  # real processes
    pytest.mark.skipif(os.name != "posix", reason="signals"),
]
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a worker in the middle of C code")

HERE = Path(__file__).parent
SUITE = str(HERE / "faulty.yaml")
PLUGINS = (str(HERE / "example-plugin" / "rnnbench_example.py"), str(HERE / "faulty_plugin.py"))
MARK = "RNNBENCH_TEST_MARK"
END_LIMIT_S = 400.0
"""For the busiest machine; what is really bounded is bounded by the limits that the runs are given."""

SMALL = (
    *("--backend", "toy", "--set", "cell=leaky_rnn", "--set", "implementation=portable,whole_sequence"),
    *("--set", "length=2,3", "--set", "processes=2", "--set", "measure=forward,score"),
)
"""Two groups of two cases, all at one worker; a second process for each."""

FORWARD = ("--set", "measure=forward")


@dataclass(frozen=True)
class Place:
    """A folder for a run, and all processes that descend from what was started here."""

    folder: Path
    mark: str

    def start(
        self,
        *words: str,
        resume: bool = False,
        stdout: int | IO[str] = subprocess.PIPE,
        under: Sequence[str] = (),
        **variables: str,
    ) -> subprocess.Popen[str]:
        options = [option for file in PLUGINS for option in ("--plugin", file)]
        where = ["--resume" if resume else "--out", str(self.folder)]
        environment = {**os.environ, MARK: self.mark}
        environment |= {f"RNNBENCH_TEST_{name}": value for name, value in variables.items()}
        return subprocess.Popen(
            [*under, sys.executable, str(HERE / "quick_cli.py"), "run", SUITE, *options, *words, *where],
            env=environment,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )

    def run(self, *words: str, resume: bool = False, **variables: str) -> tuple[int, str, str]:
        """(exit status, what it said, its errors), in bounded time."""
        return ended(self.start(*words, resume=resume, **variables))

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def workers(self) -> list[psutil.Process]:
        return [process for process in self.processes() if "rnnbench.measuring.worker" in said_by(process)]

    def is_deserted(self) -> bool:
        return not self.processes()

    def lines(self, name: str) -> list[str]:
        file = self.folder / f"{name}.jsonl"
        return file.read_text().splitlines() if file.exists() else []

    def is_begun(self) -> bool:
        return (self.folder / "run.json").exists()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    here = Place(tmp_path / "run", str(tmp_path))
    yield here
    try:
        wait_for(here.is_deserted, "a process lives on")
    finally:
        for process in here.processes():
            process.kill()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResults, float]:
    """What ``SMALL`` gives when nothing happens to it, and how long that takes."""
    path = tmp_path_factory.mktemp("undisturbed")
    begin = time.monotonic()
    status, _, errors = Place(path / "run", str(path)).run(*SMALL)
    assert (status, errors) == (0, "")
    return read(path / "run"), time.monotonic() - begin


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        said, errors = process.communicate(timeout=END_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError("the run does not end") from None
    return process.returncode, said, errors


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def said_by(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def wait_for(
    condition: Callable[[], object],
    why: str,
    process: subprocess.Popen[str] | None = None,
    limit_s: float = 120.0,
) -> None:
    """``process`` is the one that brings it about."""
    end = time.monotonic() + limit_s
    while not condition():
        assert process is None or process.poll() is None, (why, process.communicate())
        assert time.monotonic() < end, why
        time.sleep(0.05)


def by_backend(results: RunResults) -> dict[str, Record]:
    return {record.case.backend: record for record in results.records}


def shape(results: RunResults) -> tuple[set[tuple[str, str, bool]], dict[object, dict[int, list[int]]]]:
    """All that two runs of one suite have in common: which cases came to what, and which blocks there are."""
    records = {(record.case.key, record.status, record.score is None) for record in results.records}
    blocks = {
        of: {process: sorted(rounds) for process, rounds in processes.items()}
        for of, processes in results.timings.items()
    }
    return records, blocks


FAULTS: dict[str, tuple[str, str]] = {
    "toy": ("ok", "^$"),
    "flooding": ("ok", "^$"),
    "brooding": ("ok", "^$"),
    "segfaulting": ("crashed", "killed by SIGSEGV during first"),
    "hanging_in_c": ("timeout", "limit of .* s for a case was over during first"),
    "freezing": ("timeout", "limit of .* s for a case was over during first"),
    "bloating": ("out_of_memory", "^MemoryError$"),
    "deserting": ("crashed", "killed by SIGSEGV during first"),
    "scribbling": ("crashed", "reply to first could not be read: it is not whole"),
    "stalling": ("crashed", "reply to first could not be read: it is not whole"),
    "weird": ("crashed", r"ended with status 1 during first\..*Weird: not an"),
    "interrupting": ("crashed", "KeyboardInterrupt"),
    "leaving_in_peace": ("crashed", "ended with status 0 during first"),
    "timeless": ("failed", "seconds is nan, not a time within"),
    "backward": ("failed", "seconds is -.*, not a time within"),
    "hasty": ("failed", "seconds is .*, not a time within the .* s that the request took"),
    "wordy": ("failed", "TypeError"),
    "pathless": ("failed", "path is None, not the name of a kernel path"),
    "uncounted": ("failed", "compilations is 'many', not a count"),
    "immense": ("failed", "device_peak_bytes is 1e.300, not a number of bytes"),
}


@linux
def test_whatever_a_worker_does_its_case_ends_with_a_reason_and_the_others_go_on(
    place: Place, undisturbed: tuple[RunResults, float]
) -> None:
    limit_s = max(3.0, undisturbed[1] / 2)  # enough for those that do not hang
    words = ("--backend", ",".join(FAULTS), "--set", "measure=forward,memory")
    status, _, errors = place.run(*words, LIMIT_S=str(limit_s))
    assert (status, errors) == (6, "")
    results = read(place.folder)
    assert results.problems == ()
    assert results.run.finished
    found = by_backend(results)
    assert {name: record.status for name, record in found.items()} == {
        name: status for name, (status, _) in FAULTS.items()
    }
    for name, (_, reason) in FAULTS.items():
        assert re.search(reason, found[name].reason), (name, found[name].reason)
    assert len(place.lines("records")) == len(FAULTS), "one record each"
    timed = {block.case for block in results.blocks}
    # their times were whole and right; it is their memory that was not
    assert timed == {found[name].case.key for name in ("toy", "flooding", "brooding", "immense")}
    assert all(0 < block.seconds < limit_s for block in results.blocks)


def test_what_is_printed_for_ever_fills_no_disk() -> None:
    log = Log()
    line = b"x" * 1023 + b"\n"
    for _ in range(40):
        os.write(log.writer.fileno(), line * 1024)
        log.trim()
        assert os.fstat(log.writer.fileno()).st_size <= 16 << 20
    os.write(log.writer.fileno(), b"the end\n")
    assert log.tail().endswith("| the end")
    log.close()


@linux
@pytest.mark.parametrize("backend", ["hanging_in_c", "brooding"])
def test_kill_9_of_the_parent_ends_all_that_its_workers_started(
    backend: str, place: Place, tmp_path: Path
) -> None:
    hangs = tmp_path / "it hangs"
    process = place.start("--backend", backend, "--set", "rounds=500", *FORWARD, HANGS=str(hangs))
    # in the middle of C code, or with children beside its guard
    busy = {
        "hanging_in_c": hangs.exists,
        "brooding": lambda: len(place.lines("blocks")) >= 2,
    }[backend]
    wait_for(busy, "the fault has not come", process)
    assert len(place.workers()) >= 1
    killed(process)
    wait_for(place.is_deserted, "a process lives on", limit_s=30)


@pytest.mark.parametrize("seed", [1, 2])
def test_kill_9_of_the_parent_at_any_moment_costs_only_what_was_in_hand(
    seed: int, place: Place, undisturbed: tuple[RunResults, float]
) -> None:
    expected, whole_s = undisturbed
    rng = random.Random(seed)
    for _ in range(2):
        blocks, records = place.lines("blocks"), place.lines("records")
        process = place.start(*SMALL, resume=place.is_begun())
        time.sleep(rng.uniform(0.1, 1.0) * whole_s)
        killed(process)
        wait_for(place.is_deserted, "a worker lives on", limit_s=30)
        if not place.is_begun():
            continue
        now = read(place.folder)
        assert now.problems == ()
        for name, before in (("blocks", blocks), ("records", records)):
            # at most the torn end of a line was taken away again
            whole = [line for line in before if _is_json(line)]
            assert place.lines(name)[: len(whole)] == whole, name
    done = read(place.folder) if place.is_begun() else None
    blocks = place.lines("blocks")
    status, _, errors = place.run(*SMALL, resume=place.is_begun())
    assert (status, errors) == (0, "")
    results = read(place.folder)
    assert results.problems == ()
    assert results.run.finished
    assert shape(results) == shape(expected)
    if done is not None:  # groups that were recorded as a whole are not measured again
        keys = {record.case.key for record in done.records}
        groups = [{r.case.key for r in results.records if r.case.group == g} for g in _groups(results)]
        recorded = {key for group in groups if group <= keys for key in group}
        again = [json.loads(line) for line in place.lines("blocks")[len(blocks) :]]
        assert not [block for block in again if block["case"] in recorded and block["process"] == 0]
    if seed != 1:
        return
    written = place.lines("blocks"), place.lines("records")
    assert place.run(*SMALL, resume=True)[0] == 0
    assert (place.lines("blocks"), place.lines("records")) == written, "a finished run is not repeated"


def _groups(results: RunResults) -> set[tuple[object, ...]]:
    return {record.case.group for record in results.records}


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("seed", [1, 2])
def test_kill_9_of_workers_at_any_moment_costs_their_cases_only(
    seed: int, place: Place, undisturbed: tuple[RunResults, float]
) -> None:
    expected, whole_s = undisturbed
    rng = random.Random(seed)
    process = place.start(*SMALL)
    wait_for(place.workers, "no worker")
    for _ in range(3):
        time.sleep(rng.uniform(0, 0.2) * whole_s)
        for worker in rng.sample(living := place.workers(), min(1, len(living))):
            worker.kill()
    status, _, errors = ended(process)
    results = read(place.folder)
    assert (errors, results.problems) == ("", ())
    assert results.run.finished
    assert {record.case.key for record in results.records} == {record.case.key for record in expected.records}
    crashed = [record for record in results.records if record.status != "ok"]
    assert {record.status for record in crashed} <= {"crashed"}
    assert [record.reason for record in crashed if "SIGKILL" not in record.reason] == []
    assert status == (6 if crashed else 0)
    well = {record.case.key for record in results.records if record.status == "ok"}
    whole, given = shape(expected)[1], shape(results)[1]
    assert {of: rounds for of, rounds in given.items() if of[0] in well} == {
        of: rounds for of, rounds in whole.items() if of[0] in well
    }


def test_a_file_that_may_not_grow_ends_the_run_in_one_line_and_it_goes_on_later(place: Place) -> None:
    words = ("--backend", "toy", "--set", "rounds=60", *FORWARD)
    status, _, errors = place.run(*words, FILE_BYTES="4000")
    assert status == 1
    assert len(errors.splitlines()) == 1, errors
    assert "results cannot be written: File too large. What was written is whole" in errors
    assert f"--resume {place.folder}" in errors
    results = read(place.folder)
    assert results.problems == ()
    assert 10 < len(results.blocks) < 60
    assert not results.run.finished
    kept = place.lines("blocks")[: len(results.blocks)]
    status, _, errors = place.run(*words, resume=True)
    assert (status, errors) == (0, "")
    assert place.lines("blocks")[: len(kept)] == kept
    results = read(place.folder)
    assert results.problems == ()
    assert [len(rounds) for rounds in next(iter(results.timings.values())).values()] == [60]


@linux
def test_a_full_disk_behind_stdout_loses_no_result(place: Place) -> None:
    with open("/dev/full", "w") as full:
        process = place.start("--backend", "toy,segfaulting", *FORWARD, stdout=full)
        status, _, errors = ended(process)
    assert (status, errors) == (1, "rnnbench: nothing more can be printed: No space left on device\n")
    results = read(place.folder)
    assert results.run.finished
    assert {record.status for record in results.records} == {"ok", "crashed"}
    assert (place.folder / "report.html").exists()


def test_a_folder_that_is_removed_ends_the_run_and_is_not_made_again(place: Place) -> None:
    process = place.start("--backend", "toy", "--set", "rounds=1000", *FORWARD)
    wait_for(lambda: len(place.lines("blocks")) > 3, "nothing was measured", process)
    shutil.rmtree(place.folder)
    status, _, errors = ended(process)
    assert status == 1
    assert "the results folder was removed or renamed during the run" in errors
    assert "whole" not in errors, "it is gone"
    assert "--resume" not in errors
    assert len(errors.splitlines()) == 1
    assert not place.folder.exists()


@linux
def test_a_disk_that_is_full_ends_the_run_in_one_line(place: Place, tmp_path: Path) -> None:
    disk, seen = tmp_path / "disk", replace(place, folder=tmp_path / "seen")
    disk.mkdir()
    alone = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    mounted = [*alone, "sh", "-c", f"mount -t tmpfs -o size=48k none {disk} && exec true"]
    if not shutil.which("unshare") or subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("no disk of one's own can be mounted here")
    script = (
        f'mount -t tmpfs -o size=48k none {disk} && "$@"; code=$?; cp -R {disk}/run {seen.folder}; exit $code'
    )
    words = ("--backend", "toy", "--set", "rounds=500", *FORWARD)
    process = replace(place, folder=disk / "run").start(*words, under=[*alone, "sh", "-c", script, "sh"])
    status, _, errors = ended(process)
    assert status == 1
    assert "results cannot be written: No space left on device. What was written is whole" in errors
    assert len(errors.splitlines()) == 1
    results = read(seen.folder)
    assert results.problems == ()
    assert 50 < len(results.blocks) < 500
    status, _, errors = seen.run(*words, resume=True)
    assert (status, errors) == (0, "")
    assert read(seen.folder).run.finished


def test_a_folder_that_becomes_read_only_keeps_what_was_measured(place: Place) -> None:
    # root writes everywhere, unless that power is taken from it
    powerless = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if powerless and not shutil.which(powerless[0]):
        pytest.skip("root writes everywhere")
    words = ("--backend", "toy", "--set", "rounds=200", *FORWARD)
    process = place.start(*words, under=powerless)
    wait_for(lambda: len(place.lines("blocks")) > 3, "nothing was measured", process)
    place.folder.chmod(0o500)
    try:
        status, _, errors = ended(process)
    finally:
        place.folder.chmod(0o700)
    assert status == 1
    assert "results cannot be written: Permission denied" in errors
    assert len(read(place.folder).records) == 1
    assert place.run(*words, resume=True)[0] == 0
    assert read(place.folder).run.finished


def test_two_runs_never_share_a_folder(place: Place) -> None:
    words = ("--backend", "toy", "--set", "rounds=1000", "--set", "processes=100", *FORWARD)
    first = place.start(*words)
    wait_for(lambda: len(place.lines("blocks")) > 3, "nothing was measured", first)
    for resume in (False, True):
        status, _, errors = place.run(*words, resume=resume)
        assert status == 2
        assert "another run is writing to this folder" in errors
        assert len(errors.splitlines()) == 1
    blocks = place.lines("blocks")
    killed(first)  # and the lock dies with its holder
    status, _, errors = place.run("--backend", "toy", "--set", "rounds=2", *FORWARD, resume=True)
    assert (status, errors) == (0, "")
    assert place.lines("blocks")[: len(blocks) - 1] == blocks[:-1]


def test_of_two_runs_that_begin_at_once_in_one_folder_one_is_refused(place: Place) -> None:
    words = ("--backend", "toy", "--set", "rounds=200", *FORWARD)
    both = [place.start(*words), place.start(*words)]
    came = [ended(process) for process in both]
    assert sorted(status for status, _, _ in came) == [0, 2]
    (errors,) = [errors for status, _, errors in came if status == 2]
    assert str(place.folder) in errors
    results = read(place.folder)
    assert (len(results.records), len(results.blocks), results.problems) == (1, 200, ())


STEPPING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(which, now);
    if (which == CLOCK_REALTIME) now->tv_sec += rand() % 72000 - 36000;
    return code;
}
"""


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="needs a C compiler on Linux")
def test_a_clock_that_steps_changes_no_time(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stepping.c").write_text(STEPPING)
    library = tmp_path / "stepping.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "stepping.c", "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    asked = [sys.executable, "-c", "import time; print(*[int(time.time()) for _ in range(9)])"]
    times = [int(word) for word in subprocess.run(asked, capture_output=True, check=True).stdout.split()]
    assert max(times) - min(times) > 600, "the clock does not step"
    begin = time.monotonic()
    status, _, errors = place.run("--backend", "toy", "--set", "processes=2", "--budget", "10 min")
    took_s = time.monotonic() - begin
    assert (status, errors) == (0, "")
    results = read(place.folder)
    assert {record.status for record in results.records} == {"ok"}
    assert results.run.findings == ()
    assert all(0 < block.seconds < took_s for block in results.blocks)
    assert all(0 <= s < took_s for record in results.records for s in record.phases.values())
    assert all(0 <= seconds < took_s for seconds in results.run.spent_s.values())
    started, finished = (datetime.fromisoformat(t) for t in (results.run.started, results.run.finished))
    assert 0 <= (finished - started).total_seconds() <= math.ceil(took_s)


def goes_on(place: Place, words: Sequence[str], said: str) -> None:
    """What an interrupted run said and left is enough to go on."""
    assert "Interrupted. What was measured is kept. Go on with: rnnbench run" in said
    assert said.rstrip().endswith(f"--resume {place.folder}")
    assert read(place.folder).problems == ()
    status, _, errors = place.run(*words, resume=True)
    assert (status, errors) == (0, "")


@pytest.mark.parametrize(
    "at",
    ["gate:SIGINT", "training:SIGTERM", "page:SIGINT"],
)
def test_an_interrupt_in_the_middle_of(at: str, place: Place) -> None:
    words = ("--backend", "toy", "--set", "measure=forward,train_step,score")
    page = {"PAGE": "1"} if at.startswith("page") else {}
    status, said, errors = place.run(*words, SIGNAL=at, **page)
    assert (status, errors) == (130 if at.endswith("SIGINT") else 143, "")
    assert place.is_deserted(), "it ends its workers in order"
    if at.startswith("gate"):
        assert read(place.folder).records == ()
        return
    goes_on(place, words, said)
    results = read(place.folder)
    assert [(record.status, record.score is not None) for record in results.records] == [("ok", True)]
    assert (place.folder / "report.html").exists()


@pytest.mark.parametrize(("seed", "number"), [(1, signal.SIGINT), (2, signal.SIGTERM)])
def test_a_signal_at_any_moment_ends_the_run_in_order(
    seed: int,
    number: signal.Signals,
    place: Place,
    tmp_path: Path,
    undisturbed: tuple[RunResults, float],
) -> None:
    process = place.start(*SMALL, READY=str(tmp_path / "ready"))
    wait_for((tmp_path / "ready").exists, "it does not begin", process)
    time.sleep(random.Random(seed).uniform(0, undisturbed[1]))
    process.send_signal(number)
    status, said, errors = ended(process)
    # it may have been through already
    assert (status, errors) in ((128 + number, ""), (0, ""))
    wait_for(place.is_deserted, "a process lives on", limit_s=30)
    if status and place.is_begun():
        goes_on(place, SMALL, said)
        assert shape(read(place.folder)) == shape(undisturbed[0])
