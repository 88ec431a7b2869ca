"""What this machine is, and what else it did meanwhile: written into every run.

Everything is read from files and from psutil; nothing here starts a framework. What cannot be seen
(a governor inside a virtual machine, say) is left out, never guessed.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from rnnbench.measuring.launch import allowed_cores
from rnnbench.measuring.limits import read_limits, read_text

_ROOT = Path("/")
_CPUS = "sys/devices/system/cpu"
FLAGS = (
    "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni",
    "amx_tile", "amx_bf16", "amx_int8", "neon", "asimd", "asimddp", "asimdhp", "bf16", "i8mm", "sve", "sve2",
)  # fmt: skip
"""The instructions for which frameworks have kernels of their own."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OMP_DYNAMIC", "OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY",
    "KMP_BLOCKTIME", "MKL_NUM_THREADS", "MKL_DYNAMIC", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "XLA_FLAGS",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """The fingerprint. None or empty: cannot be seen here.

    ``cores`` counts physical ones; ``siblings`` groups the numbers of logical ones that share one.
    ``governor`` names those of the allowed cores; ``container_cores`` is a quota of CPU time. ``gpu`` and
    ``driver`` are NVIDIA's, as its kernel module tells them.
    """

    cpu: str
    architecture: str
    cpu_flags: tuple[str, ...]
    virtual: bool
    cores: int | None
    cores_logical: int | None
    cores_allowed: tuple[int, ...]
    siblings: tuple[tuple[int, ...], ...]
    memory_bytes: int
    swap_bytes: int
    container_cores: float | None
    container_memory_bytes: int | None
    os: str
    python: str
    governor: str
    turbo: bool | None
    clock_source: str
    gpu: str
    driver: str
    variables: Mapping[str, str]


def read_machine(
    root: Path = _ROOT,
    *,
    allowed: Sequence[int] | None = None,
    variables: Mapping[str, str] = os.environ,
) -> Machine:
    """What stands under ``root``/proc and ``root``/sys, for a process with these cores and variables."""
    info = read_text(root / "proc/cpuinfo") or ""
    flags = _field(info, "flags", "Features").split()
    if allowed is None:
        allowed = allowed_cores() or range(os.cpu_count() or 1)
    siblings, memory = _siblings(root), read_memory(root)
    limits = read_limits(root)
    return Machine(
        cpu=_cpu_model(info),
        architecture=platform.machine(),
        cpu_flags=tuple(flag for flag in FLAGS if flag in flags),
        virtual="hypervisor" in flags,
        cores=len(siblings) or psutil.cpu_count(logical=False),
        cores_logical=sum(map(len, siblings)) or os.cpu_count(),
        cores_allowed=tuple(allowed),
        siblings=siblings,
        memory_bytes=memory.get("MemTotal") or psutil.virtual_memory().total,
        swap_bytes=memory["SwapTotal"] if "SwapTotal" in memory else psutil.swap_memory().total,
        container_cores=limits.cores,
        container_memory_bytes=limits.memory_bytes,
        os=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_version()}",
        governor=_governor(root, allowed),
        turbo=_turbo(root),
        clock_source=read_text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource")
        or "",
        gpu=_gpus(root),
        driver=_driver(root),
        variables={name: variables[name] for name in THREAD_VARIABLES if name in variables},
    )


def describe_machine(root: Path = _ROOT) -> dict[str, Any]:
    """The fingerprint as a flat mapping for run.json, with the load now; what is not known is left out."""
    machine = read_machine(root)
    facts = asdict(machine) | {
        "cpu_flags": " ".join(machine.cpu_flags),
        "cores_allowed": len(machine.cores_allowed),
        "siblings": " ".join(",".join(map(str, group)) for group in machine.siblings if len(group) > 1),
        "load_1min": read_load(root),
    }
    facts |= {name.lower(): value for name, value in facts.pop("variables").items()}
    return {name: value for name, value in facts.items() if value not in (None, "")}


@dataclass(frozen=True, slots=True)
class Ticks:
    """CPU time of all cores since the start of the machine, in ticks of the kernel."""

    total: int
    steal: int


