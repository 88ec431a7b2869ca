"""Whole runs with real workers, a toy backend and those that go wrong; measured for no longer than needed."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_workers import HERE, PLUGINS

from rnnbench.contracts import Settings
from rnnbench.measuring import conductor as conductor_module
from rnnbench.measuring import ledger as ledger_module
from rnnbench.measuring.budget import Budget
from rnnbench.measuring.costing import cost_of_pass
from rnnbench.measuring.environments import Environments, name_workers
from rnnbench.measuring.findings import of_first_process
from rnnbench.measuring.launch import Environment
from rnnbench.measuring.process import WorkerKey
from rnnbench.measuring.refusals import Refused, WorkerDied
from rnnbench.measuring.replication import Replication
from rnnbench.measuring.stations import Floor, Protocol, Station
from rnnbench.offers import offers_of
from rnnbench.planning.plan import Plan, check, plan
from rnnbench.plugins import Plugins, discover
from rnnbench.records import PRESENT, Block, Record
from rnnbench.results.reading import RunResults, read
from rnnbench.running import run_plan
from rnnbench.suite.loading import parse_suite
from rnnbench.suite.overrides import Overrides

pytestmark = pytest.mark.slow  # real workers

QUICK = Protocol(rounds=2, block_s=1e-3, warm_s=1e-3, case_limit_s=60.0)
SUITE = (HERE / "faulty.yaml").read_text()


class Told:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.records: list[Record] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def record(self, record: Record) -> None:
        self.records.append(record)


def planned(*settings: str, suite: str = SUITE, **overrides: Any) -> tuple[Plan, Plugins]:
    plugins = discover(PLUGINS)
    asked = Overrides(settings=settings, **overrides)
    return check(plan(parse_suite(suite, name="faulty"), plugins, overrides=asked)), plugins


def run(
    folder: Path,
    *settings: str,
    protocol: Protocol = QUICK,
    resume: bool = False,
    told: Told | None = None,
    **overrides: Any,
) -> RunResults:
    the_plan, plugins = planned(*settings, **overrides)
    return run_plan(
        the_plan,
        plugins,
        told or Told(),
        folder=folder,
        command=["rnnbench", "run"],
        plugin_files=PLUGINS,
        protocol=protocol,
        resume=resume,
    )


def by_backend(results: RunResults) -> dict[str, Record]:
    return {record.case.backend: record for record in results.records}


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def test_every_case_ends_as_one_record_with_its_reason(tmp_path: Path) -> None:
    """The main negative control: whatever a backend does, the others and the run go on."""
    faulty = (
        "crashing",
        "killed",
        "greedy",
        "leaving",
        "failing",
        "refusing",
        "lying",
        "exploding",
        "chatty",
    )
    told = Told()
    results = run(tmp_path / "run", backends=("toy", *faulty), told=told)
    found = by_backend(results)
    assert {name: record.status for name, record in found.items()} == {
        "toy": "ok", "chatty": "ok", "crashing": "crashed", "killed": "crashed", "greedy": "out_of_memory",
        "leaving": "crashed", "failing": "failed", "refusing": "unsupported", "lying": "mismatch",
        "exploding": "diverged",
    }  # fmt: skip
    assert len(results.records) == 10
    assert all(record.reason for name, record in found.items() if record.status != "ok")
    assert "SIGABRT" in found["crashing"].reason
    assert found["failing"].reason == "ValueError: the <b>toy</b> broke"
    assert found["refusing"].reason == "not on a Sunday"
    assert "status 7" in found["leaving"].reason
    assert "outputs" in found["lying"].reason
    assert found["lying"].parity is not None
    assert not found["lying"].parity.passed
    assert "step 4" in found["exploding"].reason
    assert results.problems == ()
    for name in ("toy", "chatty"):
        record = found[name]
        assert record.parity is not None
        assert record.parity.passed
        assert record.path == "Python loop, autograd tape"
        assert {"import_s", "build_s", "first_forward_s", "first_train_step_s"} <= set(record.phases)
        assert record.score is not None
        assert [curve.steps for curve in record.score.curves] == [(2, 4)]
        assert record.score.follows is not None
        assert record.score.follows < 1e-6
    trained_on = {found[name].score.trained_on for name in ("toy", "chatty")}  # type: ignore[union-attr]
    assert len(trained_on) == 1
    assert found["exploding"].parity is not None, "what it showed before it diverged stays"
    assert Counter(block.case for block in results.blocks) == {
        found[name].case.key: 4 for name in ("toy", "chatty", "exploding")
    }
    assert results.run.finished
    assert set(results.run.environments) >= {"toy", "chatty"}
    assert (
        results.run.spent_s["total"] >= sum(results.run.spent_s.values()) - results.run.spent_s["total"] - 0.1
    )
    assert len(told.records) == len(lines(tmp_path / "run", "records"))


def test_a_hang_is_killed_at_its_limit(tmp_path: Path) -> None:
    limited = replace(QUICK, case_limit_s=2.0)
    found = by_backend(run(tmp_path / "run", backends=("toy", "hanging"), protocol=limited))
    assert found["hanging"].status == "timeout"
    assert "limit of 2 s" in found["hanging"].reason
    assert "first" in found["hanging"].reason
    assert found["toy"].status == "ok"


def test_further_processes_measure_and_a_death_in_one_keeps_what_was_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Floor.start

    def starts(floor: Floor, station: Station, *, prove: bool) -> None:
        start(floor, station, prove=prove)
        if not prove and station.case.backend == "chatty":
            raise WorkerDied("crashed", "gone in the second process")

    monkeypatch.setattr(Floor, "start", starts)
    results = run(tmp_path / "run", "processes=2", backends=("toy", "chatty"))
    found = by_backend(results)
    assert found["toy"].status == "ok"
    assert {block.process for block in results.blocks if block.case == found["toy"].case.key} == {0, 1}
    assert (found["chatty"].status, found["chatty"].reason) == ("crashed", "gone in the second process")
    assert found["chatty"].score is not None
    assert found["chatty"].memory
    assert {block.process for block in results.blocks if block.case == found["chatty"].case.key} == {0}


def test_a_backend_that_no_longer_opens_keeps_what_was_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Floor] = []

    class Second(Floor):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            built.append(self)

        def worker(self, case: Any) -> Any:
            if len(built) > 1:
                raise WorkerDied("timeout", "did not open again")
            return super().worker(case)

    monkeypatch.setattr(conductor_module, "Floor", Second)
    (record,) = run(tmp_path / "run", "processes=2", backends=("toy",)).records
    assert (record.status, record.reason) == ("timeout", "did not open again")
    assert record.score is not None
    assert record.parameters


def test_a_spent_budget_skips_with_a_reason_and_a_resumed_run_measures_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = "length=2,3"
    folder = tmp_path / "run"
    begun = time.monotonic() - 100
    monkeypatch.setattr(conductor_module, "Budget", lambda total_s: Budget(total_s, begun))
    results = run(folder, lengths, backends=("toy",), budget="99 s")
    monkeypatch.undo()
    assert [record.status for record in results.records] == ["skipped", "skipped"]
    assert "budget of 99 s was spent; give more with --budget" in results.records[0].reason
    assert results.run.finished
    resumed = run(folder, lengths, "processes=2", backends=("toy",), budget="10 min", resume=True)
    assert [record.status for record in resumed.records] == ["ok", "ok"]
    assert all(record.score is not None for record in resumed.records)
    assert resumed.run.processes == 2
    assert resumed.run.findings == ()


def test_further_passes_that_do_not_fit_are_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor_module, "affordable_rounds", lambda *arguments: 0)
    results = run(tmp_path / "run", "processes=3", backends=("toy",), budget="10 min")
    assert [finding.word for finding in results.run.findings] == ["over_budget"]
    assert results.run.findings[0].text.startswith("1 of 3 processes were measured")


class Stop(KeyboardInterrupt):
    """Ctrl-C at a chosen place."""


@pytest.mark.parametrize(
    ("where", "count"),
    [("block", 3), ("record", 1), ("record", 3), ("block", 10)],
)
def test_a_resumed_run_completes_and_repeats_nothing(
    where: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cases of one group: records 1 and 2 end pass 0, 3 is the trained one, 4 the follower."""
    folder, backends = tmp_path / "run", ("toy", "chatty")
    calls = 0
    name = {"block": "keep_block", "record": "keep"}[where]
    kept = getattr(ledger_module.Ledger, name)

    def interrupted(ledger: Any, value: Block | Record) -> None:
        nonlocal calls
        kept(ledger, value)
        calls += 1
        if calls == count:
            raise Stop

    monkeypatch.setattr(ledger_module.Ledger, name, interrupted)
    with pytest.raises(Stop):
        run(folder, "processes=2", backends=backends)
    monkeypatch.undo()
    before = read(folder)
    assert before.problems == ()
    assert not before.run.finished
    blocks, records = lines(folder, "blocks"), lines(folder, "records")
    told = Told()
    after = run(folder, "processes=2", backends=backends, resume=True, told=told)
    assert after.run.finished
    assert {record.status for record in after.records} == {"ok"}
    assert all(record.score is not None for record in after.records)
    assert lines(folder, "blocks")[: len(blocks)] == blocks
    assert lines(folder, "records")[: len(records)] == records
    assert set(after.run.environments) == set(backends)
    if count in (1, 3):  # cut within pass 0: the whole group is measured again, for it must be in turns
        again = {block["case"] for block in lines(folder, "blocks")[len(blocks) :] if block["process"] == 0}
        assert len(again) == (2 if (where, count) != ("record", 3) else 0)
    if where == "record" and count >= 2:  # both were measured in pass 0: only the second process is new
        assert {block["process"] for block in lines(folder, "blocks")[len(blocks) :]} == {1}
    if where == "record" and count >= 3:
        assert not any("training, seed" in note for note in told.notes), "it was trained already"
        assert len({record.score.trained_on for record in after.records if record.score}) == 1
    samples = after.timings
    assert {len(rounds) for processes in samples.values() for rounds in processes.values()} == {2}
    done = len(lines(folder, "blocks")), len(lines(folder, "records"))
    told = Told()
    run(folder, "processes=2", backends=backends, resume=True, told=told)
    assert (len(lines(folder, "blocks")), len(lines(folder, "records"))) == done
    assert told.records == []


