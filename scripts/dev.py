"""Two commands for a bare clone; needs Python 3.11 to 3.13 with pip, nothing else.

- ``python3 scripts/dev.py quick``: make .venv, install rnnbench and its plugins, run suites/quick.yaml
- ``python3 scripts/dev.py test``: the same environment, then all tests; arguments go to pytest
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
INSTALLED = ENVIRONMENT / "installed"
BACKENDS = ("rnnbench-numpy", "rnnbench-torch", "rnnbench-jax", "rnnbench-tensorflow", "rnnbench-keras")
MOST_BESIDE = 4  # three frameworks in each process are gigabytes
PYTHONS = ((3, 11), (3, 13))


def main() -> int:
    """Run one of the two commands; returns its exit status."""
    commands = {"quick": quick, "test": test}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        print(__doc__)
        return 2
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        print(f"rnnbench needs Python 3.11 to 3.13; this is {sys.version.split()[0]} ({sys.executable})")
        return 2
    install()
    return commands[sys.argv[1]](sys.argv[2:])


def quick(arguments: list[str]) -> int:
    """The quick suite on every backend, ending in an HTML report."""
    return subprocess.call([tool("rnnbench"), "run", "quick", *arguments], cwd=ROOT)


def test(arguments: list[str]) -> int:
    """All tests, a file of them on each core; arguments go to pytest."""
    beside = ["-n", str(min(MOST_BESIDE, os.cpu_count() or 1)), "--dist", "loadfile"]
    return subprocess.call([tool("python"), "-m", "pytest", *beside, *arguments], cwd=ROOT)


def install() -> None:
    """Make the environment, once for each state of the files that decide what is in it."""
    wanted = digest()
    if INSTALLED.exists() and INSTALLED.read_text() == wanted:
        return
    print(f"Installing into {ENVIRONMENT}; with four frameworks this takes a few minutes.", flush=True)
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    packages: list[str] = ["-e", f"{ROOT}[test,oracles,dev]"]
    for backend in BACKENDS:
        extra = f"[{tensorflow_extra()}]" if backend == "rnnbench-tensorflow" else ""
        packages += ["-e", f"{ROOT / 'plugins' / backend}{extra}"]
    subprocess.check_call(
        [tool("python"), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), *packages]
    )
    INSTALLED.write_text(wanted)


def tensorflow_extra() -> str:
    """tensorflow-cpu, without gigabytes for GPUs, where it is built; else tensorflow."""
    return "cpu" if platform.machine() in ("x86_64", "AMD64") and sys.platform != "darwin" else "tensorflow"


def digest() -> str:
    """Identifies what install() would install."""
    deciding = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    files = [*deciding, *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def tool(name: str) -> str:
    """A program of the environment."""
    folder, suffix = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
    return str(ENVIRONMENT / folder / (name + suffix))


if __name__ == "__main__":
    sys.exit(main())
