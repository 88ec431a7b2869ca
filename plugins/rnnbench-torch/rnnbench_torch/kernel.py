"""Which kernel a recurrent module really takes: watched, never inferred from torch's conditions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence, Set
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils._python_dispatch import TorchDispatchMode

FUSED_LAYERS = {
    "aten::mkldnn_rnn_layer": "oneDNN",
    "aten::_cudnn_rnn": "cuDNN",
    "aten::miopen_rnn": "MIOpen",
    "aten::_lstm_mps": "MPS",
}
"""Operators that do all time steps of a layer in one call."""

FUSED_CELLS = {"aten::_thnn_fused_lstm_cell", "aten::_thnn_fused_gru_cell"}
ACTIVATIONS = {"aten::tanh", "aten::tanh_", "aten::relu", "aten::relu_", "aten::sigmoid", "aten::sigmoid_"}


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the operators that reach a device, e.g. "aten::mkldnn_rnn_layer".

    torch's profiler sees the same (a test compares them), but its Kineto writes to stderr at each use.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the name, without its overload, and go on."""
        self.operators.add(func.name().partition(".")[0])
        return func(*args, **(kwargs or {}))


def watch_path(modules: Sequence[nn.RNNBase], *, packed: bool) -> str:
    """Run tiny batches through the modules of a network, and say in words what ran."""
    if not packed:
        return _watch_batch(modules, [2, 1], packed=False)
    path, equal = (_watch_batch(modules, lengths, packed=True) for lengths in ([2, 1], [2, 2]))
    # torch unpacks for oneDNN where it sees that all lengths are equal
    return path if path == equal else f"{path}; {equal} where all lengths are equal"


def _watch_batch(modules: Sequence[nn.RNNBase], lengths: list[int], *, packed: bool) -> str:
    paths = []
    for module in modules:
        weight = next(module.parameters())
        x: Any = torch.zeros(lengths[0], len(lengths), module.input_size).to(weight)
        paths.append(_watch_module(module, pack_padded_sequence(x, torch.tensor(lengths)) if packed else x))
    return ", ".join(dict.fromkeys(paths))


def _watch_module(module: nn.RNNBase, inputs: Any) -> str:
    """As ``forward`` runs it, and as ``gradients`` does."""
    paths = []
    for training in (False, True):
        module.training = training
        with torch.set_grad_enabled(training), Watch() as watch, warnings.catch_warnings():
            # torch says it once in a process; the path says it in every record
            warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
            module(inputs)
        packed = isinstance(inputs, PackedSequence)
        paths.append(name_path(watch.operators, type(module).__name__, packed))
    forward, gradients = paths
    path = forward if forward == gradients else f"{forward} in forward, {gradients} in gradients"
    on_cpu = next(module.parameters()).device.type == "cpu"
    return f"{path} (oneDNN takes no projection)" if module.proj_size and on_cpu else path


def name_path(operators: Set[str], layer: str, packed: bool) -> str:
    """Words for the operators that ran: "oneDNN LSTM", "cuDNN", "ATen packed loop", ..."""
    for operator, library in FUSED_LAYERS.items():
        if operator in operators:
            return library if library == "cuDNN" else f"{library} {layer}"
    loop = "ATen packed loop" if packed else "ATen loop"
    if operators & FUSED_CELLS:
        return f"{loop} over fused cells"
    return loop if operators & ACTIVATIONS else f"unknown operators {', '.join(sorted(operators))}"
