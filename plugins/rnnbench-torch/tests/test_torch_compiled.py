"""The compiled implementation: the same function, counted, and refused where nothing can compile."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace

import pytest
import torch
from rnnbench_torch import Torch
from rnnbench_torch import compiled as compiled_module
from rnnbench_torch.compiled import STEPS, Compiler, check_compiler

from rnnbench.contracts import NetworkSpec, Settings, TrainingSpec
from rnnbench.errors import Unsupported
from rnnbench.reference import probe_batch, probe_parameters
from rnnbench.testing import CELLS, parity_of, step_parity_of

pytestmark = [
    pytest.mark.framework,
    # torch's own: inductor imports scripted modules
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning"),
    # ... and dynamo looks at .grad of whatever it is given
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
]
SPEC = NetworkSpec("gru", 3, 5, 4, "each", "mse", lengths=True)


@pytest.mark.slow
def test_whole_sequences_and_steps_are_the_reference() -> None:
    session = Torch().open(Settings(dtype="float64"), CELLS)
    # seven steps: once the graph of five, and two that are left over
    parity = parity_of(session, CELLS["gru"], SPEC, "compiled", "float64", length=STEPS + 2)
    assert parity.passed, parity
    parity = step_parity_of(session, CELLS["gru"], SPEC, "compiled", "float64")
    assert parity.passed, parity


@pytest.mark.slow
def test_graphs_are_counted_and_serve_every_length() -> None:
    session, spec = Torch().open(Settings(), CELLS), replace(SPEC, cell="elman", lengths=False)
    network = session.build(spec, probe_parameters(CELLS["elman"], spec), TrainingSpec(), "compiled")
    assert network.compilations() == 0
    counts = []
    for length in (STEPS, 2 * STEPS + 1, STEPS - 1):
        network.forward(network.put(probe_batch(CELLS["elman"], spec, length, 2)))
        counts.append(network.compilations())
    assert counts == [1, 1, 1]
    assert network.path == "inductor, 5 steps at a time"


@pytest.mark.slow
def test_equal_networks_both_compile_in_full_and_tell_only_their_own() -> None:
    session, spec = Torch().open(Settings(), CELLS), replace(SPEC, cell="elman", lengths=False)
    own = []
    for _ in range(2):
        network = session.build(spec, probe_parameters(CELLS["elman"], spec), TrainingSpec(), "compiled")
        batch = network.put(probe_batch(CELLS["elman"], spec, STEPS, 2))
        before, start = network.compile_times(), time.perf_counter()
        network.forward(batch)
        seconds, after = time.perf_counter() - start, network.compile_times()
        parts = {part: after[part] - before[part] for part in after}
        assert 0 < sum(parts.values()) <= 1.05 * seconds + 0.05, (parts, seconds)
        own.append((seconds, parts["compile"]))
    assert own[1][0] >= own[0][1] / 3, own
    for kind in ("native", "portable"):
        eager = session.build(spec, probe_parameters(CELLS["elman"], spec), TrainingSpec(), kind)
        assert eager.compile_times() == {}


def test_functions_of_two_networks_are_compiled_apart() -> None:
    def double(x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    made = [Compiler().compile(double), Compiler().compile(double)]
    codes = {each._torchdynamo_orig_callable.__code__ for each in made}  # type: ignore[attr-defined]
    assert len(codes) == 2


def test_without_a_c_compiler_it_is_unsupported_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    check_compiler(torch.device("cpu")) if shutil.which("g++") else None
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(compiled_module.shutil, "which", lambda name: None)  # type: ignore[attr-defined]
    session = Torch().open(Settings(), CELLS)
    with pytest.raises(Unsupported, match=r"needs a C\+\+ compiler.*g\+\+"):
        session.build(SPEC, probe_parameters(CELLS["gru"], SPEC), TrainingSpec(), "compiled")
