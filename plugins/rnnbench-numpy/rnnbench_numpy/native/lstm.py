"""LSTM by hand: z = x W_x + h W_h + b;  c' = σ(z_f) c + σ(z_i) tanh(z_g);  h' = σ(z_o) tanh(c')."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnnbench_numpy.native.kernel import Derivatives, blocks, carry, sigmoid_of_negated
from rnnbench_numpy.native.rows import Walk
from rnnbench_numpy.native.space import Space
from rnnbench_numpy.native.weights import Weights


class LSTMKernel:
    """Of every step are kept o, i, f, g and the old c: (i,f)·(g,c) and dc·(i,f,g,c) are one call each."""

    x_gates = ("o", "i", "f", "g")
    h_groups = (x_gates,)
    sigmoid_gates = frozenset("oif")
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
        h_old, c_new, tanh_c = (space.take(name, (N, H)) for name in ("h_old", "c_new", "tanh_c"))
        kept = space.take("kept", (N * 5, H))
        product, terms = space.take("product", (B, 4 * H)), space.take("terms", (2 * B, H))
        for step in walk:
            rows = slice(step.start, step.stop)
            n = step.stop - step.start
            oifgc = kept[step.start * 5 : step.stop * 5].reshape(5, n, H)
            h, c, tc, z = h_old[rows], c_new[rows], tanh_c[rows], product[:n]
            ig_fc = terms[: 2 * n].reshape(2, n, H)
            carry(h, y, start["h"], step)
            carry(oifgc[4], c_new, start["c"], step)
            np.dot(h, w.h[0], out=z)
            np.add(blocks(z, 4), blocks(u[rows], 4), out=oifgc[:4])
            sigmoid_of_negated(oifgc[:3])
            np.tanh(oifgc[3], out=oifgc[3])
            np.multiply(oifgc[1:3], oifgc[3:], out=ig_fc)
            np.add(ig_fc[0], ig_fc[1], out=c)
            np.tanh(c, out=tc)
            np.multiply(oifgc[0], tc, out=y[rows])
        return {"h": y, "c": c_new}

    def backward(self, w: Weights, dy: np.ndarray, walk: Walk, space: Space) -> Derivatives:
        """dz_o = dh tanh(c') o(1-o);  dc' += dh o (1-tanh²c');  dz_i, dz_f, dz_g = dc' (g, c, i) φ'."""
        (N, H), B = dy.shape, max(step.stop - step.start for step in walk)
        h_old, tanh_c = space.take("h_old", (N, H)), space.take("tanh_c", (N, H))
        kept, dz = space.take("kept", (N * 5, H)), space.take("dz", (N, 4 * H))
        slopes, terms = space.take("slopes", (4 * B, H)), space.take("d_terms", (4 * B, H))
        scratch = space.take("scratch", (B, H))
        dh, dc = np.zeros((B, H), dy.dtype), np.zeros((B, H), dy.dtype)
        for step in reversed(walk):
            rows = slice(step.start, step.stop)
            n = step.stop - step.start
            oifgc = kept[step.start * 5 : step.stop * 5].reshape(5, n, H)
            slope, d_gfic = slopes[: 4 * n].reshape(4, n, H), terms[: 4 * n].reshape(4, n, H)
            tc, dh_n, dc_n, tmp, out = tanh_c[rows], dh[:n], dc[:n], scratch[:n], dz[rows]
            d_oifg = blocks(out, 4)
            np.subtract(1.0, oifgc[:3], out=slope[:3])
            slope[:3] *= oifgc[:3]
            np.multiply(oifgc[3], oifgc[3], out=slope[3])
            np.subtract(1.0, slope[3], out=slope[3])

            dh_n += dy[rows]
            slope[0] *= dh_n
            np.multiply(slope[0], tc, out=d_oifg[0])
            np.multiply(tc, tc, out=tmp)
            np.subtract(1.0, tmp, out=tmp)
            tmp *= oifgc[0]
            tmp *= dh_n
            dc_n += tmp
            np.multiply(dc_n, oifgc[1:], out=d_gfic)
            np.multiply(d_gfic[2:], slope[1:3], out=d_oifg[1:3])
            np.multiply(d_gfic[0], slope[3], out=d_oifg[3])
            dc_n[...] = d_gfic[1]
            np.dot(out, w.h_back[0], out=dh_n)
        return Derivatives(dz, ((h_old, dz),))
