"""GPUs and how busy they are, asked without a framework."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rnnbench.measuring.limits import read_text

_QUERY = "index,name,utilization.gpu,memory.used,memory.total"
_LIMIT_S = 20.0
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Gpu:
    """``busy`` is the share of the last moment in which it computed; bytes are the device's own."""

    maker: str
    name: str
    busy: float
    used_bytes: int
    memory_bytes: int


def read_gpus(root: Path = Path("/")) -> tuple[Gpu, ...]:
    """NVIDIA's by nvidia-smi, AMD's by the files of the kernel under ``root``."""
    return (*_nvidia(), *_amd(root))


def parse_nvidia(text: str) -> Iterator[Gpu]:
    """Lines of ``nvidia-smi --query-gpu=index,name,...``; what a card does not tell counts as 0."""
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 5:
            busy, used, total = (int(field) if field.isdigit() else 0 for field in fields[2:])
            yield Gpu("NVIDIA", f"{fields[1]} ({fields[0]})", busy / 100, used * _MIB, total * _MIB)


def _nvidia() -> Iterator[Gpu]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return
    try:
        asked = subprocess.run(
            [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return
    if asked.returncode == 0:
        yield from parse_nvidia(asked.stdout)


def _amd(root: Path) -> Iterator[Gpu]:
    for path in sorted((root / "sys/class/drm").glob("card*/device/gpu_busy_percent")):
        numbers = [
            int(text) if (text := read_text(path.with_name(name))) and text.isdigit() else 0
            for name in ("gpu_busy_percent", "mem_info_vram_used", "mem_info_vram_total")
        ]
        yield Gpu("AMD", path.parent.parent.name, numbers[0] / 100, numbers[1], numbers[2])
