"""Cells that compute all steps at once against torch.nn's own modules, in float64: outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from oracles import I

from rnnbench.contracts import NetworkSpec, Settings, TrainingSpec
from rnnbench.flops import network_flops
from rnnbench.reference import probe_batch, probe_parameters, reference_answers
from rnnbench.testing import CELLS

pytestmark = pytest.mark.framework
T, B, O = 11, 3, 4  # noqa: E741 - the letters of the equations
Leaves = Mapping[str, Any]


def feed_forward(torch: Any, p: Leaves, x: Any) -> Any:
    """x (B,T,I): ``functional.linear`` over windows that torch cuts itself."""
    functional = torch.nn.functional
    windows = functional.pad(x, (0, 0, 15, 0)).unfold(1, 16, 1)
    return torch.relu(functional.linear(windows.transpose(2, 3).flatten(2), p["W"].T, p["b"]))


def tcn(torch: Any, p: Leaves, x: Any) -> Any:
    """``functional.conv1d`` over channels first, padded on the left."""
    functional = torch.nn.functional
    z = x.transpose(1, 2)
    for level in range(6):
        f = z
        for name in "12":
            W = p[f"{level}.W_{name}"]
            kernel = W.reshape(3, -1, W.shape[1]).permute(2, 1, 0)
            padded = functional.pad(f, (2 * 2**level, 0))
            f = torch.relu(functional.conv1d(padded, kernel, p[f"{level}.b_{name}"], dilation=2**level))
        if level == 0:
            z = functional.conv1d(z, p["0.W_skip"].T[:, :, None], p["0.b_skip"])
        z = torch.relu(f + z)
    return z.transpose(1, 2)


def transformer(torch: Any, p: Leaves, x: Any) -> Any:
    """``torch.nn.TransformerEncoder`` with norm_first, a causal mask and a norm at its end."""
    H = p["W_in"].shape[1]
    make = torch.nn.TransformerEncoderLayer(
        H, 4, 4 * H, dropout=0.0, batch_first=True, norm_first=True, dtype=torch.float64
    )
    last = torch.nn.LayerNorm(H, dtype=torch.float64)
    encoder = torch.nn.TransformerEncoder(make, 2, last, enable_nested_tensor=False)
    values = {"norm.weight": p["gain"], "norm.bias": p["shift"]}
    for n in range(2):
        own = {
            "self_attn.in_proj_weight": p[f"{n}.W_qkv"].permute(1, 2, 0).flatten(0, 1),
            "self_attn.in_proj_bias": p[f"{n}.b_qkv"].flatten(),
            "self_attn.out_proj.weight": p[f"{n}.W_o"].T,
            "self_attn.out_proj.bias": p[f"{n}.b_o"],
            "linear1.weight": p[f"{n}.W_1"].T,
            "linear1.bias": p[f"{n}.b_1"],
            "linear2.weight": p[f"{n}.W_2"].T,
            "linear2.bias": p[f"{n}.b_2"],
            "norm1.weight": p[f"{n}.gain_1"],
            "norm1.bias": p[f"{n}.shift_1"],
            "norm2.weight": p[f"{n}.gain_2"],
            "norm2.bias": p[f"{n}.shift_2"],
        }
        values |= {f"layers.{n}.{name}": value for name, value in own.items()}
    t = np.arange(x.shape[1])[:, None] / 10_000 ** (np.arange(0, H, 2) / H)
    places = torch.from_numpy(np.stack([np.sin(t), np.cos(t)], 2).reshape(x.shape[1], H))
    mask = torch.nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=torch.float64)
    z = x @ p["W_in"] + p["b_in"] + places
    return torch.func.functional_call(encoder, values, (z,), {"mask": mask})


NETS: dict[str, Callable[[Any, Leaves, Any], Any]] = {
    "feed_forward": feed_forward, "tcn": tcn, "transformer": transformer
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_torch_nn(name: str) -> None:
    torch = pytest.importorskip("torch")
    spec = NetworkSpec(name, I, 8, O, "each", "mse")
    parameters = probe_parameters(CELLS[name], spec)
    batch = probe_batch(CELLS[name], spec, T, B)
    expected = reference_answers(CELLS[name], spec, parameters, batch, steps=0)
    leaves = {key: torch.tensor(value, requires_grad=True) for key, value in parameters.items()}
    prefix = "layers.0.forward."
    own = {key[len(prefix) :]: value for key, value in leaves.items() if key.startswith(prefix)}
    y = NETS[name](torch, own, torch.from_numpy(batch.inputs)) @ leaves["head.W"] + leaves["head.b"]
    np.testing.assert_allclose(y.detach().numpy(), expected.outputs, atol=1e-10)
    loss = ((y - torch.from_numpy(batch.targets)) ** 2).mean()
    assert loss.item() == pytest.approx(expected.loss, rel=1e-12)
    loss.backward()
    for key, leaf in leaves.items():
        np.testing.assert_allclose(leaf.grad.numpy(), expected.gradients[key], atol=1e-10, err_msg=key)


@pytest.mark.parametrize("name", NETS)
def test_torch_counts_the_same_operations(name: str) -> None:
    """Of attention torch computes all T² pairs, of which the function needs T (T + 1) / 2."""
    pytest.importorskip("torch")
    from rnnbench_torch import Torch
    from torch.utils.flop_counter import FlopCounterMode

    spec = NetworkSpec(name, I, 8, O, "each", "mse")
    session = Torch().open(Settings(), CELLS)
    network = session.build(spec, probe_parameters(CELLS[name], spec), TrainingSpec(), "portable")
    assert network.path == "eager, all steps at once"
    data = network.put(probe_batch(CELLS[name], spec, T, B))
    expected = network_flops(CELLS[name], spec, B, B * T, past=B * T * T)
    with FlopCounterMode(display=False) as counter:
        network.forward(data)
    assert counter.get_total_flops() == expected["forward"]
    with FlopCounterMode(display=False) as counter:
        network.gradients(data)
    assert counter.get_total_flops() == expected["gradients"]
