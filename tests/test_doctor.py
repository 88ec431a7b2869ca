"""Advice from readings of machines that nobody here has, and a self-test that is known to pass or to fail."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_machine import CPUS, XEON, plant

from rnnbench.cells.network import network_outputs
from rnnbench.cli import main
from rnnbench.cli.doctor import summarise as sentences
from rnnbench.compare import Comparison, Row, Side
from rnnbench.contracts import NetworkSpec
from rnnbench.doctor import selftest as selftest_module
from rnnbench.doctor.checks import examine, unseen
from rnnbench.doctor.gpus import Gpu, parse_nvidia, read_gpus
from rnnbench.doctor.kernels import Opened, examine_backends
from rnnbench.doctor.overhead import Overhead, measure_overhead
from rnnbench.doctor.overhead import summarise as summarise_overhead
from rnnbench.doctor.readings import Busy, Readings, read
from rnnbench.doctor.selftest import (
    BASE,
    ENVIRONMENTS,
    PLUGIN,
    QUICK,
    SAME,
    SLOWER,
    WHOLE,
    Size,
    only,
    plan_self_test,
    self_test,
    summarise,
)
from rnnbench.doctor.selftest_plugin import EVERY, Longer, SelfTest
from rnnbench.measuring.limits import Limits
from rnnbench.measuring.machine import Machine
from rnnbench.measuring.stations import Protocol
from rnnbench.numpy_ops import NumpyOps
from rnnbench.plugins import discover
from rnnbench.records import Case, Record
from rnnbench.reference import probe_parameters
from rnnbench.stats import Interval
from rnnbench.testing import RECURRENT

QUIET = Readings(
    machine=Machine(
        cpu="Example",
        architecture="x86_64",
        cpu_flags=("avx", "avx2", "fma"),
        virtual=False,
        cores=4,
        cores_logical=4,
        cores_allowed=(0, 1, 2, 3),
        siblings=((0,), (1,), (2,), (3,)),
        memory_bytes=16 << 30,
        swap_bytes=0,
        container_cores=None,
        container_memory_bytes=None,
        os="Linux 6.1",
        python="3.11.7",
        governor="performance",
        turbo=False,
        clock_source="tsc",
        gpu="",
        driver="",
        variables={},
    ),
    limits=Limits(),
    load_1min=0.1,
    pressure=0.0,
    steal=0.0,
    steal_ever=0.0,
    busy=(),
    memory_free_bytes=8 << 30,
    swapped_pages=0,
    clock_tick_s=5e-8,
    clock_read_s=6e-8,
    variables={"HOME": "/root", "OMP_NUM_THREADS": "1"},
    gpus=(),
)
SMT = ((0, 4), (1, 5), (2, 6), (3, 7))


needs_numpy = pytest.mark.skipif(find_spec("rnnbench_numpy") is None, reason="needs rnnbench-numpy")


def but(machine: dict[str, Any] | None = None, **changes: Any) -> Readings:
    return replace(QUIET, machine=replace(QUIET.machine, **(machine or {})), **changes)


def test_a_quiet_machine_is_said_to_be_quiet() -> None:
    assert examine(QUIET) == ()
    assert unseen(QUIET) == ()


@pytest.mark.parametrize(
    ("readings", "word", "said"),
    [
        (but({"governor": "powersave"}), "governor", "powersave"),
        (but({"governor": "performance, ondemand"}), "governor", "is ondemand:"),
        (but({"turbo": True}), "turbo", "turbo is on"),
        (but(load_1min=2.1), "load", "2.10 over the last minute, on 4 cores"),
        (but(pressure=0.06), "load", "during 6% of the last 10 s"),
        (but(busy=(Busy(7, "make", 0.1),)), "busy", r"make \(7\) 10% of a core"),
        (but(busy=tuple(Busy(n, "cc1", 1.0) for n in range(8))), "busy", "and 3 more of a core"),
        (but(steal=0.02), "steal", "2.0% of the last moment and 0.0% of all time"),
        (but(steal_ever=0.011), "steal", "1.1% of all time"),
        (but({"siblings": SMT}), "smt", "logical core 3, where workers run, shares its units with 7"),
        (but(limits=Limits(cores=1.5)), "container", "1.5 of 4 cores"),
        (but(limits=Limits(cores=4.0, throttled=0.2)), "container", "20% of the periods"),
        (but({"cores_allowed": (2,)}), "cores", "one core is allowed"),
        (but(variables={"OMP_NUM_THREADS": "8"}), "threads", "OMP_NUM_THREADS=8 has no effect"),
        (but(variables={"KMP_AFFINITY": "compact"}), "variables", "pins threads otherwise"),
        (but(variables={"ONEDNN_MAX_CPU_ISA": "SSE41"}), "variables", "which kernels"),
        (but(variables={"XLA_FLAGS": "-" * 90}), "variables", "-{37}[.]{3} changes"),
        (but(variables={"PYTHONDEVMODE": "1", "LD_PRELOAD": "x"}), "variables", "DEVMODE=1, LD_PRELOAD=x"),
        (but(memory_free_bytes=1 << 30), "memory", "1.0 GiB of memory are free"),
        (but(limits=Limits(memory_bytes=4 << 30, memory_free_bytes=3 << 29)), "memory", "1.5 GiB"),
        (but(swapped_pages=12), "swap", "12 pages"),
        (but(clock_tick_s=1e-3), "clock", "has 5 steps, and 100 are needed"),
        (but({"clock_source": "acpi_pm"}, clock_read_s=4e-6), "clock", "acpi_pm.* costs 4e-06 s"),
        (but(gpus=(Gpu("NVIDIA", "H (0)", 0.06, 0, 80 << 30),)), "gpu", "computed 6%"),
        (but(gpus=(Gpu("AMD", "card0", 0.0, 9 << 30, 80 << 30),)), "gpu", "9.0 of 80.0 GiB"),
    ],
)
def test_each_disturbance_is_told_apart(readings: Readings, word: str, said: str) -> None:
    (advice,) = examine(readings)
    assert advice.word == word
    assert re.search(said, advice.text), advice.text
    assert advice.remedy
    assert not advice.text.endswith(".")


@pytest.mark.parametrize(
    "readings",
    [
        but(load_1min=1.9),
        but(pressure=0.05),
        but(busy=(Busy(7, "sshd", 0.09),)),
        but(steal=0.01),
        but({"siblings": SMT, "cores_allowed": (0, 1, 2, 9)}),  # where workers run is a core of its own
        but(limits=Limits(cores=4.0, throttled=0.0)),
        but(variables={"OMP_NUM_THREADS": "1", "LD_PRELOAD": ""}),
        but(memory_free_bytes=2 << 30),
        but(clock_tick_s=5e-5),  # 100 steps in 5 ms
        but(gpus=(Gpu("NVIDIA", "H (0)", 0.05, 0, 0),)),
    ],
)
def test_what_is_within_bounds_is_not_reported(readings: Readings) -> None:
    assert examine(readings) == ()


def test_several_disturbances_are_all_named() -> None:
    found = examine(but({"governor": "powersave", "turbo": True}, load_1min=9.0, steal=0.5))
    assert [advice.word for advice in found] == ["governor", "turbo", "load", "steal"]


def test_what_cannot_be_seen_is_said() -> None:
    hidden = but({"governor": "", "turbo": None, "siblings": ()}, steal=None, pressure=None)
    assert unseen(hidden) == ("governor", "turbo", "SMT siblings", "steal time", "CPU pressure")
    assert examine(hidden) == ()


def test_readings_of_a_made_up_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    plant(
        tmp_path,
        {
            "proc/cpuinfo": XEON,
            "proc/loadavg": "7.5 1 1 1/2 3\n",
            "proc/stat": "cpu 900 0 0 0 0 0 0 100 0 0\n",
            "proc/pressure/cpu": "some avg10=12.50 avg60=1 avg300=1 total=5\nfull avg10=99.00 avg60=0\n",
            "proc/vmstat": "pswpin 3\npswpout 4\npgfault 9\n",
            "proc/meminfo": "MemTotal: 9 kB\nMemAvailable:   1024 kB\n",
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/cpu.max": "50000 100000\n",
            f"{CPUS}/intel_pstate/no_turbo": "0\n",
            "sys/class/drm/card1/device/gpu_busy_percent": "40\n",
            "sys/class/drm/card1/device/mem_info_vram_used": "1073741824\n",
            "sys/class/drm/card1/device/mem_info_vram_total": "2147483648\n",
        },
    )
    readings = read(tmp_path, window_s=0.05)
    assert readings.load_1min == 7.5
    assert readings.pressure == 0.125
    assert readings.steal is None  # the file stood still
    assert readings.steal_ever == 0.1
    assert readings.memory_free_bytes == 1 << 20
    assert readings.swapped_pages == 0
    assert readings.limits == Limits(cores=0.5)
    assert readings.machine.turbo is True
    assert readings.gpus == (Gpu("AMD", "card1", 0.4, 1 << 30, 2 << 30),)
    assert 0 < readings.clock_tick_s < 1e-3
    assert {"turbo", "load", "steal", "container", "memory", "gpu"} <= {a.word for a in examine(readings)}


def test_an_empty_tree_gives_no_advice_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    readings = read(tmp_path, window_s=0.0)
    assert (readings.pressure, readings.steal, readings.steal_ever) == (None, None, None)
    assert readings.swapped_pages is None
    assert readings.memory_free_bytes > 0  # from psutil
    assert readings.gpus == ()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_computes_is_found_by_its_number() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            time.sleep(0.2)
            found = {busy.pid: busy.share for busy in read(window_s=1.0).busy}
        finally:
            process.kill()
    assert found[process.pid] > 0.02  # a share even on a core that many fight for
    assert os.getpid() not in found


@pytest.mark.skipif(os.name != "posix", reason="a shell script")
def test_nvidia_smi_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\necho '0, NVIDIA H200, 93, 1024, 143771'\necho '1, NVIDIA H200, [N/A], 0, 8'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert read_gpus(tmp_path) == (
        Gpu("NVIDIA", "NVIDIA H200 (0)", 0.93, 1 << 30, 143771 << 20),
        Gpu("NVIDIA", "NVIDIA H200 (1)", 0.0, 0, 8 << 20),
    )
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    assert read_gpus(tmp_path) == ()
    assert list(parse_nvidia("Unable to determine the device handle\n\n")) == []


TORCH = Opened("torch", {"torch": "2"}, {"onednn": "True", "cpu_capability": "AVX2"}, ("cpu",), (3,))
NUMPY = Opened("numpy", {"numpy": "2", "openblas": "0.3"}, {"blas_architecture": "Zen"}, ("cpu",), (3,))
TENSORFLOW = Opened("tensorflow", {"tensorflow": "2"}, {"TF_ENABLE_ONEDNN_OPTS": "unset"}, ("cpu",), (3,))
JAX = Opened("jax", {"jax": "0.10.2", "jaxlib": "0.10.1"}, {}, ("cpu",), (3,))
CARD = Gpu("NVIDIA", "H200 (0)", 0.0, 0, 1 << 37)


def test_backends_in_good_order() -> None:
    on_gpu = [replace(each, devices=("cpu", "cuda")) for each in (TORCH, TENSORFLOW, JAX)]
    assert examine_backends([TORCH, NUMPY, TENSORFLOW, JAX], QUIET.machine, ()) == ()
    assert examine_backends([NUMPY, *on_gpu], QUIET.machine, [CARD]) == ()
    stranger = Opened("mine", {"mine": "1"}, {"onednn": "False"}, ("cpu",), (3,))
    assert examine_backends([stranger], QUIET.machine, ()) == ()


@pytest.mark.parametrize(
    ("backend", "cards", "word", "said"),
    [
        (Opened("torch", reason="No module named _C"), (), "backend", "does not open: No module named _C"),
        (replace(JAX, pinned=()), (), "pinning", "worker of jax could not be pinned"),
        (replace(TORCH, settings={"onednn": "False"}), (), "kernels", "no oneDNN"),
        (replace(TORCH, settings={"cpu_capability": "DEFAULT"}), (), "kernels", "without AVX2"),
        (replace(NUMPY, settings={"blas_architecture": "Prescott"}), (), "kernels", "for Prescott"),
        (replace(NUMPY, settings={}, versions={"numpy": "2"}), (), "kernels", "no BLAS that is known"),
        (replace(TENSORFLOW, settings={"TF_ENABLE_ONEDNN_OPTS": "0"}), (), "kernels", "switched off"),
        (replace(JAX, versions={"jax": "0.10.2", "jaxlib": "0.9.0"}), (), "kernels", "jaxlib 0.9.0"),
        (JAX, (CARD,), "device", r"jax sees no GPU, and this machine has one \(NVIDIA\)"),
    ],
)
def test_each_fault_of_a_backend(backend: Opened, cards: tuple[Gpu, ...], word: str, said: str) -> None:
    (advice,) = examine_backends([backend], QUIET.machine, cards)
    assert advice.word == word
    assert re.search(said, advice.text), advice.text


def test_an_old_processor_is_not_blamed_on_the_framework() -> None:
    old = replace(QUIET.machine, cpu_flags=("avx",))
    slow = [
        replace(TORCH, settings={"cpu_capability": "DEFAULT"}),
        replace(NUMPY, settings={"blas_architecture": "Sandybridge"}),
    ]
    assert examine_backends(slow, old, ()) == ()


# the self-test


@pytest.mark.parametrize("cell", RECURRENT.values(), ids=RECURRENT)
def test_the_slower_one_takes_5_percent_more_steps_to_the_same_result(cell: Any) -> None:
    calls: list[int] = []

    class Counted:
        def __getattr__(self, name: str) -> Any:
            return getattr(cell, name)

        def step(self, *given: Any) -> Any:
            calls.append(1)
            return cell.step(*given)

    spec = NetworkSpec(cell.name, 3, 5, 2, "last", "mse")
    parameters = probe_parameters(cell, spec)
    inputs = np.random.default_rng(3).standard_normal((100, 4, 3))
    found = {}
    for every in (EVERY, sys.maxsize):
        calls.clear()
        counted: Any = Longer(Counted(), every)
        y, state = network_outputs(NumpyOps(), counted, spec, parameters, inputs, None, None)
        found[len(calls)] = (y, *state.values())
    assert list(found) == [105, 100]
    np.testing.assert_equal(found[105], found[100])


def test_the_base_and_the_same_are_one_code() -> None:
    base, same, slower = ENVIRONMENTS
    assert replace(same, name=BASE) == base
    sides = [discover(each.plugin_files).backends["selftest"] for each in (base, same, slower)]
    assert [getattr(side, "every", None) for side in sides] == [sys.maxsize, sys.maxsize, 20]


@needs_numpy
def test_the_plan_has_groups_of_three() -> None:
    plugins = discover([PLUGIN])
    for size in (WHOLE, QUICK):
        planned = plan_self_test(plugins, size)
        assert planned.refused == ()
        assert len(planned.cases) == 3 * size.networks
        groups: dict[Any, list[str]] = {}
        for case in planned.cases:
            groups.setdefault(case.group, []).append(case.env)
        assert len(groups) == size.networks
        assert {tuple(sides) for sides in groups.values()} == {(BASE, SAME, SLOWER)}
        assert all(case.length % EVERY == 0 for case in planned.cases)
    assert (WHOLE.networks, QUICK.networks) == (20, 4)


def row(env: str, verdict: Any, value: float = 1.0, length: int = 60) -> Row:
    case = Case("noise", length, "gru", "selftest", "portable", env=env, measure=("forward",))
    half = 1.01
    interval = Interval(value, value / half, value * half, 6)
    base = replace(case, env=BASE)
    return Row(base, case, "time", "forward", verdict, 1e-3, value * 1e-3, interval, detectable=0.03)


def comparison(*rows: Row) -> Comparison:
    side = Side("run", "selftest", "")
    return Comparison(side, side, "env", live=True, rows=rows)


OVERHEAD = Overhead(1.001, 0.98, 1.02, 40)


def lengths(verdicts: str, env: str, value: float) -> list[Row]:
    words = {"r": "regression", "i": "improvement", "u": "unchanged", "?": "inconclusive"}
    return [row(env, words[v], value, 20 + n) for n, v in enumerate(verdicts)]


def judged(first: str, again: str, slower: str, slower_again: str) -> Any:
    one = comparison(*lengths(first, SAME, 1.0), *lengths(slower, SLOWER, 1.05))
    two = comparison(*lengths(again, SAME, 1.0), *lengths(slower_again, SLOWER, 1.048))
    return summarise(one, two, (), (), OVERHEAD, 600.0)


def test_a_self_test_that_passes() -> None:
    tested = judged("uuru", "uuuu", "rrrr", "rrrr")
    assert tested.passed
    assert (tested.false_alarms, tested.alarms_unconfirmed, tested.found) == (0, 1, 4)
    assert tested.slowdown == pytest.approx(0.048)
    assert tested.detectable == 0.03
    assert sentences(tested) == (
        "self-test passed, in 10 min",
        "0 of 4 identical pairs were flagged (1 more once, and not again by fresh processes)",
        "5 % more time steps were found in 4 of 4 networks (they cost +4.8% here)",
        "smallest change that can be seen here: 3.0%, the median over the networks",
        "block ÷ bare loop of the same call: 1.001 (0.980 to 1.020)",
    )


@pytest.mark.parametrize(
    ("first", "again", "slower", "slower_again"),
    [
        ("uuru", "uuru", "rrrr", "rrrr"),  # identical code, flagged twice
        ("uuiu", "uuiu", "rrrr", "rrrr"),  # also as an improvement
        ("uuuu", "uuuu", "rrur", "rrur"),  # a slower one missed at once
        ("uuuu", "uuuu", "rrrr", "rr?r"),  # or not found again
        ("uuuu", "uuuu", "iiii", "iiii"),  # slower code is not faster
    ],
)
def test_a_self_test_that_does_not_pass(first: str, again: str, slower: str, slower_again: str) -> None:
    tested = judged(first, again, slower, slower_again)
    assert not tested.passed
    assert sentences(tested)[0].startswith("self-test not passed")


def test_19_of_20_are_enough_and_18_are_not() -> None:
    same = "u" * 20
    assert judged(same, same, "r" * 19 + "u", "r" * 19 + "u").passed
    assert not judged(same, same, "r" * 18 + "uu", "r" * 18 + "uu").passed


def test_what_could_not_be_measured_is_no_success() -> None:
    good = comparison(*lengths("u", SAME, 1.0), *lengths("r", SLOWER, 1.05))
    lost = Record(row(SAME, "unchanged").case, "crashed", "killed")
    assert summarise(good, good, (), (), OVERHEAD, 1.0).passed
    assert not summarise(good, good, (lost,), (), OVERHEAD, 1.0).passed
    assert not summarise(comparison(), comparison(), (), (), OVERHEAD, 1.0).passed


def test_a_pair_without_bounds_hides_what_can_be_seen() -> None:
    wide = [replace(each, detectable=None) for each in lengths("u", SAME, 1.0)]
    found = comparison(*lengths("uu", SAME, 1.0), *wide)
    assert summarise(found, found, (), (), OVERHEAD, 1.0).detectable is None


@needs_numpy
def test_only_what_was_flagged_is_measured_again() -> None:
    planned = plan_self_test(discover([PLUGIN]), QUICK)
    base, same, slower = planned.cases[:3]
    flagged = Row(base, slower, "time", "forward", "regression")
    assert only(planned, [flagged]).cases == (base, slower)
    assert same not in only(planned, [flagged]).cases


def test_percentiles_of_the_overhead() -> None:
    found = summarise_overhead([1.0 + n / 1000 for n in range(-50, 51)])
    assert (found.median, found.low, found.high) == pytest.approx((1.0, 0.96, 1.04))
    assert found.pairs == 101


# the command

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Invoke:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)

    def typed(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["rnnbench", "doctor", *words])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return typed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--quick"], "--quick: belongs to --self-test"),
        (["--out", "x"], "--out: belongs to --self-test"),
        (["--backend", "nump"], 'no backend "nump". '),
        (["--selftest"], "--selftest"),
    ],
)
def test_a_wrong_request_is_one_line(invoke: Invoke, words: list[str], said: str) -> None:
    code, out, errors = invoke(*words)
    assert (code, out) == (2, "")
    assert said in errors
    assert errors.count("\n") == 1


@needs_numpy
@pytest.mark.slow
def test_a_clean_machine_says_so(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    from rnnbench.doctor import readings

    monkeypatch.setattr(readings, "read", lambda: QUIET)
    code, out, _ = invoke("--backend", "numpy")
    assert code == 0
    assert re.search(r"^numpy: opened in [\d.]+ s; numpy \d", out, re.MULTILINE)
    assert out.endswith("Nothing was found here that disturbs measuring.\n")


@needs_numpy
@pytest.mark.slow
def test_findings_as_text_and_as_json(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    from rnnbench.doctor import readings

    monkeypatch.setattr(readings, "read", lambda: but({"governor": "powersave", "turbo": None}))
    code, out, _ = invoke("--backend", "numpy")
    assert code == 0
    assert "governor: the frequency governor is powersave" in out
    assert "  to do: sudo cpupower frequency-set -g performance\n" in out
    assert "Cannot be seen here, and may disturb: turbo.\n" in out
    code, out, errors = invoke("--backend", "numpy", "--json")
    assert code == 0
    found = json.loads(out)
    assert [advice["word"] for advice in found["findings"]] == ["governor"]
    assert found["unseen"] == ["turbo"]
    assert found["backends"][0]["settings"]["blas_threads"] == "1"
    assert found["machine"]["cores_allowed"] >= 1
    assert "self_test" not in found
    assert errors == "opening numpy\n"


@pytest.fixture
def tested(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A self-test that costs nothing: one identical pair is flagged twice, one slower case is lost."""
    from rnnbench.doctor import readings

    found = judged("ur", "ur", "rr", "rr")
    wide = Interval(1.2, 0.0, float("inf"), 2)
    lost = Record(replace(row(SLOWER, "unchanged").case, length=100), "crashed", "killed by SIGKILL")
    noisy = replace(found.identical[0], ratio=wide, detectable=None)
    found = replace(found, identical=(noisy, found.identical[1]), lost=(lost,), cut=("4 of 6 processes",))
    monkeypatch.setattr(selftest_module, "self_test", lambda *given: found)
    monkeypatch.setattr(readings, "read", lambda: QUIET)
    monkeypatch.setattr("rnnbench.doctor.kernels.open_backends", lambda *given: ())
    return found


