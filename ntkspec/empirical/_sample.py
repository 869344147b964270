"""The points at which kernels are compared, and the plane waves on them."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from ntkspec.grid import Placement, place


class Frequencies(NamedTuple):
    """Plane waves on m points of a lattice of N, in bands of radial frequency.

    Attributes:
        frequency: of each band, in cycles per unit, shape (band,).
        lag: x_i − x_j folded onto the lattice, as a flat position, shape (m, m).
        weights: the mean over the band's waves of e^{−2πik·lag}/m, shape (band, N).
    """

    frequency: Float[np.ndarray, " bands"]
    lag: Int[Array, "m m"]
    weights: Float[Array, "bands lags"]


def sample(points: Float[np.ndarray, "n ..."], max_points: int, seed: int) -> Int[np.ndarray, " m"]:
    """Which of the points to look at.

    Args:
        points: shape (n, ...).
        max_points: how many at most.
        seed: of the choice among scattered points.

    Returns:
        Positions, increasing, shape (m,): all if they are few; of a lattice those on a coarser one, every s-th place
        along an axis; else m = `max_points` at random.

    Example:
        >>> sample(np.arange(10)[:, None] / 10, 4, seed=0).tolist()
        [0, 3, 6, 9]
    """
    n = len(points)
    if n <= max_points:
        return np.arange(n)
    placement = place(points) if points.ndim == 2 else None
    if placement is not None:
        chosen = _coarser(placement, n, max_points)
        # A mask may leave too little of a coarser lattice; a random choice then says more.
        if len(chosen) >= max_points / 4:
            return chosen
    return np.sort(np.random.default_rng(seed).choice(n, max_points, replace=False))


def _coarser(placement: Placement, n: int, max_points: int) -> np.ndarray:
    """Return the points on a coarser lattice that holds few enough of them; the longest axis is thinned first."""
    shape = np.asarray(placement.grid.shape)
    flat = np.arange(n) if placement.index is None else placement.index
    position = np.stack(np.unravel_index(flat, placement.grid.shape), axis=1)
    strides = np.ones_like(shape)
    while True:
        chosen = np.flatnonzero((position % strides == 0).all(axis=1))
        if len(chosen) <= max_points:
            return chosen
        strides[np.argmax(-(-shape // strides))] += 1


def frequencies_of(points: Float[np.ndarray, "m ..."]) -> Frequencies | None:
    """Return the plane waves on points (m, d); None where they lie on no lattice."""
    placement = place(points) if points.ndim == 2 else None
    if placement is None or len(points) < 2:
        return None
    grid, m = placement.grid, len(points)
    flat = np.arange(m) if placement.index is None else placement.index
    position = np.stack(np.unravel_index(flat, grid.shape), axis=1)
    difference = (position[:, None] - position[None]) % np.asarray(grid.shape)
    bins, frequency = grid.frequency_bins()
    axes = tuple(range(1, grid.dim + 1))
    bands = (bins[None] == np.arange(len(frequency)).reshape(-1, *[1] * grid.dim)).astype(float)
    # k and −k are in one band, so the sum of its waves is real.
    waves = np.fft.fftn(bands, axes=axes).real.reshape(len(frequency), -1)
    weights = waves / (m * np.bincount(bins.ravel(), minlength=len(frequency))[:, None])
    lag = np.ravel_multi_index(tuple(np.moveaxis(difference, -1, 0)), grid.shape)
    return Frequencies(frequency, jnp.asarray(lag, dtype=jnp.int32), jnp.asarray(weights))
