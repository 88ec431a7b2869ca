"""What the readings of a machine mean for measuring. Pure: readings in, advice out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rnnbench.doctor.advice import Advice
from rnnbench.doctor.readings import Readings
from rnnbench.measuring.stations import COMPARING
from rnnbench.measuring.turns import LEAST_TICKS

BUSY_SHARE = 0.10
LOAD_SHARE = 0.5
PRESSURE = 0.05
STEAL = 0.01
GPU_BUSY = 0.05
GPU_MEMORY = 0.10
LEAST_MEMORY_BYTES = 2 << 30
"""A worker with a framework takes up to a gibibyte, and two of them may be compared."""
CLOCK_READ_S = 2e-6
_GIB = 1 << 30

_PINNING = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
_OVERRIDDEN = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_CHANGES_KERNELS = (
    "XLA_FLAGS", "TF_XLA_FLAGS", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES",
    "JAX_DISABLE_JIT", "TORCHDYNAMO_DISABLE",
)  # fmt: skip
_SLOWS = (
    "PYTHONDEVMODE", "PYTHONTRACEMALLOC", "PYTHONMALLOC", "LD_PRELOAD", "MALLOC_CHECK_", "MALLOC_PERTURB_",
    "CUDA_LAUNCH_BLOCKING", "COVERAGE_PROCESS_START",
)  # fmt: skip


def examine(readings: Readings) -> tuple[Advice, ...]:
    """All findings of all checks, in the order of ``CHECKS``; none: nothing seen here disturbs."""
    return tuple(advice for check in CHECKS for advice in check(readings))


def unseen(readings: Readings) -> tuple[str, ...]:
    """What no check could judge, because this system does not show it."""
    machine = readings.machine
    hidden = {
        "governor": not machine.governor,
        "turbo": machine.turbo is None,
        "SMT siblings": not machine.siblings,
        "steal time": readings.steal is None,
        "CPU pressure": readings.pressure is None,
    }
    return tuple(what for what, is_hidden in hidden.items() if is_hidden)


def check_governor(readings: Readings) -> Iterator[Advice]:
    """Any governor but performance lets the clock follow the load."""
    names = [name for name in readings.machine.governor.split(", ") if name and name != "performance"]
    if names:
        yield Advice(
            "governor",
            f"the frequency governor is {', '.join(names)}: the clock follows the load, so blocks that come "
            "after a pause are slower than those that do not",
            "sudo cpupower frequency-set -g performance",
        )


def check_turbo(readings: Readings) -> Iterator[Advice]:
    """Turbo ties the clock to temperature and neighbours."""
    if readings.machine.turbo:
        yield Advice(
            "turbo",
            "turbo is on: the clock depends on the temperature and on how many cores are busy, so times "
            "drift by several per cent",
            "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo (Intel), or "
            "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost",
        )


def check_load(readings: Readings) -> Iterator[Advice]:
    """Others that compute, as the kernel's averages tell."""
    cores = len(readings.machine.cores_allowed)
    waited = readings.pressure or 0.0
    if readings.load_1min > LOAD_SHARE * cores or waited > PRESSURE:
        pressed = f"; some task waited for a core during {waited:.0%} of the last 10 s" if waited else ""
        yield Advice(
            "load",
            f"the load was {readings.load_1min:.2f} over the last minute, on {_cores(cores)}{pressed}: "
            "others take turns with the worker that is timed",
            "end what else computes here, or wait; differences hold all the same, but need more processes",
        )


def check_busy(readings: Readings) -> Iterator[Advice]:
    """Others that compute, by name."""
    busy = [process for process in readings.busy if process.share >= BUSY_SHARE]
    if busy:
        named = ", ".join(f"{each.name} ({each.pid}) {each.share:.0%}" for each in busy[:5])
        more = f" and {len(busy) - 5} more" if len(busy) > 5 else ""
        yield Advice(
            "busy",
            f"other processes compute: {named}{more} of a core. They evict caches and may share the "
            "worker's core",
            "end them, or keep them to other cores (taskset)",
        )


def check_steal(readings: Readings) -> Iterator[Advice]:
    """Time that the host gave to other guests."""
    now, ever = readings.steal or 0.0, readings.steal_ever or 0.0
    if max(now, ever) > STEAL:
        yield Advice(
            "steal",
            f"the host gave {now:.1%} of the last moment and {ever:.1%} of all time so far to other guests: "
            "blocks are interrupted, and nothing in here shows which",
            "rent a machine with cores of its own; on this one measure more processes",
        )


def check_smt(readings: Readings) -> Iterator[Advice]:
    """Whether the core that workers are pinned to has a second hardware thread."""
    machine = readings.machine
    core = machine.cores_allowed[-1]  # that of a worker with one thread
    group = next((group for group in machine.siblings if core in group), (core,))
    if len(group) > 1:
        others = ", ".join(str(each) for each in group if each != core)
        yield Advice(
            "smt",
            f"SMT is on: logical core {core}, where workers run, shares its units with {others}, and what "
            "runs there slows it by up to a half",
            f"echo off | sudo tee /sys/devices/system/cpu/smt/control, or keep others off core {others}",
        )