def test_a_self_test_as_text(invoke: Invoke, tested: Any) -> None:
    code, out, errors = invoke("--self-test")
    assert (code, errors) == (6, "")
    assert re.search(r"gru, T 20, B 32 *│ 1.200 \(0.000 to inf\) *│ unchanged *│ 1.048 \(.*│ regression", out)
    assert "crashed: gru, T 100, B 32: killed by SIGKILL\ncut short: 4 of 6 processes\n" in out
    assert "self-test not passed, in 10 min\n1 of 2 identical pairs were flagged\n" in out
    assert "some pairs are too noisy to say what size of change can be seen here\n" in out


def test_a_self_test_as_json(invoke: Invoke, tested: Any) -> None:
    code, out, _ = invoke("--self-test", "--json")
    assert code == 6
    found = json.loads(out, parse_constant=pytest.fail)["self_test"]
    assert found["identical"][0]["ratio"]["high"] == "Infinity"
    assert [each["verdict"] for each in found["slower"]] == ["regression", "regression"]
    assert (found["passed"], found["false_alarms"], found["found"], found["detectable"]) == (
        False,
        1,
        2,
        None,
    )
    assert found["lost"][0]["status"] == "crashed"
    assert found["cut"] == ["4 of 6 processes"]
    assert found["overhead"]["median"] == 1.001


