"""How large a sum of plane waves can be on given points: a large sieve, from counts of points in cells.

With u_ξ = (e^{2πiξ·y_i})_i, S(N) ≥ λ_max(Σ_{|ξ|_∞ ≤ N} u_ξ u_ξᴴ). A majorant F(ξ) = Π sinc²(δξ_a)/sinc²(δN) of the box
has a tent of width δ for its transform, so by Gershgorin S(N) = max_i Σ_j Π tent((y_i − y_j)_a/δ)/δ / sinc²ᵈ(δN), which
is bounded by counts of points in cells of δ/8. It is about n where there are more points than modes everywhere, and
grows with the number of modes where there are not.

Source: Montgomery 1978, "The analytic principle of the large sieve".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage

__all__ = ["WaveBound", "wave_bound"]

#: Cells across a tent's half-width δ; 8 make the bound 1.25 times the tent's own an axis.
CELLS = 8
#: Cells at most, and so the finest tent.
MAX_CELLS = 2**22


@dataclass(frozen=True)
class WaveBound:
    """Bounds on sums of plane waves for points on d axes, from tents of widths δ (k,) and bounds on their row sums."""

    widths: np.ndarray
    row_sums: np.ndarray
    dim: int

    def __call__(self, cutoff: np.ndarray) -> np.ndarray:
        """S(N) for each N of `cutoff` (any shape), not decreasing."""
        cutoff = np.asarray(cutoff, dtype=float)[..., None]
        finest = 1 / (2 * self.widths[-1])
        # Beyond the finest tent a box is covered by 2^d translates of one half as large, each with the same norm.
        halvings = np.maximum(np.ceil(np.log2(np.maximum(cutoff, finest) / finest)), 0)
        turns = self.widths * cutoff / 2**halvings
        allowed = turns <= 0.5
        bound = np.where(allowed, self.row_sums / np.sinc(np.where(allowed, turns, 0)) ** (2 * self.dim), np.inf)
        return np.min(bound, axis=-1) * 2.0 ** (self.dim * halvings[..., 0])


def wave_bound(y: np.ndarray) -> WaveBound:
    """Bounds for points (n, d) on the torus, in periods."""
    dim = y.shape[1]
    level = int(np.log2(MAX_CELLS)) // dim
    counts = _histogram(y, 2**level)
    widths, row_sums = [], []
    while counts.shape[0] >= 2 * CELLS:
        width = CELLS / counts.shape[0]
        widths.append(width)
        row_sums.append(_largest_row_sum(counts) / width**dim)
        halved = [side for size in counts.shape for side in (size // 2, 2)]
        counts = counts.reshape(halved).sum(axis=tuple(range(1, 2 * dim, 2)))
    return WaveBound(np.array(widths[::-1]), np.array(row_sums[::-1]), dim)


def _histogram(y: np.ndarray, size: int) -> np.ndarray:
    cell = np.minimum(((y % 1.0) * size).astype(np.int64), size - 1)
    flat = np.ravel_multi_index(tuple(cell.T), (size,) * y.shape[1])
    return np.bincount(flat, minlength=size ** y.shape[1]).reshape((size,) * y.shape[1]).astype(float)


def _largest_row_sum(counts: np.ndarray) -> float:
    """Max over cells of Σ counts · tent, each tent at the least distance of its two cells."""
    apart = np.abs(np.arange(-CELLS, CELLS + 1))
    weights = 1 - np.maximum(apart - 1, 0) / CELLS
    total = counts
    for axis in range(counts.ndim):
        total = scipy.ndimage.convolve1d(total, weights, axis=axis, mode="wrap")
    return float(np.max(np.where(counts > 0, total, 0)))
