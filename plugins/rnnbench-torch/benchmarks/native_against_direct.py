"""Native networks against the same torch modules called directly: ratios of time, with their spread.

    python benchmarks/native_against_direct.py --rounds 30

Dense against dense, packed against packed (packed before the clock starts, on both sides), the same
optimiser and clipping. The direct side is what anybody writes: nn.LSTM, nn.GRU or nn.RNN with both
biases trained, the head an nn.Linear on the last state. Blocks alternate, the order of each pair
at random; a ratio is native / direct of one pair.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from rnnbench_torch import Torch
from rnnbench_torch.layout import NATIVE
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from rnnbench.cells import rnnbench_cells
from rnnbench.contracts import Batch, NetworkSpec, Settings, TrainingSpec
from rnnbench.training import initialise

TRAINING = TrainingSpec(optimizer="adam", lr=0.003, clip=1.0)
PLAIN = {name for name, native in NATIVE.items() if not native.projected}
CELLS = {cell.name: cell for cell in rnnbench_cells() if cell.name in PLAIN}
Clock = Callable[[], float]
Calls = Mapping[str, Callable[[], Any]]


def native_calls(spec: NetworkSpec, batch: Batch, settings: Settings) -> tuple[Calls, str]:
    """The three phases as the harness calls them, and the kernel path."""
    session = Torch().open(settings, CELLS)
    network = session.build(spec, initialise(CELLS[spec.cell], spec, "uniform", 0.0, 0), TRAINING, "native")
    data = network.put(batch)
    return {
        "forward": lambda: network.forward(data),
        "gradients": lambda: network.gradients(data),
        "train_step": lambda: network.train_step(data),
    }, network.path


def direct_calls(spec: NetworkSpec, batch: Batch, device: str) -> Calls:
    """The same three phases, written by hand."""
    native = NATIVE[spec.cell]
    rnn = getattr(nn, native.module)(spec.input_size, spec.hidden, device=device, **native.options)
    head = nn.Linear(spec.hidden, spec.output_size, device=device)
    parameters = [*rnn.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=TRAINING.lr, fused=True)
    x: Any = torch.from_numpy(batch.inputs.swapaxes(0, 1).copy()).to(device)
    if batch.lengths is not None:
        x = pack_padded_sequence(x, torch.from_numpy(batch.lengths), enforce_sorted=False)
    targets = torch.from_numpy(batch.targets).long().to(device)

    def outputs() -> Any:
        _, final = rnn(x)
        h = final[0] if isinstance(final, tuple) else final
        return head(h[-1])

    def forward() -> Any:
        with torch.no_grad():
            return outputs()

    def gradients() -> Any:
        loss = functional.cross_entropy(outputs(), targets)
        return loss, torch.autograd.grad(loss, parameters)

    def train_step() -> Any:
        optimizer.zero_grad()
        loss = functional.cross_entropy(outputs(), targets)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(parameters, TRAINING.clip or 1.0)
        optimizer.step()
        return loss.detach()

    return {"forward": forward, "gradients": gradients, "train_step": train_step}


def time_block(call: Callable[[], Any], loops: int, sync: Callable[[], None], clock: Clock) -> float:
    """Seconds of one call, after an untimed one."""
    call()
    sync()
    start = clock()
    for _ in range(loops):
        call()
    sync()
    return (clock() - start) / loops


def compare(
    native: Callable[[], Any], direct: Callable[[], Any], rounds: int, sync: Callable[[], None], clock: Clock
) -> str:
    """Of a line: the direct side's median time, the ratios' median and quartiles, and minimum / minimum."""
    loops = max(1, round(0.02 / min(time_block(direct, 1, sync, clock) for _ in range(3))))
    ratios, seconds = [], []
    for _ in range(rounds):
        pair = {native: 0.0, direct: 0.0}
        for call in random.sample(list(pair), 2):
            pair[call] = time_block(call, loops, sync, clock)
        ratios.append(pair[native] / pair[direct])
        seconds.append(pair[direct])
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    best = min(ratio * direct for ratio, direct in zip(ratios, seconds, strict=True)) / min(seconds)
    return f"{1e3 * np.median(seconds):9.2f} {middle:7.3f}  ({low:.3f} to {high:.3f}) {best:7.3f}"


def make_case(cell: str, lengths: bool, arguments: argparse.Namespace) -> tuple[NetworkSpec, Batch]:
    """A classification of whole sequences; lengths from T/2 to T."""
    B, T = arguments.B, arguments.T
    rng = np.random.default_rng(0)
    spec = NetworkSpec(cell, arguments.I, arguments.H, 10, "last", "cross_entropy", lengths=lengths)
    sizes = rng.integers(T // 2, T + 1, B).astype(np.int32) if lengths else None
    inputs = rng.standard_normal((B, T, arguments.I)).astype(np.float32)
    return spec, Batch(inputs, rng.integers(0, 10, B).astype(np.int32), sizes)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in {"B": 32, "T": 100, "I": 64, "H": 128, "rounds": 20, "threads": 1}.items():
        parser.add_argument(f"-{name}" if len(name) == 1 else f"--{name}", type=int, default=default)
    parser.add_argument("--cell", choices=sorted(CELLS), nargs="*", default=["elman", "gru", "lstm"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: others use this machine too"
    )
    arguments = parser.parse_args()
    clock = time.perf_counter if arguments.clock == "wall" else time.process_time
    settings = Settings(device=arguments.device, threads=arguments.threads)
    sync = torch.cuda.synchronize if arguments.device.startswith("cuda") else lambda: None
    print(
        f"torch {torch.__version__}, {arguments.device}, {arguments.threads} thread(s), "
        f"B{arguments.B} T{arguments.T} I{arguments.I} H{arguments.H}, {arguments.rounds} pairs"
    )
    print(f"{'cell':10} {'batch':7} {'phase':11} {'direct/ms':>9} native/direct, quartiles   minima  path")
    gc.disable()
    for cell in arguments.cell:
        for lengths in (False, True):
            spec, batch = make_case(cell, lengths, arguments)
            native, path = native_calls(spec, batch, settings)
            direct = direct_calls(spec, batch, arguments.device)
            for phase, call in native.items():
                line = compare(call, direct[phase], arguments.rounds, sync, clock)
                print(
                    f"{cell:10} {'packed' if lengths else 'dense':7} {phase:11} {line}  {path}",
                    flush=True,
                )
            gc.collect()


if __name__ == "__main__":
    main()