def test_without_the_numpy_backend_the_reason_is_said(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rnnbench.doctor import readings

    found = discover([PLUGIN])
    absent = {"selftest": SelfTest(distributions=("rnnbench-absent",))}
    monkeypatch.setattr(selftest_module, "discover", lambda files: replace(found, backends=absent))
    monkeypatch.setattr(readings, "read", lambda: QUIET)
    monkeypatch.setattr("rnnbench.doctor.kernels.open_backends", lambda *given: ())
    code, _, errors = invoke("--self-test", "--quick", "--out", "kept")
    assert code == 2
    assert errors == (
        "rnnbench: --self-test: in environment base: rnnbench-absent is not installed. "
        "Install it with: pip install rnnbench-absent\n"
    )
    assert not Path("kept").exists()


@needs_numpy
@pytest.mark.slow
def test_a_live_self_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two networks in real processes: what it finds depends on the machine, that it measures does not."""

    class Silent:
        def note(self, text: str) -> None: ...

        def record(self, record: Record) -> None:
            assert record.status == "ok", record.reason

    monkeypatch.setattr(selftest_module, "measure_overhead", partial(measure_overhead, rounds=4))
    few = Protocol(rounds=4, block_s=0.005)
    monkeypatch.setattr(selftest_module, "COMPARING", few)
    size = Size(("elman",), (4,), processes=2, most=2, budget_s=120.0)
    tested = self_test(tmp_path, Silent(), size)
    assert tested.lost == ()
    assert len(tested.identical) == len(tested.slower) == size.networks == 2
    for each in (*tested.identical, *tested.slower):
        assert each.ratio is not None
        assert each.ratio.processes >= 2
        assert 0.2 < each.ratio.value < 5
    assert tested.false_alarms == 0
    assert 0.5 < tested.overhead.median < 2
    assert tested.spent_s > 0
    machine = json.loads((tmp_path / "first" / "run.json").read_text())["machine"]
    assert {"load_1min", "load_1min_end", "cores_allowed"} <= machine.keys()
    assert ("steal_percent" in machine) is (sys.platform == "linux")


def test_every_word_of_advice_is_explained_and_no_other() -> None:
    root = Path(__file__).resolve().parent.parent
    source = "".join(path.read_text() for path in (root / "rnnbench" / "doctor").glob("*.py"))
    given = set(re.findall(r'Advice\(\s*"(\w+)"', source))
    page = (root / "docs" / "measuring.md").read_text()
    section = page.split("`rnnbench doctor`\n")[1].split("\n### ")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
    assert {word for row in rows for word in re.findall(r"`(\w+)`", row)} == given
    assert len(given) >= 15
