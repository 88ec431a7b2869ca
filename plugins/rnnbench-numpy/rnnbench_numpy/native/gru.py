"""GRU, reset after the product, by hand: n = tanh(u_n + r (h U_n + b_hn));  h' = n + z (h - n)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnnbench_numpy.native.kernel import Derivatives, blocks, carry, sigmoid_of_negated
from rnnbench_numpy.native.rows import Walk
from rnnbench_numpy.native.space import Space
from rnnbench_numpy.native.weights import Weights


class GRUKernel:
    """Of every step are kept r, z, n, q = h U_n + b_hn and h - n.

    Gradients stand as (n inside the reset, r, z, n): the first three belong to the product with h,
    the last three to the inputs.
    """

    x_gates = ("r", "z", "n")
    h_groups = (("n", "r", "z"),)
    sigmoid_gates = frozenset("rz")
    others = ("b_hn",)

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
        h_old, kept = space.take("h_old", (N, H)), space.take("kept", (N * 5, H))
        product = space.take("product", (B, 3 * H))
        for step in walk:
            rows = slice(step.start, step.stop)
            n = step.stop - step.start
            r, z, new, q, difference = rznqd = kept[step.start * 5 : step.stop * 5].reshape(5, n, H)
            h, a_nrz, x_rzn, h_new = h_old[rows], blocks(product[:n], 3), blocks(u[rows], 3), y[rows]
            carry(h, y, start["h"], step)
            np.dot(h, w.h[0], out=product[:n])
            np.add(a_nrz[1:], x_rzn[:2], out=rznqd[:2])
            sigmoid_of_negated(rznqd[:2])
            np.add(a_nrz[0], w.others["b_hn"], out=q)
            np.multiply(r, q, out=new)
            new += x_rzn[2]
            np.tanh(new, out=new)
            np.subtract(h, new, out=difference)
            np.multiply(z, difference, out=h_new)
            h_new += new
        return {"h": y}

    def backward(self, w: Weights, dy: np.ndarray, walk: Walk, space: Space) -> Derivatives:
        """du_n = dh (1-z)(1-n²);  du_r = du_n q r(1-r);  du_z = dh (h-n) z(1-z);  dq = du_n r."""
        (N, H), B = dy.shape, max(step.stop - step.start for step in walk)
        h_old, kept = space.take("h_old", (N, H)), space.take("kept", (N * 5, H))
        d, slopes = space.take("d", (N, 4 * H)), space.take("slopes", (2 * B, H))
        scratch = space.take("scratch", (B, H))
        dh = np.zeros((B, H), dy.dtype)
        for step in reversed(walk):
            rows = slice(step.start, step.stop)
            n = step.stop - step.start
            r, z, new, q, difference = rznqd = kept[step.start * 5 : step.stop * 5].reshape(5, n, H)
            slope, dh_n, tmp = slopes[: 2 * n].reshape(2, n, H), dh[:n], scratch[:n]
            d_q, d_r, d_z, d_n = blocks(d[rows], 4)
            dh_n += dy[rows]
            np.subtract(1.0, rznqd[:2], out=slope)
            np.multiply(new, new, out=tmp)
            np.subtract(1.0, tmp, out=tmp)
            tmp *= slope[1]
            tmp *= dh_n
            d_n[...] = tmp
            np.multiply(tmp, r, out=d_q)
            slope *= rznqd[:2]
            tmp *= q
            np.multiply(tmp, slope[0], out=d_r)
            np.multiply(difference, dh_n, out=tmp)
            np.multiply(tmp, slope[1], out=d_z)
            np.dot(d[rows, : 3 * H], w.h_back[0], out=tmp)
            dh_n *= z
            dh_n += tmp
        return Derivatives(d[:, H:], ((h_old, d[:, : 3 * H]),), {"b_hn": np.ones(N, dy.dtype) @ d[:, :H]})
