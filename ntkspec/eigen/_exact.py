"""Every eigenvalue, where that is cheap: circulant lattices by their transform, small operators by eigendecomposition.

The spectrum of a circulant lattice of n points lies in memory as half of it: k and −k share an eigenvalue.
Everything here works on that half, and on no more of it than is asked for, so that n may be 10⁸.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Integer

from ntkspec.limits import current
from ntkspec.operator import Operator
from ntkspec.operator._blocks import blocks_of

__all__ = ["all_eigenvalues", "multiplicity", "ordered_half"]


def all_eigenvalues(K: Operator) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the eigenvalues, in no order, and the number of modes of each; None if they are too expensive."""
    modes = K.modes()
    if modes is not None:
        return modes.eigenvalue, modes.weight
    if K.num_points > current().cheap_points:
        return None
    value = np.concatenate([np.linalg.eigvalsh(matrix) for matrix in blocks_of(K).matrices])
    return value, np.ones(len(value), dtype=np.int8)


def ordered_half(
    value: np.ndarray, weight: np.ndarray, radius: np.ndarray | None, num_modes: int, resolution: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest entries of a half spectrum, and how often each eigenvalue occurs.

    Eigenvalues (h,) of `weight` modes each are equal where closer than twice the resolution, and then ordered by |f|,
    `radius`, if that is not their order already. Positions come in descending order, at least as many as hold the modes
    wanted; partners beyond the last count in the multiplicity.
    """
    top = value.max()
    resolution = max(resolution, 1e-13 * top)
    count = 2 * num_modes + 16
    while True:
        chosen = _largest(value, count, 2 * resolution)
        # Ties in rounding order by frequency, so that pairs stand together.
        if radius is not None:
            chosen = chosen[np.argsort(radius[chosen], kind="stable")]
        chosen = chosen[np.argsort(np.round(value[chosen] / -top, 13), kind="stable")]
        held = np.cumsum(weight[chosen], dtype=np.int64)
        last = int(np.searchsorted(held, num_modes))
        ordered = value[chosen]
        # A run of equal eigenvalues may reach past what was looked at.
        if len(chosen) == len(value) or (ordered[last:-1] - ordered[last + 1 :] > 2 * resolution).any():
            times = multiplicity(ordered, np.broadcast_to(resolution, len(ordered)), weight[chosen])
            return chosen[: last + 1], times[: last + 1]
        count *= 4


def _largest(value: np.ndarray, count: int, margin: float) -> np.ndarray:
    """Positions of the `count` largest, and of all within a margin below."""
    if count >= len(value):
        return np.arange(len(value))
    threshold = np.partition(value, len(value) - count)[len(value) - count]
    return np.flatnonzero(value >= threshold - margin)


def multiplicity(
    value: Float[np.ndarray, " k"], error: Float[np.ndarray, " k"], weight: Integer[np.ndarray, " k"] | None = None
) -> Integer[np.ndarray, " k"]:
    """Return the size of each run of neighbours, in descending order, whose bounds overlap; `weight` modes each."""
    resolution = np.maximum(error, 1e-13 * abs(value).max())
    parted = value[:-1] - value[1:] > resolution[:-1] + resolution[1:]
    start = np.concatenate([[0], np.flatnonzero(parted) + 1])
    weight = np.ones(len(value), dtype=np.int32) if weight is None else weight
    size = np.add.reduceat(weight, start, dtype=np.int32)
    return np.repeat(size, np.diff(np.append(start, len(value))))
