"""What every measurement answers."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.grid import Placement
from ntkspec.limits import refuse_if_too_large

__all__ = ["Measurement", "check_orders"]


class Measurement(eqx.Module):
    """A real linear map A from values at points to measurements.

    A new measurement answers `num_measurements` and `forward`; its transpose then follows by `jax.linear_transpose`,
    which is exact, and is overridden only where a faster one is known.

    Attributes:
        points_shape: shape of the values it takes: a lattice, or (n,).
    """

    points_shape: tuple[int, ...] = eqx.field(static=True)

    @property
    @abstractmethod
    def num_measurements(self) -> int:
        """Number of measurements m."""

    @abstractmethod
    def forward(self, f: Array) -> Array:
        """Apply A to one array of values: (*points_shape) -> (m,); jits, vmaps and differentiates."""

    def transpose(self, w: Array) -> Array:
        """Aᵀ w for one vector of weights: (m,) -> (*points_shape)."""
        values = jax.ShapeDtypeStruct(self.points_shape, w.dtype)
        return jax.linear_transpose(self.forward, values)(w)[0]

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""
        return self.num_measurements, math.prod(self.points_shape)

    def positions(self, points: np.ndarray) -> np.ndarray:
        """Where each measurement was taken (m, d), from the coordinates (n, d) of the values; NaN where at no place."""
        return np.full((self.num_measurements, points.shape[1]), np.nan)

    def placement(self, placement: Placement) -> Placement | None:
        """Where the measurements lie on the points' lattice, if each is the value at one of its points."""
        return None

    def representative(self) -> np.ndarray:
        """For each measurement one whose row of A is the same up to a shift of the lattice, shape (m,)."""
        return np.arange(self.num_measurements)

    def stationary_diagonal(self, lags: Array) -> Array | None:
        """Return the diagonal (m,) of A K Aᵀ for K_ij = k(x_i − x_j) on the lattice, if known without products.

        The lags are k at −(n − 1) … n − 1 on each axis, shape (2n − 1, …).
        """
        return None

    def __matmul__(self, values: ArrayLike) -> Array:
        """Return the measurements of values (*points_shape) or (n,), with or without a last axis of channels."""
        values = jnp.asarray(values, dtype=float)
        n = self.shape[1]
        for leading in (self.points_shape, (n,)):
            if values.shape == leading:
                return self.forward(values.reshape(self.points_shape))
            if values.shape[:-1] == leading:
                columns = values.reshape(*self.points_shape, values.shape[-1])
                return jax.vmap(self.forward, in_axes=-1, out_axes=-1)(columns)
        raise ValueError(f"values have shape {values.shape}; expected {self.points_shape} or ({n},), or with channels")

    def to_dense(self) -> Array:
        """Return A as a matrix (m, n)."""
        m, n = self.shape
        refuse_if_too_large(3 * 8 * m * n, f"a dense matrix of {m:,} x {n:,}", "use A @ values instead")
        return jax.vmap(lambda w: self.transpose(w).ravel())(jnp.eye(m))


def check_orders(orders: Any, shape: tuple[int, ...], highest: int = 32) -> tuple[int, ...]:
    """Return the orders of a partial derivative, one an axis and not all of them 0."""
    given = np.atleast_1d(orders)
    whole = given.dtype.kind in "iu" and given.shape == (len(shape),)
    if not whole or not given.any() or given.min() < 0 or given.max() > highest:
        expected = f"{len(shape)} whole numbers up to {highest}, one an axis, not all 0"
        raise ValueError(f"orders={orders!r}; expected {expected}")
    return tuple(given.tolist())
