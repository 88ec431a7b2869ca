"""What stands between layers: a norm of each layer's output, dropout, and a residual around the layer.

With x_l the input of layer l, y_l its output (both directions merged) and m_l its dropout mask,

    x_{l+1} = m_l ⊙ norm(y_l)            of the first layer, whose input is of another kind
    x_{l+1} = x_l + m_l ⊙ norm(y_l)      of the others, where ``residual`` is set

and what the head reads is x_{l+1} of the top layer, of which nothing is dropped. So the sum of a residual
network passes from layer to layer without a norm in its way (He et al., ECCV 2016); a layer's output is
normalised before it is added (Liu et al., CVPR 2022, res-post-norm). Where the head reads the last step,
what each direction ends with is merged first and then normalised, as Keras' Bidirectional does.

Of ``norm`` "batch" (Ioffe & Szegedy 2015) statistics in training are those of the batch, over all sequences
and time steps together, of which padding is none (Laurent et al. 2016: sequence-wise, and not in the
recurrence). Else they are running ones, which ``train_step`` moves towards the batch's, μ and σ² alike:

    running = m running + (1 - m) batch's,   m = BATCH_NORM_MOMENTUM
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from rnnbench.cells.normalising import BATCH_NORM_MOMENTUM, batch_norm, batch_norm_by, layer_norm
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.choices import Norm
from rnnbench.contracts import NetworkSpec

LayerNorm = Callable[[Ops, Array, Array, Array], Array]
BatchNorm = Callable[[Ops, Array, Array, Array, Array | None], tuple[Array, Array, Array]]


@dataclass(frozen=True, slots=True)
class Norms:
    """Kernels of a backend's own that compute ``layer_norm`` and, in training, ``batch_norm``."""

    layer: LayerNorm = layer_norm
    batch: BatchNorm = batch_norm


PORTABLE_NORMS = Norms()
_NORM_PARAMETERS: Mapping[Norm, tuple[str, ...]] = {
    "none": (),
    "layer": ("gain", "shift"),
    "batch": ("gain", "shift", "mean", "variance"),
}


def norm_shapes(spec: NetworkSpec, features: int) -> dict[str, tuple[int, ...]]:
    """Parameters of the norms: layers.<l>.norm.gain and .shift, both (F,) for F=features of a layer.

    Of batch norms also .mean and .variance, the running statistics.
    """
    return {
        f"layers.{index}.norm.{name}": (features,)
        for index in range(spec.layers)
        for name in _NORM_PARAMETERS[spec.norm]
    }


def is_running(name: str) -> bool:
    """Whether this parameter is a running statistic: no gradient flows into it, and no optimiser moves it."""
    return name.endswith((".norm.mean", ".norm.variance"))


def count_parameters(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many numbers; of running statistics, as frameworks count, none."""
    return sum(math.prod(shape) for name, shape in shapes.items() if not is_running(name))


def running_of(values: Arrays) -> dict[str, Array]:
    """The running statistics among parameters, or among what a network in training gives beside its outputs.

    The latter take the place of the former after an update.
    """
    return {name: value for name, value in values.items() if is_running(name)}


def compose(
    ops: Ops,
    spec: NetworkSpec,
    parameters: Arrays,
    layer: int,
    y: Array,
    x: Array,
    dropout: Arrays | None = None,
    mask: Array | None = None,
    *,
    training: bool = False,
    norms: Norms = PORTABLE_NORMS,
) -> tuple[Array, dict[str, Array]]:
    """y (...,F), the output of ``layer``, and x, its input -> what is read above it (...,F).

    x has the shape of y but for the first layer, where it is not used. ``mask`` (...,1): what of y is valid.
    Also gives the running statistics after this batch, where the layer has any and is in ``training``.
    """
    running: dict[str, Array] = {}
    prefix = f"layers.{layer}.norm."
    p = {name: parameters[prefix + name] for name in _NORM_PARAMETERS[spec.norm]}
    if spec.norm == "layer":
        y = norms.layer(ops, y, p["gain"], p["shift"])
    elif spec.norm == "batch" and not training:
        y = batch_norm_by(ops, y, p["gain"], p["shift"], p["mean"], p["variance"])
    elif spec.norm == "batch":
        y, mean, variance = norms.batch(ops, y, p["gain"], p["shift"], mask)
        for name, found in (("mean", mean), ("variance", variance)):
            kept = BATCH_NORM_MOMENTUM * p[name] + (1.0 - BATCH_NORM_MOMENTUM) * found
            running[prefix + name] = ops.stop_gradient(kept)
    dropped = f"layers.{layer + 1}"
    if dropout is not None and dropped in dropout:
        y = y * dropout[dropped]
    return (x + y if spec.residual and layer > 0 else y), running


def single_layer(spec: NetworkSpec, layer: int, features: int) -> NetworkSpec:
    """The structure of one layer alone, with nothing around it; above layer 0 its input has F=features."""
    return replace(
        spec,
        layers=1,
        input_size=spec.input_size if layer == 0 else features,
        vocab=None,
        residual=False,
        norm="none",
        dropout=0.0,
    )