@pytest.mark.parametrize(
    ("score_on", "trained"), [("all", {"toy", "chatty"}), ("chatty", {"chatty"}), ("exploding", None)]
)
def test_score_on(score_on: str, trained: set[str] | None, tmp_path: Path) -> None:
    results = run(tmp_path / "run", f"score_on={score_on}", backends=("toy", "chatty", "exploding"))
    found = by_backend(results)
    assert found["exploding"].status in ("diverged",)
    own = {
        record.case.backend
        for record in results.records
        if record.score is not None and record.score.trained_on == record.case.key
    }
    if trained is None:  # the one that was named diverged: the quickest of the rest stands in
        assert len(own) == 1
        assert own <= {"toy", "chatty"}
    else:
        assert own == trained
    assert found["toy"].score is not None


def test_a_follower_on_another_curve_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Floor.ask

    def asked(floor: Floor, station: Station, do: str, **request: Any) -> Mapping[str, Any]:
        reply = ask(floor, station, do, **request)
        if do == "train" and request["id"] == "follow":
            reply["losses"] = [loss * 1.5 for loss in reply["losses"]]
        return reply

    monkeypatch.setattr(Floor, "ask", asked)
    results = run(tmp_path / "run", backends=("toy", "chatty"))
    words = sorted("curve_differs" in [f.word for f in record.findings] for record in results.records)
    assert words == [False, True]
    assert {record.status for record in results.records} == {"ok"}


