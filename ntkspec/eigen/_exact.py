"""Every eigenvalue, where that is cheap: circulant lattices by their transform, small operators by eigendecomposition.

The spectrum of a circulant lattice of n points lies in memory as half of it: k and −k share an eigenvalue.
Everything here works on that half, and on no more of it than is asked for, so that n may be 10⁸.
"""

from __future__ import annotations

import numpy as np

from ntkspec.operator import Lattice, Operator

__all__ = ["DENSE_LIMIT", "all_eigenvalues", "half_weights", "multiplicity", "ordered_half"]

#: Up to this size a dense eigendecomposition (about a second) gives every mode.
DENSE_LIMIT = 1024


def all_eigenvalues(K: Operator) -> tuple[np.ndarray, np.ndarray] | None:
    """The eigenvalues, in no order, and how often each is meant; None where they would be dear."""
    if isinstance(K, Lattice) and K.circulant:
        return np.asarray(K.transform).ravel(), flat_weights(K)
    if K.num_points <= DENSE_LIMIT:
        return np.linalg.eigvalsh(np.asarray(K.to_dense(), dtype=float)), np.ones(K.num_points, dtype=np.int8)
    return None


def half_weights(shape: tuple[int, ...]) -> np.ndarray:
    """How many of ±k each column of the half spectrum along the last axis stands for: 1 or 2."""
    last = shape[-1]
    weight = np.full(last // 2 + 1, 2, dtype=np.int8)
    weight[0] = 1
    if last % 2 == 0:
        weight[-1] = 1
    return weight


def flat_weights(K: Lattice) -> np.ndarray:
    """The same for every entry of a circulant lattice's half spectrum, in its order."""
    return np.broadcast_to(half_weights(K.sublattice.shape), K.transform.shape).ravel()


def ordered_half(
    value: np.ndarray, weight: np.ndarray, radius: np.ndarray | None, num_modes: int, resolution: float
) -> tuple[np.ndarray, np.ndarray]:
    """The largest entries of a half spectrum, and how often each eigenvalue occurs.

    Args:
        value: eigenvalues, shape (h,).
        weight: modes that each stands for, shape (h,).
        radius: |frequency| of each, by which equal ones are ordered; None where they are in that order already.
        num_modes: modes wanted.
        resolution: eigenvalues closer than twice this are equal.

    Returns:
        Positions in descending order, at least as many as hold the modes wanted, and the multiplicity of each, in which
        partners beyond the last are counted.
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
        found = value[chosen]
        # A run of equal eigenvalues may reach past what was looked at.
        if len(chosen) == len(value) or (found[last:-1] - found[last + 1 :] > 2 * resolution).any():
            times = multiplicity(found, np.broadcast_to(resolution, len(found)), weight[chosen])
            return chosen[: last + 1], times[: last + 1]
        count *= 4


def _largest(value: np.ndarray, count: int, margin: float) -> np.ndarray:
    """Positions of the `count` largest, and of all within a margin below."""
    if count >= len(value):
        return np.arange(len(value))
    threshold = np.partition(value, len(value) - count)[len(value) - count]
    return np.flatnonzero(value >= threshold - margin)


def multiplicity(value: np.ndarray, error: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """The size of each run of neighbours, in descending order, whose bounds overlap; `weight` modes each."""
    resolution = np.maximum(error, 1e-13 * abs(value).max())
    parted = value[:-1] - value[1:] > resolution[:-1] + resolution[1:]
    start = np.concatenate([[0], np.flatnonzero(parted) + 1])
    weight = np.ones(len(value), dtype=np.int32) if weight is None else weight
    size = np.add.reduceat(weight, start, dtype=np.int32)
    return np.repeat(size, np.diff(np.append(start, len(value))))
