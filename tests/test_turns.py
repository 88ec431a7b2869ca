"""Turns: fair orders, blocks that count, and what a death does to the neighbours."""

from __future__ import annotations

import math
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fakes import FakeFloor, died, station
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnbench.measuring.refusals import Refused, WorkerDied
from rnnbench.measuring.stations import Protocol, Station
from rnnbench.measuring.turns import (
    Loops,
    balanced_orders,
    calibrate_loops,
    is_precise,
    least_block_s,
    restart_beside,
    take_turns,
)
from rnnbench.records import Block


class Told:
    """What the turns report."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.failed: list[tuple[str, str]] = []

    def keep(self, block: Block) -> None:
        self.blocks.append(block)

    def fail(self, station: Station, refused: Refused) -> None:
        self.failed.append((station.case.key, refused.status))


def turns(floor: FakeFloor, stations: list[Station], rounds: int = 4) -> tuple[list[Station], Told]:
    told = Told()
    loops = Loops()
    loops.guess(stations, floor.protocol.block_s)  # calibrated before: no trial
    living = take_turns(floor, stations, 2, rounds, 7, loops, told.keep, told.fail)  # type: ignore[arg-type]
    return living, told


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(1, 30), st.integers(0, 2**31))
def test_orders_are_permutations_and_each_second_one_is_reversed(size: int, rounds: int, seed: int) -> None:
    orders = list(balanced_orders(size, rounds, np.random.default_rng(seed)))
    assert len(orders) == rounds
    assert all(sorted(order) == list(range(size)) for order in orders)
    for one, other in zip(orders[::2], orders[1::2], strict=False):
        assert other == one[::-1]  # AB then BA: a drift that is linear in time falls out
    if rounds % 2 == 0:
        positions = np.array([[order.index(case) for case in range(size)] for order in orders])
        assert np.allclose(positions.mean(axis=0), (size - 1) / 2)


def test_orders_are_random() -> None:
    firsts = Counter(order[0] for order in list(balanced_orders(3, 600, np.random.default_rng(0)))[::2])
    assert all(70 < firsts[case] < 130 for case in range(3))


@settings(deadline=None)
@given(st.floats(1e-9, 100), st.floats(1e-4, 1))
def test_a_block_lasts_long_enough_and_no_longer(median_s: float, block_s: float) -> None:
    loops = calibrate_loops(median_s, block_s)
    assert loops * median_s >= block_s * (1 - 1e-9)
    assert loops == 1 or (loops - 1) * median_s < block_s


def test_a_median_of_nothing_does_not_divide_by_it() -> None:
    assert calibrate_loops(0.0, 0.02) == 20_000_000


def test_every_case_runs_one_block_of_each_phase_in_each_round() -> None:
    phases = ("forward", "train_step")
    stations = [
        station(name, {"forward": 1e-4, "train_step": 3e-4}, measure=phases)
        for name in ("torch", "jax", "numpy")
    ]
    floor = FakeFloor()
    living, told = turns(floor, stations, rounds=6)
    assert living == stations
    assert told.failed == []
    seen = Counter((block.case, block.phase, block.round) for block in told.blocks)
    assert len(seen) == 3 * 2 * 6
    assert set(seen.values()) == {1}
    assert {block.loops for block in told.blocks if block.phase == "forward"} == {200}
    assert {block.loops for block in told.blocks if block.phase == "train_step"} == {67}
    assert {block.process for block in told.blocks} == {2}
    for number in range(6):
        of_round = [block for block in told.blocks if block.round == number]
        # all blocks of one phase stand together, so that they are paired in time
        assert [block.phase for block in of_round] == ["forward"] * 3 + ["train_step"] * 3
        assert [block.order for block in of_round] == [0, 1, 2] * 2
    mean = {
        name: np.mean([b.order for b in told.blocks if b.case == s.case.key])
        for name, s in zip("abc", stations, strict=True)
    }
    assert set(mean.values()) == {1.0}


def test_a_block_in_which_something_was_compiled_does_not_count() -> None:
    one = station()
    _, told = turns(FakeFloor(compiled=lambda call: 2 if call == 3 else 0), [one], rounds=5)
    assert [block.round for block in told.blocks] == [0, 1, 3, 4]
    assert one.compiled_in_blocks == 2


def test_a_death_is_told_and_only_its_neighbours_start_again() -> None:
    dying = station("torch", implementation="native")
    beside = station("torch", implementation="portable")
    other = station("jax")
    floor = FakeFloor()
    block = floor._block

    def fails_once(backend: str, id: str, phase: str, loops: int) -> dict[str, object]:
        if id == dying.case.key and len(floor.asked) > 3:
            raise died()
        return block(backend, id, phase, loops)

    floor._block = fails_once  # type: ignore[method-assign]
    beside.used_s = 299.0
    living, told = turns(floor, [dying, beside, other], rounds=6)
    assert living == [beside, other]
    assert told.failed == [(dying.case.key, "crashed")]
    assert floor.started == [beside.case.key]
    assert beside.used_s == 0.0, "the neighbour is not to blame for the time that its restart takes"
    rounds = Counter(block.case for block in told.blocks)
    assert rounds[beside.case.key] == rounds[other.case.key] == 6
    assert 1 <= rounds[dying.case.key] < 6


def test_a_plain_no_leaves_the_neighbours_alone() -> None:
    floor = FakeFloor(faults={("torch", "block"): [None, Refused("failed", "ValueError: no")]})
    torch, jax = station("torch"), station("jax")
    living, told = turns(floor, [torch, jax], rounds=5)
    assert living == [jax]
    assert told.failed == [(torch.case.key, "failed")]
    assert floor.started == []


def test_nobody_left() -> None:
    floor = FakeFloor(faults={("torch", "block"): [died()]})
    living, told = turns(floor, [station()], rounds=5)
    assert living == []
    assert told.blocks == []
    assert len(floor.asked) == 1


@pytest.mark.parametrize(("share", "paused"), [(0.5, 5), (0.005, 0)])
def test_a_worker_that_spins_while_it_waits_is_stopped(share: float, paused: int) -> None:
    floor = FakeFloor()
    floor.worker(station().case).idle_cpu_share = share
    turns(floor, [station()], rounds=4)
    assert floor.workers["torch"].paused == paused, "before the first round and after each of its blocks"


def test_a_neighbour_that_kills_the_fresh_worker_costs_only_itself() -> None:
    names = ("a", "b", "c", "d")
    stations = {name: station("torch", implementation=name) for name in names}
    dead, told, floor = stations["a"], Told(), FakeFloor()
    start = floor.start

    def starts(each: Station, *, prove: bool) -> None:
        start(each, prove=prove)
        if each is stations["c"]:
            raise died()

    floor.start = starts  # type: ignore[method-assign]
    rest = [stations[name] for name in names[1:]]
    other = station("jax")
    living = restart_beside(floor, [*rest, other], dead, told.fail)  # type: ignore[arg-type]
    assert living == [stations["b"], stations["d"], other]
    assert told.failed == [(stations["c"].case.key, "crashed")]
    last = [key.split("-")[5] for key in floor.started]
    assert last == ["b", "c", "b", "d"], "what went down with c is started once more"


def test_the_sides_of_a_comparison_have_the_same_loops_and_later_processes_keep_them() -> None:
    """Warm-up saw the base at 2 ms and the head at 1 ms: both run what the faster one needs for 20 ms."""
    base, head = station("torch", {"train_step": 2e-3}, env="base"), station("torch", env="head")
    other = station("jax", {"train_step": 5e-3}, env="head")
    floor, told, loops = FakeFloor(), Told(), Loops()
    take_turns(floor, [base, head, other], 0, 4, 7, loops, told.keep, told.fail)  # type: ignore[arg-type]
    found = {block.case: block.loops for block in told.blocks}
    assert found == {base.case.key: 20, head.case.key: 20, other.case.key: 4 * 5}
    assert len(told.blocks) == 3 * 4, "the trial round is not kept"
    slower = station("torch", {"train_step": 9.0}, env="base")
    again = Told()
    take_turns(floor, [slower], 1, 2, 7, loops, again.keep, again.fail)  # type: ignore[arg-type]
    assert {block.loops for block in again.blocks} == {20}
    resumed = Loops([head.case], {head.case.key: told.blocks[:1]})
    assert resumed.of(base.case, "train_step") == told.blocks[0].loops
    resumed.forget([head.case])
    with pytest.raises(KeyError):
        resumed.of(base.case, "train_step")


def test_a_trial_that_is_too_short_makes_blocks_longer() -> None:
    """Warm-up in bad company: 1 ms a call there, 0.4 ms in truth."""
    floor, told = FakeFloor(seconds=lambda backend, loops: 4e-4 * loops), Told()
    take_turns(floor, [station()], 0, 3, 7, Loops(), told.keep, told.fail)  # type: ignore[arg-type]
    assert {block.loops for block in told.blocks} == {50}
    assert all(block.seconds >= 0.02 for block in told.blocks)


def test_a_block_is_long_against_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    assert least_block_s(0.02) == 0.02
    info = SimpleNamespace(resolution=1e-3)
    monkeypatch.setattr("time.get_clock_info", lambda name: info)
    assert least_block_s(0.02) == pytest.approx(0.1)


def test_rounds_go_on_until_the_process_is_precise() -> None:
    """Medians of log ratios with 3 % noise have a standard error of 1 % after about 14 rounds."""
    rng = np.random.default_rng(3)
    counts = []
    for sigma in (0.0, 0.03, 0.5):
        noise = {"torch": sigma, "jax": 0.0}
        floor = FakeFloor(
            seconds=lambda backend, loops, noise=noise: (
                1e-3 * loops * float(np.exp(rng.normal(0, noise[backend])))
            )
        )
        told = Told()
        stations = [station("torch"), station("jax")]
        take_turns(floor, stations, 0, 10, 7, Loops(), told.keep, told.fail, most=80)  # type: ignore[arg-type]
        counts.append(len(told.blocks) // 2)
    assert counts[0] == 10
    assert 10 <= counts[1] <= 36
    assert counts[2] == 80


@pytest.mark.parametrize(("until_s", "rounds"), [(math.inf, 80), (14.5, 16), (15.5, 16), (3.0, 10)])
def test_further_rounds_end_with_their_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch, until_s: float, rounds: int
) -> None:
    """Never precise, and a second for every block."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("rnnbench.measuring.turns.time.monotonic", lambda: clock.now)
    rng = np.random.default_rng(9)

    def seconds(backend: str, loops: int) -> float:
        clock.now += 1.0
        return 1e-3 * loops * float(np.exp(rng.normal(0, 0.9)))

    floor, told, loops = FakeFloor(seconds=seconds), Told(), Loops()
    one = station()
    loops.guess([one], floor.protocol.block_s)
    take_turns(floor, [one], 0, 10, 7, loops, told.keep, told.fail, most=80, until=1000.0 + until_s)  # type: ignore[arg-type]
    assert len(told.blocks) == rounds