def test_memory_that_kills_the_worker_spares_the_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two implementations share a worker; the first dies in the memory pass."""
    ask, asked_once = Floor.ask, list[str]()

    def asked(floor: Floor, station: Station, do: str, **request: Any) -> Mapping[str, Any]:
        if do == "memory" and not asked_once:
            asked_once.append(station.case.key)
            worker = floor.worker(station.case)
            worker.kill()
        return ask(floor, station, do, **request)

    monkeypatch.setattr(Floor, "ask", asked)
    settings = ("cell=leaky_rnn", "implementation=portable,whole_sequence")
    results = run(tmp_path / "run", *settings, backends=("toy",))
    status = {record.case.key: record.status for record in results.records}
    assert sorted(status.values()) == ["crashed", "ok"]
    assert status[asked_once[0]] == "crashed"


def test_memory_and_the_first_step_are_taken_alone_on_a_fresh_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two implementations share a worker: neither is built while the other is weighed."""
    ask, alone, history = Floor.ask, list[str](), list[tuple[str, Any]]()

    def asked(floor: Floor, station: Station, do: str, **request: Any) -> Mapping[str, Any]:
        history.append((do, request.get("phase")))
        if do == "memory":
            worker = floor.worker(station.case)
            for case in the_plan.cases:
                if case.key != station.case.key:
                    with pytest.raises(Refused, match="KeyError"):
                        worker.ask("block", 60, id=case.key, phase="forward", loops=1)
                    alone.append(case.key)
            assert history[-4:] == [
                ("settle", None), ("build", None), ("first", "train_step"), ("memory", "train_step")
            ]  # fmt: skip
        return ask(floor, station, do, **request)

    monkeypatch.setattr(Floor, "ask", asked)
    settings = ("cell=leaky_rnn", "implementation=portable,whole_sequence")
    the_plan = planned(*settings, backends=("toy",))[0]
    results = run(tmp_path / "run", *settings, backends=("toy",))
    assert len(alone) == 2
    assert {record.status for record in results.records} == {"ok"}
    assert all({"first_forward_s", "first_train_step_s"} <= set(r.phases) for r in results.records)


