"""No mapping: the network sees the coordinates themselves."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_points, check_sizes
from ntkspec.mapping._base import as_matrix
from ntkspec.module import Module

__all__ = ["IdentityMapping", "identity", "range_lengths"]


class IdentityMapping(Module):
    """No mapping: γ(v) = o + S v, each coordinate in its range. A network behind it has no stationary kernel.

    Attributes:
        origin: o = γ(0), shape (p,).
        slope: S, shape (p, d), the lengths of the ranges on its diagonal where no coordinates were changed.

    Example:
        >>> import ntkspec as ns
        >>> ns.mapping.identity(dim=2)([[0.25, 0.5]]).shape
        (1, 2)
    """

    origin: Array
    slope: Array

    @property
    def dim(self) -> int:
        return self.slope.shape[1]

    @property
    def num_features(self) -> int:
        return self.slope.shape[0]

    @property
    def stationary(self) -> bool:
        return False

    @property
    def finite(self) -> bool:
        return True

    def __call__(self, x: ArrayLike) -> Array:
        """Return the points in their ranges, shape (n, p)."""
        return self.origin + jnp.matmul(check_points(x, self.dim), self.slope.T, precision="highest")

    def through(self, matrix: ArrayLike) -> IdentityMapping:
        """γ(A·) for A (d, d')."""
        slope = jnp.matmul(self.slope, as_matrix(matrix, self.dim), precision="highest")
        return IdentityMapping(self.origin, slope)


def identity(dim: int, *, low: ArrayLike = 0.0, high: ArrayLike = 1.0) -> IdentityMapping:
    """No mapping: the network sees the raw coordinates.

    Args:
        dim: number of coordinates d.
        low: what the network sees for a coordinate 0, one number or one an axis; the paper's shape task shows it
            [−1, 1), its signals [−1/2, 1/2).
        high: what it sees for a coordinate 1, likewise.

    Returns:
        The mapping γ(v) = low + (high − low) v.

    Raises:
        ValueError: if `dim` is not a positive integer or a range is empty.

    Example:
        >>> import ntkspec as ns
        >>> ns.mapping.identity(dim=2, low=[-1, 0])([[0.0, 0.5]]).tolist()
        [[-1.0, 0.5]]
    """
    check_sizes(dim=dim)
    lengths = range_lengths(low, high, dim)
    return IdentityMapping(jnp.broadcast_to(jnp.asarray(low, dtype=float), (dim,)), jnp.diag(jnp.asarray(lengths)))


def range_lengths(low: ArrayLike, high: ArrayLike, dim: int) -> np.ndarray:
    """Return the lengths of the ranges of all coordinates, shape (dim,), from one number or one an axis each."""
    ends = [np.asarray(end, dtype=float) for end in (low, high)]
    if not (all(end.shape in ((), (dim,)) and np.isfinite(end).all() for end in ends) and (ends[0] < ends[1]).all()):
        raise ValueError(f"low={low!r}, high={high!r}; expected finite numbers, low below high, one or {dim} of each")
    return np.broadcast_to(ends[1] - ends[0], (dim,))
