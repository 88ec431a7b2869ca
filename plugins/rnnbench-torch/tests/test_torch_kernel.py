"""The path is what runs: it follows torch's conditions, and torch's own profiler says the same."""

from __future__ import annotations

from typing import Any

import pytest
from rnnbench_torch import Torch
from rnnbench_torch.layout import NATIVE

from rnnbench.contracts import NetworkSpec, Settings
from rnnbench.errors import Unsupported
from rnnbench.reference import PROBE_TRAINING, probe_parameters
from rnnbench.testing import CELLS

pytestmark = pytest.mark.framework


def path_of(name: str, dtype: Any, lengths: bool, implementation: str = "native") -> str:
    session = Torch().open(Settings(dtype=dtype), CELLS)
    spec = NetworkSpec(name, 3, 5, 4, "last", "mse", layers=2, bidirectional="sum", lengths=lengths)
    return session.build(spec, probe_parameters(CELLS[name], spec), PROBE_TRAINING, implementation).path


@pytest.mark.parametrize(
    ("name", "dtype", "lengths", "path"),
    [
        ("lstm", "float32", False, "oneDNN LSTM"),
        ("lstm", "float32", True, "ATen packed loop; oneDNN LSTM where all lengths are equal"),
        ("lstm", "float64", False, "ATen loop"),
        ("lstm", "float64", True, "ATen packed loop"),
        ("lstm_projected", "float32", False, "ATen loop (oneDNN takes no projection)"),
        ("gru", "float32", False, "ATen loop"),
        ("gru", "float32", True, "ATen packed loop"),
        ("elman", "float32", False, "ATen loop"),
        ("elman_relu", "float64", True, "ATen packed loop"),
    ],
)
def test_paths_on_a_cpu(name: str, dtype: str, lengths: bool, path: str) -> None:
    import torch

    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        pytest.skip("this torch has no oneDNN")
    assert path_of(name, dtype, lengths) == path


def test_a_projection_that_is_none_is_refused() -> None:
    spec = NetworkSpec("lstm_projected", 3, 5, 4, "last", "mse", projection=5)
    parameters = probe_parameters(CELLS["lstm_projected"], spec)
    with pytest.raises(Unsupported, match="smaller than hidden, 5; projection is 5"):
        Torch().open(Settings(), CELLS).build(spec, parameters, PROBE_TRAINING, "native")


def test_the_path_changes_when_the_kernel_is_taken_away() -> None:
    import torch

    # torch.backends.mkldnn.flags, the public way, warns about GPUs that are not here
    torch._C._set_mkldnn_enabled(False)
    try:
        assert path_of("lstm", "float32", False) == "ATen loop"
    finally:
        torch._C._set_mkldnn_enabled(True)


def test_portable_is_an_eager_loop() -> None:
    assert path_of("lstm", "float32", True, "portable") == "eager loop"


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", sorted(NATIVE))
@pytest.mark.parametrize("lengths", [None, [3, 3], [3, 2]])
def test_the_profiler_sees_the_same_operators(name: str, lengths: list[int] | None) -> None:
    import torch
    from rnnbench_torch.kernel import Watch
    from torch.nn.utils.rnn import pack_padded_sequence

    native = NATIVE[name]
    projection = {"proj_size": 2} if native.projected else {}
    module = getattr(torch.nn, native.module)(3, 5, **native.options, **projection)
    x: Any = torch.randn(3, 2, 3)
    x = pack_padded_sequence(x, torch.tensor(lengths)) if lengths else x
    with Watch() as watch:
        module(x)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        module(x)
    seen = {event.name for event in profile.events() or ()}
    # what only moves or names memory is dispatched below the watch, or above the profiler
    assert {op for op in watch.operators if op not in seen} <= {"aten::detach", "aten::lift_fresh"}
    fused = "aten::mkldnn_rnn_layer"
    assert (fused in watch.operators) == (fused in seen) == (name == "lstm" and lengths != [3, 2])


def test_words_for_kernels_that_are_not_here() -> None:
    from rnnbench_torch.kernel import name_path

    assert name_path({"aten::_cudnn_rnn", "aten::zeros"}, "GRU", True) == "cuDNN"
    assert name_path({"aten::_lstm_mps"}, "LSTM", False) == "MPS LSTM"
    assert name_path({"aten::miopen_rnn"}, "RNN", False) == "MIOpen RNN"
    fused_cells = {"aten::_thnn_fused_gru_cell", "aten::addmm"}
    assert name_path(fused_cells, "GRU", False) == "ATen loop over fused cells"
    assert name_path({"aten::novel_rnn"}, "GRU", False) == "unknown operators aten::novel_rnn"
