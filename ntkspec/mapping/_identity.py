"""No mapping: the network sees the coordinates themselves."""

from __future__ import annotations

import equinox as eqx
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_points, check_sizes
from ntkspec.module import Module

__all__ = ["IdentityMapping", "check_range", "identity"]


class IdentityMapping(Module):
    """No mapping: γ(v) = v, or its range moved to [low, high). A network behind it has no stationary kernel.

    Attributes:
        dim: number of coordinates d.
        low: γ(0), the same on every axis.
        high: γ(1).

    Example:
        >>> import ntkspec as ns
        >>> ns.mapping.identity(dim=2)([[0.25, 0.5]]).shape
        (1, 2)
    """

    dim: int = eqx.field(static=True)
    low: float = eqx.field(default=0.0, static=True)
    high: float = eqx.field(default=1.0, static=True)

    @property
    def num_features(self) -> int:
        return self.dim

    @property
    def stationary(self) -> bool:
        return False

    @property
    def finite(self) -> bool:
        return True

    def __call__(self, x: ArrayLike) -> Array:
        """Return the points themselves in their range, shape (n, d)."""
        return self.low + (self.high - self.low) * check_points(x, self.dim)


def identity(dim: int, *, low: float = 0.0, high: float = 1.0) -> IdentityMapping:
    """No mapping: the network sees the raw coordinates.

    Args:
        dim: number of coordinates d.
        low: what the network sees for a coordinate 0; the paper's shape task shows it [−1, 1), its signals
            [−1/2, 1/2).
        high: what it sees for a coordinate 1.

    Returns:
        The mapping γ(v) = low + (high − low) v.

    Raises:
        ValueError: if `dim` is not a positive integer or the range is empty.

    Example:
        >>> import ntkspec as ns
        >>> ns.mapping.identity(dim=2).stationary
        False
    """
    check_sizes(dim=dim)
    check_range(low, high)
    return IdentityMapping(dim, float(low), float(high))


def check_range(low: float, high: float) -> float:
    """Return the length of a range of coordinates.

    Raises:
        ValueError: if it is not a positive, finite number.
    """
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"low={low}, high={high}; expected finite numbers, low below high")
    return high - low
