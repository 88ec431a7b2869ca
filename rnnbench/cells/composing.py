"""What stands between layers: a norm of each layer's output, dropout, and a residual around the layer.

With x_l the input of layer l, y_l its output (both directions merged) and m_l its dropout mask,

    x_{l+1} = m_l ⊙ norm(y_l)            of the first layer, whose input is of another kind
    x_{l+1} = x_l + m_l ⊙ norm(y_l)      of the others, where ``residual`` is set

and what the head reads is x_{l+1} of the top layer, of which nothing is dropped. So the sum of a residual
network passes from layer to layer without a norm in its way (He et al., ECCV 2016); a layer's output is
normalised before it is added (Liu et al., CVPR 2022, res-post-norm). Where the head reads the last step,
what each direction ends with is merged first and then normalised, as Keras' Bidirectional does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rnnbench.cells.normalising import layer_norm
from rnnbench.cells.ops import Array, Arrays, Ops
from rnnbench.contracts import NetworkSpec

LayerNorm = Callable[[Ops, Array, Array, Array], Array]


def norm_shapes(spec: NetworkSpec, features: int) -> dict[str, tuple[int, ...]]:
    """Parameters of the norms: layers.<l>.norm.gain and .shift, both (F,) for F=features of a layer."""
    if spec.norm == "none":
        return {}
    return {
        f"layers.{index}.norm.{name}": (features,)
        for index in range(spec.layers)
        for name in ("gain", "shift")
    }


def compose(
    ops: Ops,
    spec: NetworkSpec,
    parameters: Arrays,
    layer: int,
    y: Array,
    x: Array,
    dropout: Arrays | None,
    norm: LayerNorm = layer_norm,
) -> Array:
    """y (...,F), the output of ``layer``, and x, its input -> what is read above it (...,F).

    x has the shape of y but for the first layer, where it is not used. ``norm``: a kernel of the backend's
    own that computes ``layer_norm``.
    """
    if spec.norm == "layer":
        prefix = f"layers.{layer}.norm."
        y = norm(ops, y, parameters[prefix + "gain"], parameters[prefix + "shift"])
    mask = f"layers.{layer + 1}"
    if dropout is not None and mask in dropout:
        y = y * dropout[mask]
    return x + y if spec.residual and layer > 0 else y


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
