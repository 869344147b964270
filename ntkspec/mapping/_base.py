"""What is asked of a mapping, and the arithmetic of versines that every stationary one shares."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_positive

if TYPE_CHECKING:
    from ntkspec.mapping._combined import Combined

__all__ = ["Mapping", "StationaryMapping"]


@runtime_checkable
class Mapping(Protocol):
    """γ: coordinates (n, d) → features (n, p); whatever answers these four can stand before a network."""

    @property
    def dim(self) -> int:
        """Number of coordinates d."""
        ...

    @property
    def num_features(self) -> int:
        """p, the fan-in of the network behind; the length of γ(v) where that is finite."""
        ...

    @property
    def stationary(self) -> bool:
        """Whether γ(v)·γ(v') depends on v − v' alone; if so, this is a `StationaryMapping`."""
        ...

    @property
    def finite(self) -> bool:
        """Whether γ(v) has finitely many components, so that there is a finite network behind it."""
        ...

    def __call__(self, x: ArrayLike) -> Array:
        """γ at points x (n, d): features (n, p)."""
        ...


@runtime_checkable
class StationaryMapping(Mapping, Protocol):
    """A mapping whose inner product k_γ is a function of the lag; kernels and lattices ask for no more than this."""

    @property
    def norm_squared(self) -> Array:
        """k_γ(0) = |γ(v)|², the same for every v."""
        ...

    @property
    def periodic(self) -> bool:
        """Whether k_γ has period 1 on every axis; False where that cannot be known, as in a trace."""
        ...

    def inner(self, delta: ArrayLike) -> Array:
        """k_γ(Δ) for lags (..., d): inner products (...)."""
        ...

    def versine(self, delta: ArrayLike) -> Array:
        """1 − k_γ(Δ)/k_γ(0) for lags (..., d), to full relative precision where points nearly coincide."""
        ...

    def versine_grid(self, lags: tuple[ArrayLike, ...]) -> Array:
        """Return the versine on the grid of d one-dimensional arrays of lags."""
        ...

    def through(self, matrix: ArrayLike) -> StationaryMapping:
        """γ(A·), the mapping of new coordinates u (d') with v = A u, A (d, d')."""
        ...

    def scaled(self, weight: ArrayLike) -> StationaryMapping:
        """√w γ, so that the inner product is w k_γ."""
        ...


class OfTheLag:
    """What follows for every stationary mapping: its inner product, and sums and products with others."""

    @property
    def stationary(self) -> bool:
        """Whether γ(v)·γ(v') depends on v − v' alone: always."""
        return True

    def inner(self: StationaryMapping, delta: ArrayLike) -> Array:
        """k_γ(Δ) = |γ|² (1 − versine(Δ)).

        Args:
            delta: lags Δ = v − v', shape (..., d).

        Returns:
            Inner products γ(v)·γ(v'), shape (...).
        """
        return self.norm_squared * (1 - self.versine(delta))

    def __add__(self: StationaryMapping, other: StationaryMapping) -> Combined:
        """Features of both side by side: inner products add, and so do |γ|² (nothing is rescaled)."""
        from ntkspec.mapping._combined import concatenate  # combined is built on this module

        return concatenate([self, other], normalize=False) if isinstance(other, Mapping) else NotImplemented

    def __mul__(self: StationaryMapping, other: StationaryMapping) -> StationaryMapping:
        """All products of one feature of each: inner products multiply."""
        from ntkspec.mapping._combined import multiply  # combined is built on this module

        return multiply([self, other]) if isinstance(other, Mapping) else NotImplemented


def as_array(values: ArrayLike) -> Array:
    """`values` as float64, constants staying constants inside a trace, where they can still be looked at."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values)):
        return jnp.asarray(values, dtype=float)
    with jax.ensure_compile_time_eval():
        return jnp.asarray(values, dtype=float)


def check_lags(delta: ArrayLike, dim: int) -> Array:
    """`delta` as an array (..., dim).

    Raises:
        ValueError: if the last axis is not `dim` long.
    """
    delta = jnp.asarray(delta, dtype=float)
    if delta.ndim == 0 or delta.shape[-1] != dim:
        raise ValueError(f"`delta` has shape {delta.shape}; expected (..., {dim}), one column a coordinate")
    return delta


def check_axes(lags: tuple[ArrayLike, ...], dim: int) -> list[Array]:
    """Return the one-dimensional arrays of lags, one an axis.

    Raises:
        ValueError: if there are not `dim` of them.
    """
    axes = [jnp.asarray(lag, dtype=float) for lag in lags]
    if len(axes) != dim or any(axis.ndim != 1 for axis in axes):
        raise ValueError(f"`lags` holds {[axis.shape for axis in axes]}; expected {dim} one-dimensional arrays")
    return axes


def check_scale(scale: ArrayLike, dim: int, hint: str) -> Array:
    """One positive scale an axis, from a number for all or one for each; traced ones pass unseen.

    Raises:
        ValueError: on another length, or a value that is not positive.
    """
    scales = as_array(scale)
    if scales.shape not in ((), (dim,)):
        raise ValueError(f"scale has shape {scales.shape}; expected one number, or {dim}, one for each axis")
    if not isinstance(scales, jax.core.Tracer):
        for value in np.atleast_1d(np.asarray(scales)):
            check_positive("scale", float(value), hint)
    return jnp.broadcast_to(scales, (dim,))


def check_matrix(matrix: ArrayLike, rows: int) -> Array:
    """Return a change of coordinates, shape (rows, d').

    Raises:
        ValueError: on another shape.
    """
    matrix = as_array(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != rows or matrix.shape[1] == 0:
        raise ValueError(
            f"`matrix` has shape {matrix.shape}; expected ({rows}, d'), one row a coordinate of the mapping"
        )
    return matrix


def reduced(turns: Array) -> Array:
    """Return the turns without whole ones, in [−1/2, 1/2], so that a large b·Δ loses no digits in a product with π.

    sin(π·turns) and cos(π·turns) change sign together under it, and their squares and product not at all.
    """
    return turns - jnp.round(turns)


def product_of_versines(versines: list[Array]) -> Array:
    """1 − Π(1 − v_i), with no digit lost while the v_i are small: v + u − vu = v + u(1 − v), one by one."""
    return reduce(lambda v, u: v + u * (1 - v), versines)


def outer_sum(columns: list[Array]) -> Array:
    """Σ_i c_i on the grid of one-dimensional c_i, shape (len(c_1), ..., len(c_d))."""
    return reduce(lambda total, column: total[..., None] + column, columns)
