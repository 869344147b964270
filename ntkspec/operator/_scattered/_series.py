"""A stationary kernel as a Fourier series: its lags on a torus that is large enough, and how fast the series falls.

On points within an extent e of each other only lags |Δ_i| ≤ e are ever asked for. A kernel of period 1 is a series as
it is. Any other is made periodic with P = 2.25 e by k_P(Δ) = Σ_j k(Δ + jP) w(Δ + jP), where w is 1 up to e, 0 from
P − e on and smooth between, with w(Δ) + w(Δ − P) = 1: no lag that is asked for changes, and there is no jump.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from ntkspec.kernel._composed import ComposedKernel, Which
from ntkspec.operator._torus import axis_lags, lag_slabs

__all__ = ["Series", "kernel_series", "period_of"]

#: Period over extent. The quarter above 2 is for the window; a narrower one falls off later (1e-3 at 40 cycles
#: becomes 4e-3 at 2.1), a wider one costs modes.
ROOM = 2.25
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Series:
    """Fourier coefficients k̂, shape (size,)·d in FFT order, of a kernel k(Δ) ≈ Σ k̂_ξ e^{2πiξ·Δ/P} on a torus.

    Bounds on others are `largest`, max |k̂_ξ| over |ξ|_∞ > N for N = 0 … size/4, and beyond it the fall |ξ|^−α from
    size/8 to size/4, of `order` α.
    """

    coefficients: np.ndarray
    period: float
    largest: np.ndarray
    order: float

    @property
    def size(self) -> int:
        """Lags and coefficients an axis."""
        return self.coefficients.shape[0]

    @property
    def dim(self) -> int:
        """Number of axes d."""
        return self.coefficients.ndim

    @property
    def summable(self) -> bool:
        """Whether the coefficients fall fast enough, faster than |ξ|^−d, for their tail to be bounded."""
        return self.order > self.dim + 0.25

    def tail(self, beyond: np.ndarray) -> np.ndarray:
        """Max |k̂_ξ| over |ξ|_∞ > N, for any N ≥ 0; extrapolated by the last octave from size/4 on."""
        last = len(self.largest) - 1
        known = self.largest[np.minimum(np.floor(beyond), last).astype(int)]
        return known * (np.maximum(beyond, last) / last) ** -self.order

    def aliasing(self, cutoff: int) -> float:
        """How wrong a coefficient within the cutoff may be: Σ_{j≠0} |k̂_{ξ + j·size}|."""
        ring = np.arange(1, 33.0)
        members = (2 * ring + 1) ** self.dim - (2 * ring - 1) ** self.dim
        return float(np.sum(members * self.tail(ring * self.size - cutoff)))

    def within(self, cutoff: int) -> np.ndarray:
        """Return the coefficients of |ξ|_∞ ≤ cutoff, shape (2·cutoff + 1,)·d, lowest frequency first."""
        index = np.arange(-cutoff, cutoff + 1) % self.size
        return self.coefficients[np.ix_(*[index] * self.dim)]


def period_of(k: ComposedKernel, extent: float) -> float:
    """Return the period of the torus: 1 for a kernel that has it, else 2.25 times the extent of the points."""
    return 1.0 if k.periodic else ROOM * extent


def kernel_series(k: ComposedKernel, period: float, size: int, which: Which) -> Series:
    """Return the series of a stationary kernel from `size` lags an axis, a multiple of 8."""
    coefficients = np.fft.fftn(_lags(k, period, size, which)).real / size**k.dim
    magnitude = np.abs(coefficients)
    largest = np.zeros(size // 2)
    for axis in range(k.dim):
        along = magnitude.max(axis=tuple(i for i in range(k.dim) if i != axis))
        folded = np.maximum(along[1 : size // 2 + 1], along[: size // 2 - 1 : -1])
        largest = np.maximum(largest, np.maximum.accumulate(folded[::-1])[::-1])
    # The FFT rounds every coefficient by about this; below it there is no decay to be seen, and none needed.
    rounding = 8 * EPS * (magnitude.max() + np.sqrt(np.sum(magnitude**2)))
    near, far = largest[size // 8], largest[size // 4]
    order = k.dim + 1.0 if far <= rounding else float(np.log2(near / far))
    return Series(coefficients, period, np.maximum(largest[: size // 4 + 1], EPS * magnitude.max()), order)


def _lags(k: ComposedKernel, period: float, size: int, which: Which) -> np.ndarray:
    """Return the periodic kernel at lags i P/size, shape (size,)·d."""
    if k.periodic:
        if k.dim == 1:
            positive = np.asarray(axis_lags(k, np.arange(size // 2 + 1) / size, which))
            return np.concatenate([positive, positive[-2:0:-1]])
        signed = np.fft.fftfreq(size)
        return np.asarray(lag_slabs(k, (signed,) * k.dim, which))
    extent = period / ROOM
    last = int((period - extent) * size / period)
    index = np.arange(-last, last + 1)
    lag = index * period / size
    window = _step((np.abs(lag) - extent) / (period - 2 * extent))
    if k.dim == 1:
        positive = np.asarray(axis_lags(k, lag[last:], which))
        table = np.concatenate([positive[:0:-1], positive])
    else:
        table = np.asarray(lag_slabs(k, (lag,) * k.dim, which))
    for axis in range(k.dim):
        weighted = np.moveaxis(table, axis, 0) * window.reshape(-1, *[1] * (k.dim - 1))
        folded = np.zeros((size, *weighted.shape[1:]))
        # Lags ≥ 0 and those below are each without repetition on the torus.
        folded[index[last:]] += weighted[last:]
        folded[index[:last] % size] += weighted[:last]
        table = np.moveaxis(folded, 0, axis)
    return table


def _step(t: np.ndarray) -> np.ndarray:
    """1 for t ≤ 0, 0 for t ≥ 1, infinitely smooth, with step(t) + step(1 − t) = 1."""
    inside = np.clip(t, 1e-3, 1 - 1e-3)
    smooth = expit(1 / inside - 1 / (1 - inside))
    return np.where(t <= 1e-3, 1.0, np.where(t >= 1 - 1e-3, 0.0, smooth))
