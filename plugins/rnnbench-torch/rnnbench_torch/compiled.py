"""The cell's step under torch.compile: a few time steps are one graph, and a Python loop runs it over all.

An unrolled loop of all T steps would compile for 1.7 s per step, and again for every other length.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from tempfile import TemporaryDirectory
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from rnnbench.cells.network import Layer
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.cells.stepping import masked_step
from rnnbench.contracts import Cell
from rnnbench.errors import Unsupported

STEPS = 5
"""Time steps in a graph: with one, calling it costs what fusing gains; compiling grows with them."""

_numbers = count()


def check_compiler(device: torch.device) -> None:
    """Raises ``Unsupported`` where what torch.compile generates could not be built."""
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise Unsupported("torch.compile needs Triton on a GPU, and it is not installed. Use portable.")
    if device.type == "cpu":
        usual = ("cl",) if sys.platform == "win32" else ("g++", "clang++")
        names = [os.environ["CXX"]] if os.environ.get("CXX") else usual
        if not any(shutil.which(name) for name in names):
            raise Unsupported(
                f"torch.compile needs a C++ compiler, and there is none here ({', '.join(names)}). "
                "Install one, such as the package g++, or use portable."
            )


@cache
def _start_afresh() -> TemporaryDirectory[str]:
    """No cache of earlier graphs, which would hide what a first use costs; no idle pool of processes.

    Each graph goes to a folder of its own inside this one, which is removed with the process.
    """
    from torch._inductor import config

    setattr(config, "compile_threads", 1)  # noqa: B010 - unknown to mypy
    # or the second of two equal networks would load in 0.15 s what took the first one seconds to build
    setattr(config, "force_disable_caches", True)  # noqa: B010
    folder = TemporaryDirectory(prefix="rnnbench-inductor-")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder.name
    return folder


class Compiler:
    """Compiles functions of one network with inductor, and counts the graphs.

    Of two equal graphs in one process both are compiled in full.
    """

    def __init__(self) -> None:
        _start_afresh()
        self.compilations = 0

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, compiled for each shape of its arguments at the first call with it."""
        assert isinstance(function, FunctionType)
        # dynamo keeps what it has compiled with the code object, which all networks would share
        code = function.__code__.replace(co_name=f"{function.__name__}_{next(_numbers)}")
        own = FunctionType(code, function.__globals__, closure=function.__closure__)
        return torch.compile(own, backend=self._build, fullgraph=True, dynamic=False)

    def _build(self, graph: Any, inputs: Sequence[Tensor]) -> Any:
        from torch._inductor.compile_fx import compile_fx

        self.compilations += 1
        return compile_fx(graph, inputs)


@cache
def pay_once(device: torch.device) -> None:
    """What only a process's first graphs cost, such as imports, so that no network's first call holds it."""

    def dummy(x: Tensor) -> Tensor:
        return torch.tanh(x @ x).sum()

    # large enough for vector instructions, whose probe and precompiled headers cost the most
    x = torch.ones(64, 64, device=device, requires_grad=True)
    with warnings.catch_warnings():
        # said once in a process, at its first graph: that a profile is not kept either, which is wanted
        warnings.filterwarnings("ignore", message="dynamo_pgo force disabled")
        torch.autograd.backward(Compiler().compile(dummy)(x), inputs=[x])


def read_compile_times() -> dict[str, float]:
    """Seconds in this process by dynamo's own clocks: inductor's are compile, all else is trace."""
    from torch._dynamo.utils import compilation_time_metrics

    def total(name: str) -> float:
        return float(sum(compilation_time_metrics.get(name, ())))

    forward_s, backward_s = total("OutputGraph.call_user_compiler"), total("backward._backward_impl")
    return {"trace": total("_compile.compile_inner") - forward_s, "compile": forward_s + backward_s}


def compiled_layer(compiler: Compiler) -> Layer:
    """What ``rnnbench.cells.network.unroll`` computes, ``STEPS`` steps a call; those left over are eager."""

    def steps(
        ops: Ops, cell: Cell, p: Arrays, us: Sequence[Arrays], state: Arrays
    ) -> tuple[Arrays, list[Array]]:
        ys = []
        for u in us:
            state, y = masked_step(ops, cell, p, u, state)
            ys.append(y)
        return state, ys

    compiled = compiler.compile(steps)

    def layer(
        ops: Ops, cell: Cell, p: Arrays, x: Array, mask: Array | None, state: Arrays
    ) -> tuple[Array, dict[str, Array]]:
        inputs = cell.project(ops, p, x)
        if mask is not None:
            inputs["mask"] = mask
        parts = {name: value.unbind(0) for name, value in inputs.items()}
        us = [{name: values[t] for name, values in parts.items()} for t in range(len(x))]
        whole = len(us) - len(us) % STEPS
        ys: list[Array] = []
        for start in range(0, whole, STEPS):
            state, several = compiled(ops, cell, p, us[start : start + STEPS], state)
            ys += several
        state, rest = steps(ops, cell, p, us[whole:], state)
        return torch.stack([*ys, *rest]), dict(state)

    return layer
