"""GRU, reset before the product, by hand: n = tanh(u_n + (r h) U_n);  h' = n + z (h - n)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnnbench_numpy.native.kernel import Derivatives, blocks, carry, sigmoid_of_negated
from rnnbench_numpy.native.rows import Walk
from rnnbench_numpy.native.space import Space
from rnnbench_numpy.native.weights import Weights


class GRUResetBeforeKernel:
    """Of every step are kept r, z, n and h - n, and r h, which U_n multiplies."""

    x_gates = ("r", "z", "n")
    h_groups = (("r", "z"), ("n",))
    sigmoid_gates = frozenset("rz")
    others = ()

    def forward(
        self,
        w: Weights,
        u: np.ndarray,
        start: Mapping[str, np.ndarray],
        walk: Walk,
        space: Space,
        y: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """See Kernel."""
        (N, H), B = y.shape, len(start["h"])
        h_old, h_reset = space.take("h_old", (N, H)), space.take("h_reset", (N, H))
        kept = space.take("kept", (N * 4, H))
        product_rz, product_n = space.take("product_rz", (B, 2 * H)), space.take("product_n", (B, H))
        for step in walk:
            rows = slice(step.start, step.stop)
            n = step.stop - step.start
            r, z, new, difference = rznd = kept[step.start * 4 : step.stop * 4].reshape(4, n, H)
            h, rh, x_rzn, h_new = h_old[rows], h_reset[rows], blocks(u[rows], 3), y[rows]
            carry(h, y, start["h"], step)
            np.dot(h, w.h[0], out=product_rz[:n])
            np.add(blocks(product_rz[:n], 2), x_rzn[:2], out=rznd[:2])
            sigmoid_of_negated(rznd[:2])
            np.multiply(r, h, out=rh)
            np.dot(rh, w.h[1], out=product_n[:n])
            np.add(product_n[:n], x_rzn[2], out=new)
            np.tanh(new, out=new)
            np.subtract(h, new, out=difference)
            np.multiply(z, difference, out=h_new)
            h_new += new
        return {"h": y}

    def backward(self, w: Weights, dy: np.ndarray, walk: Walk, space: Space) -> Derivatives:
        """du_n = dh (1-z)(1-n²);  d(rh) = du_n U_nᵀ;  du_r = d(rh) h r(1-r);  du_z = dh (h-n) z(1-z)."""
        (N, H), B = dy.shape, max(step.stop - step.start for step in walk)
        h_old, h_reset = space.take("h_old", (N, H)), space.take("h_reset", (N, H))
        kept, d = space.take("kept", (N * 4, H)), space.take("d", (N, 3 * H))
        slopes, scratch = space.take("slopes", (2 * B, H)), space.take("scratch", (B, H))
        scratch_2 = space.take("scratch_2", (B, H))
        dh = np.zeros((B, H), dy.dtype)
        for step in reversed(walk):
            rows = slice(step.start, step.stop)
            n = step.stop - step.start
            r, z, new, difference = rznd = kept[step.start * 4 : step.stop * 4].reshape(4, n, H)
            slope, dh_n, tmp, d_rh = slopes[: 2 * n].reshape(2, n, H), dh[:n], scratch[:n], scratch_2[:n]
            d_r, d_z, d_n = blocks(d[rows], 3)
            dh_n += dy[rows]
            np.subtract(1.0, rznd[:2], out=slope)
            np.multiply(new, new, out=tmp)
            np.subtract(1.0, tmp, out=tmp)
            tmp *= slope[1]
            np.multiply(tmp, dh_n, out=d_n)
            np.dot(d[rows, 2 * H :], w.h_back[1], out=d_rh)
            slope *= rznd[:2]
            np.multiply(difference, dh_n, out=tmp)
            np.multiply(tmp, slope[1], out=d_z)
            np.multiply(d_rh, h_old[rows], out=tmp)
            np.multiply(tmp, slope[0], out=d_r)
            np.dot(d[rows, : 2 * H], w.h_back[0], out=tmp)
            dh_n *= z
            d_rh *= r
            dh_n += d_rh
            dh_n += tmp
        return Derivatives(d, ((h_old, d[:, : 2 * H]), (h_reset, d[:, 2 * H :])))