def test_without_memory_a_fresh_network_is_built_for_the_first_step_alone(tmp_path: Path) -> None:
    (record,) = run(tmp_path / "a", "measure=train_step", backends=("toy",)).records
    assert record.phases["first_train_step_s"] > 0
    assert not record.memory
    (record,) = run(tmp_path / "b", "measure=forward", backends=("toy",)).records
    assert set(record.phases) == {"import_s", "build_s", "first_forward_s"}
    (record,) = run(tmp_path / "c", "measure=memory", backends=("toy",)).records
    assert set(record.phases) == {"import_s", "build_s"}
    assert record.memory


def test_a_task_that_breaks_in_the_parent_ends_its_case_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*arguments: Any, **options: Any) -> Any:
        raise ZeroDivisionError("no data today")

    monkeypatch.setattr("rnnbench.measuring.learning.assemble", breaks)
    (record,) = run(tmp_path / "run", backends=("toy",)).records
    assert (record.status, record.reason) == ("failed", "ZeroDivisionError: no data today")


def test_more_threads_than_cores_is_a_finding() -> None:
    station = Station(planned(backends=("toy",))[0].cases[0], None)  # type: ignore[arg-type]
    station.cores = 1
    assert list(of_first_process(station)) == []
    station.case = replace(station.case, threads=4)
    (finding,) = of_first_process(station)
    assert finding.text.startswith("4 threads share 1 cores")
    station.cores, station.compiled_in_blocks = 0, 3
    assert [finding.word for finding in of_first_process(station)] == ["not_pinned", "recompiled"]


def test_a_further_process_amends_what_it_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, ask = Floor.start, Floor.ask

    def starts(floor: Floor, station: Station, *, prove: bool) -> None:
        start(floor, station, prove=prove)
        if not prove:
            station.path = "another kernel"

    def asked(floor: Floor, station: Station, do: str, **request: Any) -> Mapping[str, Any]:
        reply = ask(floor, station, do, **request)
        if do == "block" and station.path == "another kernel":
            reply["compiled"] = 1
        return reply

    monkeypatch.setattr(Floor, "start", starts)
    monkeypatch.setattr(Floor, "ask", asked)
    (record,) = run(tmp_path / "run", "processes=2", backends=("toy",)).records
    assert record.status == "ok"
    kept = read(tmp_path / "run").records[0].findings
    assert [finding.word for finding in kept] == ["recompiled", "path_differs"]
    assert kept[0].text.startswith("4 compilations after warm-up in process 2")
    assert "another kernel" in kept[1].text


