"""Each backend, opened in a worker of its own: does it open, is it pinned, has it its fast kernels?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rnnbench.contracts import Settings
from rnnbench.doctor.advice import Advice
from rnnbench.doctor.gpus import Gpu
from rnnbench.measuring.launch import Environment
from rnnbench.measuring.machine import Machine
from rnnbench.measuring.process import WorkerKey
from rnnbench.measuring.refusals import Refused
from rnnbench.measuring.workers import Workers
from rnnbench.plugins import Plugins, availability

_OLD_KERNELS = frozenset(
    {"generic", "prescott", "core2", "penryn", "dunnington", "nehalem", "sandybridge", "atom", "athlon",
     "opteron", "opteron_sse3", "barcelona", "bobcat", "bulldozer", "piledriver", "steamroller", "armv8"}
)  # fmt: skip
"""OpenBLAS targets without AVX2 (x86) or tuned for no core in particular (Arm)."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a backend's worker said of itself; ``reason`` says why it did not open.

    ``pinned``: the cores that it was pinned to.
    """

    backend: str
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    pinned: tuple[int, ...] = ()
    import_s: float = 0.0
    reason: str = ""


def open_backends(
    plugins: Plugins, names: Sequence[str], plugin_files: Sequence[str], note: Callable[[str], None]
) -> tuple[Opened, ...]:
    """Open the installed ones of ``names``, one after the other, each in a fresh process."""
    environment = Environment(plugin_files=tuple(plugin_files))
    found = []
    for name in names:
        if availability(plugins.backends[name])[0] is None:
            continue
        note(f"opening {name}")
        with Workers((), (), environments=[environment]) as workers:
            try:
                opened = workers.of(WorkerKey(name, Settings())).opened
            except Refused as refused:
                found.append(Opened(name, reason=refused.reason))
                continue
        found.append(
            Opened(
                name,
                opened["versions"],
                opened["settings"],
                tuple(opened["devices"]),
                tuple(opened["pinned"]),
                opened["import_s"],
            )
        )
    return tuple(found)


def examine_backends(opened: Sequence[Opened], machine: Machine, gpus: Sequence[Gpu]) -> tuple[Advice, ...]:
    """All findings about backends; none: each opened, is pinned and has the kernels that its maker built."""
    return tuple(advice for backend in opened for advice in _examine(backend, machine, gpus))


def _examine(backend: Opened, machine: Machine, gpus: Sequence[Gpu]) -> Iterator[Advice]:
    if backend.reason:
        yield Advice(
            "backend",
            f"{backend.backend} is installed and does not open: {backend.reason}. Its cases will end so too",
            "repair or remove it",
        )
        return
    if not backend.pinned:
        yield Advice(
            "pinning",
            f"the worker of {backend.backend} could not be pinned: the system moves it between cores, and "
            "its threads are as many as the framework likes",
            "allow sched_setaffinity in the container, or measure on Linux",
        )
    if backend.backend in _CHECKS:
        yield from _CHECKS[backend.backend](backend, machine)
    if backend.backend != "numpy" and gpus and set(backend.devices) == {"cpu"}:
        makers = ", ".join(sorted({gpu.maker for gpu in gpus}))
        yield Advice(
            "device",
            f"{backend.backend} sees no GPU, and this machine has one ({makers}): its cases run on the CPU",
            "install the framework's build for this GPU and its driver",
        )


def _torch(backend: Opened, machine: Machine) -> Iterator[Advice]:
    if backend.settings.get("onednn") == "False":
        yield Advice(
            "kernels",
            "torch has no oneDNN: its LSTM then runs the loop of ATen, several times slower",
            "install torch from PyPI or pytorch.org, and do not switch torch.backends.mkldnn off",
        )
    if backend.settings.get("cpu_capability") == "DEFAULT" and "avx2" in machine.cpu_flags:
        yield Advice(
            "kernels",
            "torch uses kernels without AVX2, and this processor has it: element-wise work is several times "
            "slower",
            "unset ATEN_CPU_CAPABILITY, or install a build for this processor",
        )


def _numpy(backend: Opened, machine: Machine) -> Iterator[Advice]:
    architecture = backend.settings.get("blas_architecture", "")
    # threadpoolctl does not know Accelerate, which is the BLAS of NumPy on a Mac
    if not architecture and len(backend.versions) < 2 and not machine.os.startswith("Darwin"):
        yield Advice(
            "kernels",
            "NumPy has no BLAS that is known here: matrix products may run NumPy's own loops, a hundred "
            "times slower, on as many threads as it likes",
            "install NumPy from PyPI or conda-forge, which bring OpenBLAS or MKL",
        )
    modern = {"avx2", "sve"} & set(machine.cpu_flags)
    if architecture.lower() in _OLD_KERNELS and modern:
        yield Advice(
            "kernels",
            f"NumPy's BLAS chose its kernels for {architecture}, and this processor has {', '.join(modern)}: "
            "matrix products are several times slower",
            "unset OPENBLAS_CORETYPE, or install a BLAS that chooses at run time (DYNAMIC_ARCH)",
        )


def _tensorflow(backend: Opened, machine: Machine) -> Iterator[Advice]:
    if backend.settings.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        yield Advice(
            "kernels",
            "TensorFlow's oneDNN kernels are switched off: matrix products take Eigen's, which are slower on "
            "most processors",
            "unset TF_ENABLE_ONEDNN_OPTS, unless that is what you measure",
        )


def _jax(backend: Opened, machine: Machine) -> Iterator[Advice]:
    jax, jaxlib = (backend.versions.get(name, "") for name in ("jax", "jaxlib"))
    if jax and jaxlib and jax.split(".")[:2] != jaxlib.split(".")[:2]:
        yield Advice(
            "kernels",
            f"jax {jax} runs on the compiler of jaxlib {jaxlib}, which was made for another version",
            "install the two together: pip install -U jax",
        )


_CHECKS: Mapping[str, Callable[[Opened, Machine], Iterator[Advice]]] = {
    "torch": _torch,
    "numpy": _numpy,
    "tensorflow": _tensorflow,
    "jax": _jax,
}