class SlowFloor(FakeFloor):
    """A case whose rounds take ``round_s``, and the trial block too."""

    round_s = 0.0

    def ask(self, station: Station, do: str, **request: Any) -> dict[str, Any]:
        station.used_s += self.round_s
        if station.used_s > self.protocol.case_limit_s:
            raise WorkerDied("timeout", "the limit for a case was over")
        return super().ask(station, do, **request)


@pytest.mark.parametrize(
    ("start_s", "round_s", "rounds"),
    [(0.0, 1.0, 80), (40.0, 5.0, 41), (40.0, 10.0, 19), (100.0, 15.0, 10), (0.0, 28.0, 10)],
)
def test_further_rounds_do_not_bring_a_slow_case_to_its_limit(
    start_s: float, round_s: float, rounds: int
) -> None:
    """Never precise: 80 rounds are wanted. What starting took is left, and time for four rounds."""
    rng = np.random.default_rng(4)
    floor = SlowFloor(seconds=lambda backend, loops: 1e-3 * loops * float(np.exp(rng.normal(0, 0.9))))
    floor.round_s = round_s
    one, told, loops = station(), Told(), Loops()
    one.used_s = start_s
    loops.guess([one], floor.protocol.block_s)
    living = take_turns(floor, [one], 0, 10, 7, loops, told.keep, told.fail, most=80)  # type: ignore[arg-type]
    assert told.failed == []
    assert living == [one]
    assert len(told.blocks) == rounds
    assert rounds == 10 or one.used_s + start_s <= 300.0