class Watch:
    """From its making on: what others did while a run was measured."""

    def __init__(self, root: Path = _ROOT) -> None:
        self._root = root
        self._before = read_ticks(root)

    def seen(self) -> dict[str, float]:
        """load_1min_end, and steal_percent of all cores' time since the watch began, where it is told."""
        steal = steal_share(self._before, read_ticks(self._root))
        found = {"load_1min_end": read_load(self._root)}
        return found if steal is None else found | {"steal_percent": round(100 * steal, 2)}


def read_load(root: Path = _ROOT) -> float:
    """Processes that ran or wanted to, on average over the last minute."""
    text = read_text(root / "proc/loadavg")
    return float(text.split()[0]) if text else psutil.getloadavg()[0]


def read_memory(root: Path = _ROOT) -> dict[str, int]:
    """/proc/meminfo in bytes: MemTotal, MemAvailable, SwapTotal, ...; empty where there is none."""
    rows = re.findall(r"^(\w+):\s+(\d+) kB$", read_text(root / "proc/meminfo") or "", re.MULTILINE)
    return {name: int(size) * 1024 for name, size in rows}


def read_ticks(root: Path = _ROOT) -> Ticks | None:
    """The first line of /proc/stat; None where there is none, or it tells no steal."""
    row = (read_text(root / "proc/stat") or "").partition("\n")[0].split()
    if len(row) < 9:
        return None
    # guest time, behind steal, is counted in user time already
    times = [int(part) for part in row[1:9]]
    return Ticks(sum(times), times[7])


def steal_share(before: Ticks | None, after: Ticks | None) -> float | None:
    """The part of all CPU time between two readings that the host gave to other guests."""
    if before is None or after is None or after.total <= before.total:
        return None
    return (after.steal - before.steal) / (after.total - before.total)


def _cpu_model(info: str) -> str:
    named = _field(info, "model name", "Processor")
    if named:
        return named
    if sys.platform == "darwin":
        # platform.processor() says "arm" of every one of Apple's
        asked = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"],
            capture_output=True,
            text=True,
            check=False,
        )
        return asked.stdout.strip()
    part = _field(info, "CPU part")
    return f"implementer {_field(info, 'CPU implementer')} part {part}" if part else platform.processor()


def _field(info: str, *names: str) -> str:
    """The first value of a key of /proc/cpuinfo: of the first core."""
    for line in info.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""


def _siblings(root: Path) -> tuple[tuple[int, ...], ...]:
    lists = (root / _CPUS).glob("cpu[0-9]*/topology/thread_siblings_list")
    return tuple(sorted({parse_cores(text) for path in lists if (text := read_text(path))}))


def parse_cores(text: str) -> tuple[int, ...]:
    """
    Numbers in the kernel's list format.

    >>> parse_cores("0-2,8")
    (0, 1, 2, 8)
    """
    cores: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        cores += range(int(first), int(last or first) + 1)
    return tuple(cores)


def _governor(root: Path, allowed: Sequence[int]) -> str:
    found = (read_text(root / _CPUS / f"cpu{core}/cpufreq/scaling_governor") for core in allowed)
    return ", ".join(dict.fromkeys(name for name in found if name))


def _turbo(root: Path) -> bool | None:
    switched_off = read_text(root / _CPUS / "intel_pstate/no_turbo")
    if switched_off is not None:
        return switched_off == "0"
    for path in (root / _CPUS / "cpufreq/boost", *sorted((root / _CPUS / "cpufreq").glob("policy*/boost"))):
        switched_on = read_text(path)
        if switched_on is not None:
            return switched_on == "1"
    return None


def _gpus(root: Path) -> str:
    files = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    models = Counter(_field(read_text(path) or "", "Model") for path in files)
    return ", ".join(f"{count} × {model}" if count > 1 else model for model, count in models.items())


def _driver(root: Path) -> str:
    found = re.search(
        r"Kernel Module.*?\s(\d+\.[\d.]+)", read_text(root / "proc/driver/nvidia/version") or ""
    )
    return found[1] if found else ""