def check_container(readings: Readings) -> Iterator[Advice]:
    """A quota of CPU time stops all threads when it is spent."""
    limits, cores = readings.limits, len(readings.machine.cores_allowed)
    throttled = limits.throttled or 0.0
    if limits.cores is not None and (limits.cores < cores or throttled > 0):
        yield Advice(
            "container",
            f"this container may use the time of {limits.cores:g} of {_cores(cores)}: once that is spent, "
            f"all its threads stop until the next period ({throttled:.0%} of the periods so far)",
            "give it whole cores instead of a quota: docker run --cpuset-cpus, a static CPU policy in "
            "Kubernetes",
        )


def check_cores(readings: Readings) -> Iterator[Advice]:
    """One core for everything."""
    if len(readings.machine.cores_allowed) == 1:
        yield Advice(
            "cores",
            "one core is allowed: the system and rnnbench itself share it with the worker that is timed",
            "allow a second core (taskset, docker run --cpuset-cpus)",
        )


def check_variables(readings: Readings) -> Iterator[Advice]:
    """Variables that work against the pinning, choose other kernels or slow everything."""
    given = readings.variables
    idle = [f"{name}={given[name]}" for name in _OVERRIDDEN if given.get(name, "1") != "1"]
    if idle:
        yield Advice(
            "threads",
            f"{', '.join(idle)} has no effect on workers: each gets as many threads as its case says",
            "unset it, and name threads in the suite (axes.threads)",
        )
    for names, effect in (
        (_PINNING, "pins threads otherwise than rnnbench does, and cores are then shared or left idle"),
        (_CHANGES_KERNELS, "changes which kernels a framework takes; the times are those of that choice"),
        (_SLOWS, "makes every call slower, and not all of them alike"),
    ):
        found = [f"{name}={_short(given[name])}" for name in names if given.get(name)]
        if found:
            yield Advice(
                "variables", f"{', '.join(found)} {effect}", "unset it, unless that is what you measure"
            )


def check_memory(readings: Readings) -> Iterator[Advice]:
    """Room for workers; pages that move to swap and back."""
    limit = readings.limits.memory_free_bytes
    free = readings.memory_free_bytes if limit is None else min(limit, readings.memory_free_bytes)
    if free < LEAST_MEMORY_BYTES:
        yield Advice(
            "memory",
            f"{free / _GIB:.1f} GiB of memory are free: two workers with a framework each may not fit, and "
            "the kernel drops caches or kills one",
            "end what holds memory, or raise the container's limit",
        )
    if readings.swapped_pages:
        yield Advice(
            "swap",
            f"{readings.swapped_pages} pages went to swap or came from it while this looked: a call that "
            "waits for a disk takes a thousand times as long",
            "end what holds memory, or sudo swapoff -a",
        )


def check_clock(readings: Readings) -> Iterator[Advice]:
    """Whether the clock can tell the shortest blocks that are timed."""
    block_s = COMPARING.block_s
    ticks = block_s / readings.clock_tick_s
    if ticks < LEAST_TICKS or readings.clock_read_s > CLOCK_READ_S:
        source = readings.machine.clock_source
        yield Advice(
            "clock",
            f"the clock{f' ({source})' if source else ''} has steps of {readings.clock_tick_s:.2g} s and "
            f"costs {readings.clock_read_s:.2g} s a reading: a block of {block_s:g} s has {ticks:.0f} steps, "
            f"and {LEAST_TICKS} are needed",
            "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource, where the "
            "kernel offers it",
        )


def check_gpus(readings: Readings) -> Iterator[Advice]:
    """GPUs that somebody uses."""
    for gpu in readings.gpus:
        share = gpu.used_bytes / gpu.memory_bytes if gpu.memory_bytes else 0.0
        if gpu.busy > GPU_BUSY or share > GPU_MEMORY:
            yield Advice(
                "gpu",
                f"{gpu.maker} {gpu.name} is busy: it computed {gpu.busy:.0%} of the last moment, and "
                f"{gpu.used_bytes / _GIB:.1f} of {gpu.memory_bytes / _GIB:.1f} GiB are taken; kernels of two "
                "processes wait for each other",
                "end what uses it (nvidia-smi, rocm-smi), or measure on another one (--device cuda:1)",
            )


CHECKS: tuple[Callable[[Readings], Iterator[Advice]], ...] = (
    check_governor,
    check_turbo,
    check_load,
    check_busy,
    check_steal,
    check_smt,
    check_container,
    check_cores,
    check_variables,
    check_memory,
    check_clock,
    check_gpus,
)


def _cores(count: int) -> str:
    return f"{count} core{'' if count == 1 else 's'}"


def _short(value: str) -> str:
    return value if len(value) <= 40 else f"{value[:37]}..."