def test_a_dead_case_is_not_waited_for() -> None:
    """It was noisy until it died; the other, which is alone now, is precise."""
    rng = np.random.default_rng(6)
    noise = {"torch": 0.9, "jax": 0.0}
    floor = FakeFloor(
        seconds=lambda backend, loops: 1e-3 * loops * float(np.exp(rng.normal(0, noise[backend]))),
        faults={("torch", "block"): [*[None] * 8, Refused("failed", "no")]},
    )
    torch, jax = station("torch"), station("jax")
    told, loops = Told(), Loops()
    loops.guess([torch, jax], floor.protocol.block_s)
    living = take_turns(floor, [torch, jax], 0, 10, 7, loops, told.keep, told.fail, most=80)  # type: ignore[arg-type]
    assert living == [jax]
    assert sum(block.case == jax.case.key for block in told.blocks) == 10


@pytest.mark.parametrize(
    ("base_s", "head_s", "steps"),
    [(1e-5, 1e-5, 2000), (1e-3, 1e-3, 200), (0.0375, 0.0375, 200), (0.075, 0.075, 100), (0.03, 0.15, 50),
     (20.0, 20.0, 1)],
)  # fmt: skip
def test_steps_of_a_stream_leave_half_the_time_limit(base_s: float, head_s: float, steps: int) -> None:
    """20 rounds in 150 s: 7.5 s a block on the slower side."""
    base = station(median_s={"stream": base_s}, measure=("stream",), env="base")
    head = station(median_s={"stream": head_s}, measure=("stream",), env="head")
    slower = max(base_s, head_s)
    floor = FakeFloor(seconds=lambda backend, loops: slower * loops, protocol=Protocol(rounds=20))
    told, loops = Told(), Loops()
    take_turns(floor, [base, head], 0, 20, 7, loops, told.keep, told.fail)  # type: ignore[arg-type]
    assert {block.loops for block in told.blocks} == {steps}


def test_what_hits_all_sides_alike_costs_no_rounds() -> None:
    """Noise of 50 % in common, none between: the ratio is known at once; alone it would not be."""
    rng = np.random.default_rng(5)
    shared = {n: float(np.exp(rng.normal(0, 0.5))) for n in range(10)}
    a, b = ("a", "forward"), ("b", "forward")
    assert is_precise({a: shared, b: {n: 2 * s for n, s in shared.items()}})
    assert not is_precise({a: shared})
    assert is_precise({})
    spread = {n: s * float(np.exp(rng.normal(0, 0.5))) for n, s in shared.items()}
    assert not is_precise({a: shared, b: spread})
