"""Real worker processes with the toy backend and with those that go wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from rnnbench.contracts import Batch, Settings
from rnnbench.measuring import process as process_module
from rnnbench.measuring.bench import _valid
from rnnbench.measuring.launch import Environment, allowed_cores, choose_cores
from rnnbench.measuring.log import Log
from rnnbench.measuring.memory import HostPeak, resident_bytes
from rnnbench.measuring.oom import count_oom_kills
from rnnbench.measuring.process import Worker, WorkerKey
from rnnbench.measuring.refusals import Refused, WorkerDied, describe_death, refusing
from rnnbench.measuring.workers import Workers

pytestmark = pytest.mark.slow  # real workers

HERE = Path(__file__).parent
PLUGINS = (str(HERE / "example-plugin" / "rnnbench_example.py"), str(HERE / "faulty_plugin.py"))
BUILD: dict[str, Any] = {
    "id": "a",
    "spec": {
        "cell": "lstm", "input_size": 2, "hidden": 3, "output_size": 1, "readout": "last", "loss": "mse",
    },
    "training": {"optimizer": "sgd", "lr": 0.1, "clip": None},
    "implementation": "portable", "task": "adding", "length": 4, "size": 2, "init": "glorot", "gain": 1.0,
    "forget_bias": 1.0, "seed": 0,
}  # fmt: skip
posix = pytest.mark.skipif(os.name != "posix", reason="signals")


def key(backend: str, **settings: Any) -> WorkerKey:
    return WorkerKey(backend, Settings(**settings))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[psutil.Process]]:
    """Every process that a test starts; none of them may outlive it, nor any file."""
    processes: list[psutil.Process] = []
    popen = subprocess.Popen

    def spawn(*arguments: Any, **options: Any) -> Any:
        process = popen(*arguments, **options)
        processes.append(psutil.Process(process.pid))
        return process

    monkeypatch.setattr(process_module.subprocess, "Popen", spawn)
    before = logs()
    yield processes
    assert [process for process in processes if process.is_running()] == []
    assert logs() <= before


def logs() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("rnnbench-worker-*"))


def test_open_build_block_stop(started: list[psutil.Process]) -> None:
    with Workers(PLUGINS, ()) as workers:
        worker = workers.of(key("toy"))
        assert workers.of(key("toy")) is worker
        assert worker.opened["devices"] == ["cpu"]
        assert worker.opened["versions"]["numpy"] == np.__version__
        assert worker.opened["pinned"] == choose_cores(1)
        assert started[0].cpu_affinity() == choose_cores(1) or not choose_cores(1)
        built = worker.ask("build", 60, **BUILD)
        # LSTM of I=2, H=3: 4·(2·3 + 3·3 + 3) = 72; head: 3 + 1
        assert built["parameters"] == 76
        assert built["path"] == "Python loop, autograd tape"
        one = worker.ask("block", 60, id="a", phase="forward", loops=5)["seconds"]
        many = worker.ask("block", 60, id="a", phase="forward", loops=100)["seconds"]
        assert 0 < one < many
        assert worker.ask("memory", 60, id="a", phase="forward").get("host_peak_bytes", 1) > 0
        with pytest.raises(Refused, match="KeyError") as refused:
            worker.ask("block", 60, id="unknown", phase="forward", loops=1)
        assert refused.value.status == "failed"
        assert "Traceback" in refused.value.trace
        assert worker.ask("block", 60, id="a", phase="forward", loops=1)["seconds"] > 0


def test_a_score_of_outputs_that_are_no_numbers_says_so(started: list[psutil.Process]) -> None:
    """NaN that comes with the last update is in no loss; its argmax would be class 0."""
    with Workers(PLUGINS, ()) as workers:
        worker = workers.of(key("exploding"))
        worker.ask("build", 60, **BUILD)
        assert worker.ask("evaluate", 60, id="a")["finite"] is True
        worker.ask("train", 60, id="a", steps=3, at_most_s=60.0)
        assert worker.ask("evaluate", 60, id="a")["finite"] is True
        worker.ask("train", 60, id="a", steps=1, at_most_s=60.0)
        assert worker.ask("evaluate", 60, id="a")["finite"] is False


def test_padding_may_hold_anything() -> None:
    outputs = np.zeros((2, 3, 1))
    outputs[0, 2] = np.nan
    batch = Batch(inputs=outputs, targets=outputs, lengths=np.array([2, 3]))
    assert np.isfinite(_valid(outputs, batch)).all()
    assert _valid(outputs, batch).shape == (5, 1)
    assert not np.isfinite(_valid(outputs, replace(batch, lengths=np.array([3, 3])))).all()


def test_a_tiny_network_settles_a_worker_once(started: list[psutil.Process]) -> None:
    with Workers(PLUGINS, ()) as workers:
        refusing = workers.of(key("refusing"))
        tiny = {"spec": BUILD["spec"], "implementation": "portable"}
        with pytest.raises(Refused, match="not on a Sunday"):
            refusing.ask("settle", 60, **tiny)
        toy = workers.of(key("toy"))
        toy.ask("settle", 60, **tiny)
        assert toy.ask("settle", 60, spec={}, implementation="none") == {}, "once is enough"


def test_pins_two_threads_before_any_pool_exists(started: list[psutil.Process]) -> None:
    cores = allowed_cores()
    if len(cores) < 2:
        pytest.skip("one core cannot be told from another")
    with Workers(PLUGINS, ()) as workers:
        worker = workers.of(key("toy", threads=1))
        affinities = {tuple(sorted(os.sched_getaffinity(thread.id))) for thread in started[0].threads()}
        assert affinities == {tuple(worker.opened["pinned"])}
        assert workers.of(key("toy", threads=2)).opened["pinned"] == cores[-2:]


@posix
def test_pause_and_resume(started: list[psutil.Process]) -> None:
    with Workers(PLUGINS, ()) as workers:
        worker = workers.of(key("toy"))
        worker.pause()
        worker.pause()
        _wait_for(lambda: started[0].status() == psutil.STATUS_STOPPED)
        assert worker.ask("drop", 10, id="a") == {}
        assert started[0].status() != psutil.STATUS_STOPPED
        worker.pause()  # and a paused worker stops in good order too
        begin = time.monotonic()
    assert time.monotonic() - begin < 1.9, "it did not hear stop and was killed"


@posix
def test_kill_reaches_a_paused_worker_and_its_children(started: list[psutil.Process], tmp_path: Path) -> None:
    plugin = write_plugin(
        tmp_path, opening="import subprocess; subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL)"
    )
    with Workers((*PLUGINS, plugin), ()) as workers:
        worker = workers.of(key("mine"))
        (child,) = started[0].children()
        worker.pause()
        worker.kill()
        _wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
        with pytest.raises(WorkerDied):
            worker.ask("drop", 10, id="a")


def test_a_time_limit_kills(started: list[psutil.Process]) -> None:
    with Workers(PLUGINS, ()) as workers:
        worker = workers.of(key("hanging"))
        worker.ask("build", 60, **BUILD)
        begin = time.monotonic()
        with pytest.raises(WorkerDied, match=r"first took longer than 0 s and was killed") as died:
            worker.ask("first", 0.3, id="a", phase="forward")
        assert died.value.status == "timeout"
        assert time.monotonic() - begin < 3
        assert not started[0].is_running()
        workers.forget(worker.key)
        assert workers.of(worker.key) is not worker


@posix
@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("crashing", "killed by SIGABRT during first"),
        ("killed", "killed from outside by SIGKILL during first; memory had not run out"),
    ],
)
def test_a_crash_says_how(
    backend: str, reason: str, started: list[psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "count_oom_kills", lambda: 3)
    with Workers(PLUGINS, ()) as workers:
        worker = workers.of(key(backend))
        worker.ask("build", 60, **BUILD)
        with pytest.raises(WorkerDied, match=reason) as died:
            worker.ask("first", 60, id="a", phase="forward")
        assert died.value.status == "crashed"
        assert not started[0].is_running()


@posix
def test_memory_ran_out_where_the_kernel_says_so(
    started: list[psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([3, 4])
    monkeypatch.setattr(process_module, "count_oom_kills", lambda: next(counts))
    with Workers(PLUGINS, ()) as workers:
        worker = workers.of(key("killed"))
        worker.ask("build", 60, **BUILD)
        with pytest.raises(WorkerDied, match="memory ran out during first") as died:
            worker.ask("first", 60, id="a", phase="forward")
        assert died.value.status == "out_of_memory"


def test_the_end_of_the_log_tells_why(started: list[psutil.Process], tmp_path: Path) -> None:
    said = "print('driver: no licence'); import sys; sys.stdout.flush(); import os; os._exit(9)"
    plugin = write_plugin(tmp_path, opening=said)
    with Workers((*PLUGINS, plugin), ()) as workers:
        for _ in range(2):
            with pytest.raises(WorkerDied, match=r"ended with status 9 during open\. driver: no licence"):
                workers.of(key("mine"))
    assert len(started) == 1, "a backend that cannot be opened is not tried again"


@pytest.mark.parametrize(
    ("opening", "status", "reason"),
    [
        ("raise ImportError('libcudart.so.12: cannot open')", "failed", "ImportError: libcudart.so.12"),
        ("from rnnbench.errors import Unavailable; raise Unavailable('no GPU')", "skipped", "^no GPU$"),
        ("raise RuntimeError('CUDA error: out of memory')", "out_of_memory", "RuntimeError: CUDA error"),
        ("raise SystemExit('give up')", "crashed", "ended with status 1 during open. give up"),
    ],
)
def test_a_backend_that_does_not_open(
    opening: str, status: str, reason: str, started: list[psutil.Process], tmp_path: Path
) -> None:
    with (
        Workers((*PLUGINS, write_plugin(tmp_path, opening=opening)), ()) as workers,
        pytest.raises(Refused, match=reason) as refused,
    ):
        workers.of(key("mine"))
    assert refused.value.status == status
    assert not started[0].is_running()


def interpreter(script: str) -> Environment:
    return Environment(python=str(_script(script)))


def test_a_worker_that_does_not_connect(
    started: list[psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = threading.active_count()
    worker = Worker(key("toy"), environment=interpreter("echo 'bad interpreter'; exit 3"))
    with pytest.raises(WorkerDied, match="ended before it began: bad interpreter"):
        worker.open()
    monkeypatch.setattr(process_module, "OPEN_LIMIT_S", 0.1)
    worker = Worker(key("toy"), environment=interpreter("sleep 60"))
    with pytest.raises(WorkerDied, match="did not start within 0 s") as died:
        worker.open()
    assert died.value.status == "timeout"
    _wait_for(lambda: threading.active_count() == threads)


def test_a_worker_that_cannot_be_started() -> None:
    before = logs()
    with pytest.raises(Refused, match="no worker could be started") as refused:
        Worker(key("toy"), environment=Environment(python="/nonexistent/python"))
    assert refused.value.status == "failed"
    assert logs() == before


def test_what_the_backend_prints_is_harmless(started: list[psutil.Process]) -> None:
    with Workers(PLUGINS, ()) as workers:
        worker = workers.of(key("chatty"))
        worker.ask("build", 60, **BUILD)
        for _ in range(3):
            worker.ask("first", 60, id="a", phase="forward")


def test_a_reply_that_cannot_be_sent_is_a_refusal(started: list[psutil.Process], tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path, versions="{'weights': {1, 2}}")
    with Workers((*PLUGINS, plugin), ()) as workers, pytest.raises(Refused, match="cannot send a set"):
        workers.of(key("mine"))


def test_a_file_of_the_user_does_not_stand_in_for_a_library(
    started: list[psutil.Process], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise RuntimeError('shadow')")
    monkeypatch.chdir(tmp_path)
    with Workers(PLUGINS, ()) as workers:
        assert workers.of(key("toy")).opened["devices"] == ["cpu"]


def test_abort_ends_what_is_being_asked(started: list[psutil.Process]) -> None:
    with Workers(PLUGINS, ()) as workers:
        worker = workers.of(key("hanging"))
        worker.ask("build", 60, **BUILD)
        threading.Timer(0.2, workers.abort).start()
        begin = time.monotonic()
        with pytest.raises(WorkerDied):
            worker.ask("first", 60, id="a", phase="forward")
        assert time.monotonic() - begin < 5
        with pytest.raises(WorkerDied):  # and what starts later ends as it begins
            workers.of(key("toy"))


def test_an_interrupted_pass_ends_its_workers(started: list[psutil.Process]) -> None:
    with pytest.raises(KeyboardInterrupt), Workers(PLUGINS, ()) as workers:  # noqa: PT012 - what is raised within
        workers.of(key("toy"))
        workers.of(key("chatty"))
        raise KeyboardInterrupt
    assert len(started) == 2


PARENT = """
import sys, time
from rnnbench.contracts import Settings
from rnnbench.measuring.process import WorkerKey
from rnnbench.measuring.workers import Workers
import test_workers as t
with Workers(t.PLUGINS, ()) as workers:
    worker = workers.of(WorkerKey({backend!r}, Settings()))
    worker.ask("build", 60, **t.BUILD)
    print(worker._process.pid, flush=True)
    {then}