def test_a_resumed_run_leaves_time_for_its_further_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, later = tmp_path / "run", []

    def stops(*arguments: Any) -> None:
        later.append(arguments[-1])
        raise Stop

    monkeypatch.setattr(conductor_module, "learn", stops)
    for resume in (False, True):  # pass 0 is done in the first sitting alone
        with pytest.raises(Stop):
            run(folder, "processes=3", backends=("toy", "chatty"), resume=resume)
    assert later[0] == later[1] > 0.0


def test_what_a_pass_costs() -> None:
    case = planned("measure=forward", backends=("toy",))[0].cases[0]
    records = [
        Record(case, "ok", phases={"import_s": 3.0, "build_s": 0.5, "first_forward_s": 2.0}),
        Record(replace(case, implementation="b"), "ok", phases={"import_s": 3.0, "build_s": 0.25}),
    ]
    blocks = [
        Block(case.key, "forward", 0, 0, 0, 4, 99.0),  # begun again
        Block(case.key, "forward", 0, 0, 0, 4, 0.8),
        Block(case.key, "forward", 0, 1, 0, 1, 0.2),
    ]
    cost = cost_of_pass(records, blocks, Protocol(rounds=10, warm_s=1.0))
    assert cost.round_s == pytest.approx((0.8 * 5 / 4 + 0.2 * 2) / 2)
    assert cost.fixed_s == pytest.approx(3.0 + 0.5 + 2.0 + 0.25 + 10 * 0.2)
    assert cost.pass_s == pytest.approx(cost.fixed_s + 10 * cost.round_s)
    assert cost_of_pass([], [], Protocol()).pass_s == 0.0


def test_workers_of_one_backend_are_told_apart() -> None:
    one, two = Settings(), Settings(dtype="float64", threads=2)
    keys = [WorkerKey("torch", one), WorkerKey("jax", one), WorkerKey("torch", two)]
    assert list(name_workers(keys).values()) == [
        "torch, float32, threads 1", "jax", "torch, float64, threads 2"
    ]  # fmt: skip
    environments = Environments(keys, {})
    assert environments.note(keys[0], {"versions": {}, "settings": {"a": 1}})
    assert environments.note(keys[2], {"versions": {}, "settings": {"a": 2}})
    assert not environments.note(keys[2], {"versions": {}, "settings": {"a": 3}})
    assert [facts["settings"]["a"] for facts in environments.named().values()] == [1, 2]


def test_a_full_disk_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(writer: Any, block: Block) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rnnbench.results.writing.Writer.block", full)
    with pytest.raises(ledger_module.WriteFailed, match="No space left on device"):
        run(tmp_path / "run", backends=("toy",))
    assert read(tmp_path / "run").problems == ()


@pytest.mark.parametrize(("half_width", "processes"), [(1e9, 2), (0.0, 4)])
def test_processes_are_added_only_to_what_is_not_settled(
    half_width: float, processes: int, tmp_path: Path
) -> None:
    """Two processes for all; then one at a time, where the ratio of the environments is too wide."""
    plugins, suite = discover(PLUGINS), parse_suite(SUITE, name="faulty")
    both = {PRESENT: offers_of(plugins), "again": offers_of(plugins)}
    asked = Overrides(settings=("measure=forward",), backends=("toy",))
    results = run_plan(
        check(plan(suite, plugins, overrides=asked, offers=both)),
        plugins,
        Told(),
        folder=tmp_path / "run",
        command=[],
        plugin_files=PLUGINS,
        environments=[Environment("again", plugin_files=PLUGINS)],
        protocol=QUICK,
        replication=Replication(start=2, most=4, add=1, half_width=half_width),
    )
    assert {record.case.env for record in results.records} == {PRESENT, "again"}
    assert {record.status for record in results.records} == {"ok"}
    found = {key: sorted(samples) for (key, _), samples in results.timings.items()}
    assert list(found.values()) == [list(range(processes))] * 2
    assert len({block.loops for block in results.blocks}) == 1, "the same on both sides, in every process"
