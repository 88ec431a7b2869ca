"""The fingerprint, read from made-up /proc and /sys trees of machines that nobody here has."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import psutil
import pytest

from rnnbench.measuring.limits import Limits, read_limits
from rnnbench.measuring.machine import (
    FLAGS,
    Ticks,
    Watch,
    describe_machine,
    parse_cores,
    read_load,
    read_machine,
    read_ticks,
    steal_share,
)

CPUS = "sys/devices/system/cpu"
XEON = "model name\t: Intel(R) Xeon(R) Platinum 8480+\nflags\t\t: fpu avx avx2 fma avx512f amx_tile lahf_lm\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"


def tree(root: Path, **files: str) -> Path:
    return plant(root, files)


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_an_intel_server(tmp_path: Path) -> None:
    topology = {
        f"{CPUS}/cpu{core}/topology/thread_siblings_list": f"{core % 4},{core % 4 + 4}\n" for core in range(8)
    }
    governors = {f"{CPUS}/cpu{core}/cpufreq/scaling_governor": "powersave\n" for core in (2, 3)}
    governors[f"{CPUS}/cpu0/cpufreq/scaling_governor"] = "performance\n"
    plant(
        tmp_path,
        topology
        | governors
        | {
            "proc/cpuinfo": XEON * 8,
            f"{CPUS}/intel_pstate/no_turbo": "0\n",
            "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
            "proc/meminfo": "MemTotal:       24 kB\nMemFree: 1 kB\nSwapTotal:   0 kB\nHugePages_Total: 7\n",
        },
    )
    machine = read_machine(
        tmp_path, allowed=[2, 3], variables={"OMP_NUM_THREADS": "4", "HOME": "/root", "XLA_FLAGS": "-x"}
    )
    assert machine.cpu == "Intel(R) Xeon(R) Platinum 8480+"
    assert machine.cpu_flags == ("avx", "avx2", "fma", "avx512f", "amx_tile")
    assert not machine.virtual
    assert (machine.cores, machine.cores_logical, machine.cores_allowed) == (4, 8, (2, 3))
    assert machine.siblings == ((0, 4), (1, 5), (2, 6), (3, 7))
    assert machine.governor == "powersave"
    assert machine.turbo is True
    assert machine.clock_source == "hpet"
    assert (machine.memory_bytes, machine.swap_bytes) == (24 << 10, 0)
    assert machine.variables == {"OMP_NUM_THREADS": "4", "XLA_FLAGS": "-x"}
    mixed = read_machine(tmp_path, allowed=[0, 3], variables={})
    assert mixed.governor == "performance, powersave"


def test_an_arm_processor_has_no_model_name(tmp_path: Path) -> None:
    machine = read_machine(tree(tmp_path, **{"proc/cpuinfo": ARM}), allowed=[0], variables={})
    if sys.platform != "darwin":
        assert machine.cpu == "implementer 0x41 part 0xd40"
    assert machine.cpu_flags == ("asimd", "asimddp", "sve")
    assert (machine.governor, machine.turbo, machine.clock_source) == ("", None, "")


@pytest.mark.parametrize(
    ("files", "turbo"),
    [
        ({}, None),
        ({"intel_pstate/no_turbo": "0"}, True),
        ({"intel_pstate/no_turbo": "1"}, False),
        ({"cpufreq/boost": "1"}, True),
        ({"cpufreq/boost": "0"}, False),
        ({"cpufreq/policy3/boost": "1"}, True),
        # Intel's own switch decides, whatever another driver left behind
        ({"intel_pstate/no_turbo": "1", "cpufreq/boost": "1"}, False),
    ],
)
def test_turbo(tmp_path: Path, files: dict[str, str], turbo: bool | None) -> None:
    plant(tmp_path, {f"{CPUS}/{name}": text for name, text in files.items()})
    assert read_machine(tmp_path, allowed=[0]).turbo is turbo


@pytest.mark.parametrize(
    ("text", "cores"), [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("0,4", (0, 4)), ("0-1,8-9", (0, 1, 8, 9))]
)
def test_lists_of_cores(text: str, cores: tuple[int, ...]) -> None:
    assert parse_cores(text) == cores


V2 = {"proc/self/cgroup": "0::/user/app\n"}
V1 = {"proc/self/cgroup": "7:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/\n"}
FREE: dict[str, str] = {
    "sys/fs/cgroup/user/app/cpu.max": "max 100000\n",
    "sys/fs/cgroup/user/app/memory.max": "max\n",
}


@pytest.mark.parametrize(
    ("files", "limits"),
    [
        ({}, Limits()),
        (V2 | FREE, Limits()),
        (V2 | {"sys/fs/cgroup/user/app/cpu.max": "150000 100000\n"}, Limits(cores=1.5)),
        # an ancestor's limit holds as well, and so does that of a container's own root
        (
            V2 | FREE | {"sys/fs/cgroup/user/cpu.max": "300000 100000\n", "sys/fs/cgroup/cpu.max": "20 10"},
            Limits(cores=2.0),
        ),
        (
            V2
            | {
                "sys/fs/cgroup/cpu.max": "50000 100000\n",
                "sys/fs/cgroup/cpu.stat": "usage_usec 5\nnr_periods 200\nnr_throttled 50\n",
            },
            Limits(cores=0.5, throttled=0.25),
        ),
        (
            V2
            | {
                "sys/fs/cgroup/memory.max": "1000\n",
                "sys/fs/cgroup/memory.current": "900\n",
                "sys/fs/cgroup/memory.stat": "anon 500\ninactive_file 300\n",
            },
            Limits(memory_bytes=1000, memory_free_bytes=400),
        ),
        # not what the kernel writes
        (V2 | {"sys/fs/cgroup/cpu.max": "many 5\n", "sys/fs/cgroup/memory.max": "lots\n"}, Limits()),
        # version 1: in the group's folder, or at the mount inside a container
        (
            V1
            | {
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            Limits(cores=2.5),
        ),
        (
            V1
            | {
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "5\n",
            },
            Limits(),
        ),
        (
            V1
            | {
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "700\n",
                "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 200\n",
            },
            Limits(memory_bytes=2000, memory_free_bytes=1500),
        ),
        # hybrid: version 2 stands beside version 1
        (
            {"proc/self/cgroup": "1:name=systemd:/\n0::/\n", "sys/fs/cgroup/unified/cpu.max": "10 20\n"},
            Limits(cores=0.5),
        ),
    ],
)
def test_limits_of_containers(tmp_path: Path, files: dict[str, str], limits: Limits) -> None:
    assert read_limits(plant(tmp_path, files)) == limits


@pytest.mark.parametrize(
    ("version", "driver"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n",
            "535.129.03",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35.03  Release Build\n", "560.35.03"),
        ("something else\n", ""),
    ],
)
def test_gpus_and_their_driver(tmp_path: Path, version: str, driver: str) -> None:
    nvidia = "proc/driver/nvidia"
    plant(tmp_path, {f"{nvidia}/version": version})
    for slot in ("01", "02"):
        plant(tmp_path, {f"{nvidia}/gpus/0000:{slot}:00.0/information": "Model: \t\t NVIDIA H200\nIRQ: 1\n"})
    machine = read_machine(tmp_path, allowed=[0])
    assert (machine.gpu, machine.driver) == ("2 × NVIDIA H200", driver)


def test_steal_is_a_share_of_all_time(tmp_path: Path) -> None:
    def stat(user: int, idle: int, steal: int) -> None:
        # guest time at the end is part of user time and must not count twice
        plant(tmp_path, {"proc/stat": f"cpu  {user} 0 0 {idle} 0 0 0 {steal} 9999 0\ncpu0 1 2 3 4\n"})

    plant(tmp_path, {"proc/loadavg": "3.61 1.83 1.34 17/173 16333\n"})
    stat(100, 100, 0)
    assert read_ticks(tmp_path) == Ticks(200, 0)
    watch = Watch(tmp_path)
    stat(150, 125, 25)
    assert watch.seen() == {"load_1min_end": 3.61, "steal_percent": 25.0}
    assert read_load(tmp_path) == 3.61


def test_steal_that_nobody_tells_is_not_invented(tmp_path: Path) -> None:
    assert read_ticks(tmp_path) is None
    assert "steal_percent" not in Watch(tmp_path).seen()
    assert steal_share(None, Ticks(1, 0)) is None
    assert steal_share(Ticks(5, 1), Ticks(5, 1)) is None
    plant(tmp_path, {"proc/stat": "cpu 1 2 3 4\n"})  # a kernel before 2.6.11
    assert read_ticks(tmp_path) is None


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    facts = describe_machine(tmp_path)
    assert not {"governor", "turbo", "container_cores", "container_memory_bytes", "siblings"} & facts.keys()
    assert {"cpu", "cpu_flags"}.isdisjoint(facts) or sys.platform == "darwin"
    assert None not in facts.values()
    assert "" not in facts.values()


def test_this_machine_as_others_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    facts = describe_machine()
    assert facts == json.loads(json.dumps(facts))
    assert all(isinstance(value, str | int | float) for value in facts.values())
    assert facts["memory_bytes"] == psutil.virtual_memory().total
    assert facts["omp_num_threads"] == "3"
    if hasattr(os, "sched_getaffinity"):
        assert facts["cores_allowed"] == len(os.sched_getaffinity(0))
        told = {flag for line in Path("/proc/cpuinfo").read_text().splitlines() for flag in line.split()}
        assert set(facts.get("cpu_flags", "").split()) == told & set(FLAGS)
        ticks = read_ticks()
        assert ticks is not None
        # another reader of the same clock, a moment later; 100 ticks a second and core
        assert sum(psutil.cpu_times()[:8]) == pytest.approx(ticks.total / 100, rel=0.01)
