"""The words that a suite, a network and the command line choose among."""

from __future__ import annotations

from typing import Literal

Readout = Literal["last", "each"]
"""What the head reads: the last valid step, or each."""
Loss = Literal["cross_entropy", "mse"]
Merge = Literal["none", "concat", "sum"]
"""How two directions are merged; none: forward alone."""
Norm = Literal["none", "layer", "batch"]
"""What each layer's output is normalised over."""
DropoutKind = Literal["between", "variational"]
Attention = Literal["none", "bahdanau", "luong_dot", "luong_general", "luong_concat"]
"""What a decoder attends with."""
Optimizer = Literal["sgd", "adam"]
Dtype = Literal["float32", "float64"]