"""


@posix
@pytest.mark.parametrize(
    ("backend", "then"),
    [("toy", "time.sleep(60)"), ("hanging", "worker.ask('first', 60, id='a', phase='forward')")],
    ids=["idle", "hanging"],
)
def test_a_worker_ends_with_its_parent(backend: str, then: str) -> None:
    before = logs()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(backend=backend, then=then)],
        stdout=subprocess.PIPE,
        cwd=HERE,
    )
    assert parent.stdout is not None
    with parent.stdout:
        worker = psutil.Process(int(parent.stdout.readline()))
    time.sleep(0.2)
    assert worker.is_running()
    parent.kill()
    parent.wait()
    _wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    assert logs() <= before


@posix
def test_watching_the_parent_where_the_kernel_does_not() -> None:
    code = textwrap.dedent("""
        import os, sys, time
        from rnnbench.measuring import worker
        worker._LOOK_EVERY_S = 0.05
        if os.fork():
            time.sleep(0.3)
            os._exit(0)
        sys.platform = "darwin"
        worker.die_with_parent()
        print(os.getpid(), flush=True)
        time.sleep(60)
    """)
    asked = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True
    )
    _wait_for(lambda: not psutil.pid_exists(int(asked.stdout)))


@pytest.mark.parametrize(
    ("code", "before", "now", "status", "words"),
    [
        (3, 0, 0, "crashed", "ended with status 3"),
        (-signal.SIGSEGV, 0, 1, "crashed", "killed by SIGSEGV"),
        (-40, 0, 0, "crashed", "killed by signal 40"),
        (-9, 0, 0, "crashed", "from outside"),
        (-9, 2, 3, "out_of_memory", "memory ran out"),
        (-9, None, None, "crashed", "does not tell"),
    ],
)
def test_describe_death(code: int, before: int | None, now: int | None, status: str, words: str) -> None:
    died = describe_death(code, "warm", "last words", before, now)
    assert died.status == status
    assert words in died.reason
    assert (
        died.reason.endswith("during warm. last words") or "; " in died.reason or "memory ran" in died.reason
    )


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/user/me\n", {"sys/fs/cgroup/user/me/memory.events": "low 0\noom 9\noom_kill 4\n"}, 4),
        ("4:memory:/box\n0::/\n", {"sys/fs/cgroup/memory/box/memory.oom_control": "x 0\noom_kill 2\n"}, 2),
        ("0::/\n", {"proc/vmstat": "oom_kill 7\nother 1\n"}, 7),
        ("0::/\n", {"sys/fs/cgroup/memory.events": "oom_kill 1\n", "proc/vmstat": "oom_kill 7\n"}, 1),
        ("0::/\n", {"proc/vmstat": "nothing 1\n"}, None),
        (None, {}, None),
    ],
)  # fmt: skip
def test_count_oom_kills(
    groups: str | None, files: dict[str, str], expected: int | None, tmp_path: Path
) -> None:
    content = dict(files) if groups is None else {**files, "proc/self/cgroup": groups}
    for name, text in content.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert count_oom_kills(tmp_path) == expected


def test_the_log_keeps_its_end_and_no_file() -> None:
    log = Log()
    log.writer.write(b"first\n" * 5000 + b"\xff second\n\n third \nfourth\n")
    log.writer.flush()
    assert log.tail() == "\ufffd second | third | fourth"
    if os.name == "posix":
        assert not log._name.exists()
    log.close()
    assert not log._name.exists()


def test_host_peak_sees_what_a_first_call_left_behind() -> None:
    def call() -> None:
        np.ones((25, 1 << 17)).sum()  # 25 MiB

    call()
    with HostPeak(resident_bytes()) as host:
        call()
    assert host.peak_bytes is not None
    assert 20 << 20 < host.peak_bytes < 80 << 20
    with HostPeak(resident_bytes()) as host:
        pass
    assert host.peak_bytes is None or host.peak_bytes < 8 << 20
    with HostPeak(resident_bytes() + (80 << 20)) as host:
        call()
    assert host.peak_bytes is None  # it was given back meanwhile: no size is known


def test_host_peak_counts_what_a_network_keeps_between_calls() -> None:
    before = resident_bytes()
    kept = np.ones((25, 1 << 17))  # 25 MiB
    with HostPeak(before) as host:
        assert kept.sum() == kept.size
    assert host.peak_bytes is not None
    assert 20 << 20 < host.peak_bytes < 80 << 20


def test_refusing_turns_what_plugins_raise_into_refusals() -> None:
    from rnnbench.errors import Unavailable

    def raised(error: Exception) -> Refused:
        with pytest.raises(Refused) as caught, refusing():
            raise error
        return caught.value

    assert raised(ZeroDivisionError("by\nzero")).reason == "ZeroDivisionError: by zero"
    assert raised(ZeroDivisionError()).status == "failed"
    assert raised(Unavailable("absent")).status == "skipped"
    died = WorkerDied("timeout", "late")
    assert raised(died) is died


def write_plugin(folder: Path, *, opening: str = "pass", versions: str = "{}") -> str:
    """A backend "mine": ``opening`` is run when it is opened."""
    file = folder / "mine.py"
    file.write_text(
        textwrap.dedent(f"""
        import sys
        from dataclasses import dataclass
        from rnnbench.hookspecs import hookimpl
        import rnnbench_example as toy

        class Session(toy.ToySession):
            def versions(self):
                return {versions} or super().versions()

        @dataclass(frozen=True)
        class Mine(toy.Toy):
            name: str = "mine"
            def open(self, settings, cells):
                {opening}
                return Session(settings, cells)

        @hookimpl
        def rnnbench_backends():
            return [Mine()]
        """)
    )
    # the example is imported by name here, as an installed one would be
    file.write_text(f"import sys; sys.path.insert(0, {str(HERE / 'example-plugin')!r})\n" + file.read_text())
    return str(file)


def _script(text: str) -> Path:
    file = Path(tempfile.mkdtemp()) / "python"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def _wait_for(condition: Any) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it has not come to pass within 4 s")
