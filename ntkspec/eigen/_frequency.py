"""Which frequencies eigenvectors and kernels hold: what a mask or a boundary leaks shows here."""

from __future__ import annotations

import numpy as np
import scipy.fft
from jaxtyping import Float, Integer

from ntkspec.grid import Grid, Placement, half_weights
from ntkspec.limits import current
from ntkspec.operator import Lattice

__all__ = ["dominant", "half_frequencies", "half_radius", "one_sign", "rates", "rayleigh_quotients"]


def dominant(vectors: np.ndarray, placement: Placement | None) -> dict[str, tuple]:
    """Return the frequency that each eigenvector (n, k) mostly holds, and how purely; NaN off a lattice."""
    num_modes = vectors.shape[1]
    dim = 1 if placement is None else placement.grid.dim
    frequency, power, spread = np.full((num_modes, dim), np.nan), *np.full((2, num_modes), np.nan)
    if placement is not None:
        batch = max(1, current().side_by_side // placement.grid.size)
        for first in range(0, num_modes, batch):
            part = slice(first, first + batch)
            frequency[part], power[part], spread[part] = _dominant(vectors[:, part], placement)
    return {
        "dominant_frequency": (("mode", "axis"), frequency),
        "dominant_power": ("mode", power),
        "frequency_spread": ("mode", spread),
    }


def _dominant(vectors: np.ndarray, placement: Placement) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    grid = placement.grid
    axes = tuple(range(1, grid.dim + 1))
    transform = scipy.fft.rfftn(placement.extend(vectors.T), axes=axes)
    power = transform.real**2 + transform.imag**2
    half = power.shape[1:]
    mode = np.arange(len(power))
    peak = power.reshape(len(power), -1).argmax(axis=1)
    # k and −k hold the same power: the half spectrum counts those twice whose partner it leaves out.
    power = (power * half_weights(grid.shape)).reshape(len(power), -1)
    at_peak = power[mode, peak]
    # In the columns that hold both of a pair, the partner counts as well.
    position = np.unravel_index(peak, half)
    mirror = [-i % n for i, n in zip(position, grid.shape, strict=True)]
    mirror[-1] = np.minimum(mirror[-1], position[-1])
    partner = np.ravel_multi_index(mirror, half)
    beside = (mirror[-1] == -position[-1] % grid.shape[-1]) & (partner != peak)
    at_peak = at_peak + np.where(beside, power[mode, partner], 0)
    frequency = half_frequencies(grid, peak)
    radius = half_radius(grid).ravel()
    total = power.sum(axis=1)
    # Two moments less the cross term would lose the digits of a nearly pure mode.
    variance = np.stack([p @ (radius - radius[i]) ** 2 for p, i in zip(power, peak, strict=True)]) / total
    return one_sign(frequency), at_peak / total, np.sqrt(variance)


def _half_axes(grid: Grid) -> list[np.ndarray]:
    axes = [np.fft.fftfreq(n, d=h) for n, h in zip(grid.shape, grid.spacing, strict=True)]
    return [*axes[:-1], np.fft.rfftfreq(grid.shape[-1], d=grid.spacing[-1])]


def half_radius(grid: Grid) -> Float[np.ndarray, "*half"]:
    """|frequency| of every entry of the half spectrum, in its shape."""
    axes = _half_axes(grid)
    if grid.dim == 1:
        return axes[0]
    return np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True)))


def half_frequencies(grid: Grid, index: Integer[np.ndarray, " k"]) -> Float[np.ndarray, "k d"]:
    """Return the frequencies (k, d), in cycles per unit, of flat positions (k,) in the half spectrum of a lattice."""
    axes = _half_axes(grid)
    position = np.unravel_index(index, [len(axis) for axis in axes])
    return np.stack([axis[i] for axis, i in zip(axes, position, strict=True)], axis=-1)


def one_sign(frequency: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "k d"]:
    """±k describe one real mode: the first coordinate that is not zero is made positive."""
    if frequency.shape[1] == 1:
        return np.abs(frequency)
    first = np.argmax(frequency != 0, axis=1)
    sign = np.sign(frequency[np.arange(len(frequency)), first])
    # Adding 0 makes a 0 of −0.
    return frequency * np.where(sign < 0, -1, 1)[:, None] + 0.0


def rates(K: Lattice) -> dict[str, tuple]:
    """Return the rates at which each frequency band starts to be learned: mean, least and largest of its plane waves.

    The Rayleigh quotient of the plane wave u_k = e^{2πik·x} on the points is Σ_lag count(lag) k(lag) e^{−2πik·lag} / n,
    count(lag) the number of pairs of points so far apart: one FFT of the lags, folded onto the lattice. On a
    circulant lattice it is the eigenvalue.
    """
    grid = K.sublattice.grid
    quotient = np.asarray(K.transform) if K.circulant else rayleigh_quotients(K)
    weight = np.broadcast_to(half_weights(grid.shape), quotient.shape)
    band = np.rint(half_radius(grid) / grid.frequency_step).astype(np.int64).ravel()
    count = np.bincount(band, weights=weight.ravel())
    total = np.bincount(band, weights=(weight * quotient).ravel())
    present = np.flatnonzero(count)
    order = np.argsort(band, kind="stable")
    first = np.searchsorted(band[order], present)
    ordered = quotient.ravel()[order]
    return {
        "rayleigh_quotient": ("frequency", total[present] / count[present]),
        "rayleigh_least": ("frequency", np.minimum.reduceat(ordered, first)),
        "rayleigh_largest": ("frequency", np.maximum.reduceat(ordered, first)),
        "frequency_count": ("frequency", count[present].astype(np.int32)),
        "frequency": ("frequency", present * grid.frequency_step),
    }


def rayleigh_quotients(K: Lattice) -> Float[np.ndarray, "*half"]:
    """u_kᵀ K u_k of every unit plane wave on the points, the half spectrum: that of the nearest circulant matrix."""
    sublattice = K.sublattice
    pairs = np.asarray(K.lag_counts() * K.lags())
    signed = [np.where(np.arange(m) <= m // 2, np.arange(m), np.arange(m) - m) for m in sublattice.torus]
    folded = np.zeros(sublattice.shape)
    place = np.ix_(*(lag % m for lag, m in zip(signed, sublattice.shape, strict=True)))
    np.add.at(folded, place, pairs)
    return scipy.fft.rfftn(folded).real / K.num_points
