"""What is asked of a mapping, sums and products of mappings, and the arithmetic of versines."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import replace
from functools import reduce
from operator import mul
from typing import NamedTuple, Protocol, Self, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_fits, check_points
from ntkspec.module import Module

__all__ = ["JoinedMapping", "Mapping", "ProductMapping", "Stationary", "StationaryMapping", "SumMapping", "Versines"]


class Versines(NamedTuple):
    """1 − ρ (`near`) and 1 + ρ (`far`) of a correlation, each to full relative precision."""

    near: Array
    far: Array

    @classmethod
    def of(cls, near: ArrayLike | Versines) -> Versines:
        """Both of 1 − ρ, the other one to rounding relative to 1; both stay as they are."""
        return near if isinstance(near, Versines) else cls(jnp.asarray(near, dtype=float), 2 - jnp.asarray(near))


@runtime_checkable
class Mapping(Protocol):
    """γ: coordinates (n, d) → features (n, p); whatever answers these five can stand before a network."""

    @property
    def dim(self) -> int:
        """Number of coordinates d."""

    @property
    def num_features(self) -> int:
        """p, the fan-in of the network behind; the length of γ(v) where that is finite."""

    @property
    def stationary(self) -> bool:
        """Whether γ(v)·γ(v') depends on v − v' alone; if so, this is a `StationaryMapping`."""

    @property
    def finite(self) -> bool:
        """Whether γ(v) has finitely many components, so that there is a finite network behind it."""

    def __call__(self, x: ArrayLike) -> Array:
        """γ at points x (n, d): features (n, p)."""


@runtime_checkable
class StationaryMapping(Mapping, Protocol):
    """A mapping whose inner product k_γ is a function of the lag; kernels and lattices ask for no more than this.

    `Stationary` answers `inner`, `versine`, ``+`` and ``*`` for a class derived from it.
    """

    @property
    def norm_squared(self) -> Array:
        """k_γ(0) = |γ(v)|², the same for every v."""

    @property
    def periodic(self) -> bool:
        """Whether k_γ has period 1 on every axis; False where that cannot be known, as in a trace."""

    def inner(self, delta: ArrayLike) -> Array:
        """k_γ(Δ) for lags (..., d): inner products (...)."""

    def versines(self, delta: ArrayLike) -> Versines:
        """1 ∓ k_γ(Δ)/k_γ(0) for lags (..., d), to full relative precision where points nearly coincide or oppose."""

    def versines_grid(self, lags: tuple[ArrayLike, ...]) -> Versines:
        """Return the versines on the grid of d one-dimensional arrays of lags."""

    def through(self, matrix: ArrayLike) -> StationaryMapping:
        """γ(A·), the mapping of new coordinates u (d') with v = A u, A (d, d')."""

    def scaled(self, weight: ArrayLike) -> StationaryMapping:
        """√w γ, so that the inner product is w k_γ."""

    def __add__(self, other: Mapping) -> StationaryMapping | JoinedMapping:
        """Features of both side by side: k_γ is the sum."""

    def __mul__(self, other: Mapping) -> StationaryMapping:
        """All products of one feature of each: k_γ is the product."""


class Stationary(Module):
    """What follows for every stationary mapping: its inner product, and sums and products with others."""

    @property
    def stationary(self) -> bool:
        return True

    def inner(self: StationaryMapping, delta: ArrayLike) -> Array:
        """k_γ(Δ) = γ(v)·γ(v') = |γ|² (1 − versine(Δ)) for lags Δ = v − v', (..., d) to (...)."""
        return self.norm_squared * (1 - self.versines(delta).near)

    def versine(self: StationaryMapping, delta: ArrayLike) -> Array:
        """1 − k_γ(Δ)/k_γ(0) for lags (..., d), to full relative precision where points nearly coincide."""
        return self.versines(delta).near

    def versines_grid(self: StationaryMapping, lags: tuple[ArrayLike, ...]) -> Versines:
        return self.versines(jnp.stack(jnp.meshgrid(*as_axes(lags, self.dim), indexing="ij"), axis=-1))

    def versine_grid(self: StationaryMapping, lags: tuple[ArrayLike, ...]) -> Array:
        """Return the versine on the grid of d one-dimensional arrays of lags."""
        return self.versines_grid(lags).near

    def __add__(self: StationaryMapping, other: Mapping) -> StationaryMapping | JoinedMapping:
        """Features of both side by side: inner products add, and so do |γ|² (nothing is rescaled)."""
        if not isinstance(other, Mapping):
            return NotImplemented
        check_same_dim([self, other])
        if not isinstance(other, StationaryMapping):
            return joined([self, other], jnp.ones(2))
        parts = [one.parts if isinstance(one, SumMapping) else (one,) for one in (self, other)]
        return SumMapping((*parts[0], *parts[1]))

    def __mul__(self: StationaryMapping, other: Mapping) -> StationaryMapping:
        """All products of one feature of each: inner products multiply."""
        if not isinstance(other, Mapping):
            return NotImplemented
        check_same_dim([self, other])
        _, factor = as_stationary([self, other])
        if isinstance(factor, ProductMapping):
            return factor * self
        # Fourier mappings, which merge, stand before limits.
        return ProductMapping((factor, self) if factor.finite and not self.finite else (self, factor))


class _Compound(Stationary):
    """Several stationary mappings of the same coordinates."""

    parts: tuple[StationaryMapping, ...]

    @property
    def dim(self) -> int:
        return self.parts[0].dim

    @property
    def finite(self) -> bool:
        return all(part.finite for part in self.parts)

    @property
    def periodic(self) -> bool:
        return all(part.periodic for part in self.parts)

    def versines(self, delta: ArrayLike) -> Versines:
        return self._combined([part.versines(delta) for part in self.parts])

    def versines_grid(self, lags: tuple[ArrayLike, ...]) -> Versines:
        return self._combined([part.versines_grid(lags) for part in self.parts])

    def through(self, matrix: ArrayLike) -> Self:
        return replace(self, parts=tuple(part.through(matrix) for part in self.parts))

    @abstractmethod
    def _combined(self, versines: list[Versines]) -> Versines:
        """Combine the versines of the parts."""


class SumMapping(_Compound):
    """Features of stationary mappings side by side, one of them a limit: k_γ = Σ k_i. Build one with `concatenate`."""

    @property
    def num_features(self) -> int:
        return sum(part.num_features for part in self.parts)

    @property
    def norm_squared(self) -> Array:
        return jnp.sum(jnp.stack([part.norm_squared for part in self.parts]))

    def __call__(self, x: ArrayLike) -> Array:
        """Features of all parts, shape (n, p); refused where a part has infinitely many."""
        return jnp.concatenate([part(x) for part in self.parts], axis=-1)

    def scaled(self, weight: ArrayLike) -> SumMapping:
        return SumMapping(tuple(part.scaled(weight) for part in self.parts))

    def _combined(self, versines: list[Versines]) -> Versines:
        """Σ |γ_i|² v_i / Σ |γ_i|²: sums of what is not negative keep every digit."""
        share = [part.norm_squared / self.norm_squared for part in self.parts]
        return Versines(*(sum(s * v for s, v in zip(share, end, strict=True)) for end in zip(*versines, strict=True)))


class ProductMapping(_Compound):
    """All products of one feature of each part, one part a limit: k_γ = Π k_i. Build one with `multiply`."""

    @property
    def num_features(self) -> int:
        return math.prod(part.num_features for part in self.parts)

    @property
    def norm_squared(self) -> Array:
        return jnp.prod(jnp.stack([part.norm_squared for part in self.parts]))

    def __call__(self, x: ArrayLike) -> Array:
        """Products of features, shape (n, p); refused where a part has infinitely many."""
        features = jnp.ones((check_points(x, self.dim).shape[0], 1))
        for part in self.parts:
            features = (features[:, :, None] * part(x)[:, None, :]).reshape(features.shape[0], -1)
        return features

    def __mul__(self, other: Mapping) -> StationaryMapping:
        if isinstance(other, ProductMapping):
            return reduce(mul, other.parts, self)
        first, *others = self.parts
        product = first * other
        # Fourier mappings merge.
        return ProductMapping((*(product.parts if isinstance(product, ProductMapping) else (product,)), *others))

    def scaled(self, weight: ArrayLike) -> ProductMapping:
        return ProductMapping((self.parts[0].scaled(weight), *self.parts[1:]))

    def _combined(self, versines: list[Versines]) -> Versines:
        return product_of_versines(versines)


class JoinedMapping(Module):
    """Features side by side where a part (raw coordinates) is not stationary. Build one with `concatenate`.

    Attributes:
        parts: mappings of the same coordinates.
        weights: w, shape (parts,); γ = [√w_1 γ_1, √w_2 γ_2, …].
    """

    parts: tuple[Mapping, ...]
    weights: Array

    @property
    def dim(self) -> int:
        return self.parts[0].dim

    @property
    def num_features(self) -> int:
        return sum(part.num_features for part in self.parts)

    @property
    def stationary(self) -> bool:
        return False

    @property
    def finite(self) -> bool:
        return True

    def __call__(self, x: ArrayLike) -> Array:
        """Features of all parts, shape (n, p), in their order."""
        roots = jnp.sqrt(self.weights)
        return jnp.concatenate([root * part(x) for root, part in zip(roots, self.parts, strict=True)], axis=-1)

    def through(self, matrix: ArrayLike) -> JoinedMapping:
        """γ(A·) for A (d, d')."""
        return JoinedMapping(tuple(part.through(matrix) for part in self.parts), self.weights)  # type: ignore[attr-defined]


def joined(parts: list[Mapping], weights: Array) -> JoinedMapping:
    """Return mappings side by side with raw coordinates among them."""
    if not all(part.finite for part in parts):
        raise ValueError("raw coordinates beside a limit have no features and no lag; sample it (ns.mapping.gaussian)")
    return JoinedMapping(tuple(parts), weights)


def check_same_dim(parts: list[Mapping]) -> None:
    """Refuse mappings of different coordinates."""
    if len({part.dim for part in parts}) > 1:
        dims = [part.dim for part in parts]
        raise ValueError(f"the mappings have {dims} coordinates, not the same; take direct_sum or direct_product")


def as_stationary(parts: list[Mapping]) -> list[StationaryMapping]:
    """Return the mappings, all of them functions of the lag."""
    stationary = [part for part in parts if isinstance(part, StationaryMapping)]
    if len(stationary) < len(parts):
        raise ValueError("a mapping with raw coordinates is not stationary, and can be neither multiplied nor turned")
    return stationary


def as_array(values: ArrayLike) -> Array:
    """`values` as float64, constants staying constants inside a trace, where they can still be looked at."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values)):
        return jnp.asarray(values, dtype=float)
    with jax.ensure_compile_time_eval():
        return jnp.asarray(values, dtype=float)


def as_lags(delta: ArrayLike, dim: int) -> Array:
    """`delta` as an array (..., dim)."""
    delta = jnp.asarray(delta, dtype=float)
    check_fits(delta.shape[-1:] == (dim,), "delta", delta.shape, f"(..., {dim}), one column a coordinate")
    return delta


def as_axes(lags: tuple[ArrayLike, ...], dim: int) -> list[Array]:
    """Return the one-dimensional arrays of lags, one an axis."""
    axes = [jnp.asarray(lag, dtype=float) for lag in lags]
    shapes = [axis.shape for axis in axes]
    check_fits(list(map(len, shapes)) == [1] * dim, "lags", shapes, f"{dim} one-dimensional arrays")
    return axes


def as_matrix(matrix: ArrayLike, rows: int) -> Array:
    """Return a change of coordinates, shape (rows, d')."""
    matrix = as_array(matrix)
    fits = matrix.ndim == 2 and matrix.shape[0] == rows and matrix.shape[1] > 0
    check_fits(fits, "matrix", matrix.shape, f"({rows}, d'), one row a coordinate of the mapping")
    return matrix


def reduced(turns: Array) -> Array:
    """Return the turns without whole ones, in [−1/2, 1/2], so that a large b·Δ loses no digits in a product with π.

    sin(π·turns) and cos(π·turns) change sign together under it, and their squares and product not at all.
    """
    return turns - jnp.round(turns)


def product_of_versines(versines: list[Versines]) -> Versines:
    """1 ∓ Πρ_i, without cancellation: 1 − ρσ = v + u(1 − v) of v = 1 − ρ, u = 1 − σ, or of both from the other end."""

    def both(one: Versines, other: Versines) -> Versines:
        (near, far), (near_other, far_other) = one, other
        opposed = (far < near) & (far_other < near_other)
        v, u = jnp.where(opposed, far, near), jnp.where(opposed, far_other, near_other)
        # 1 + ρσ with σ ≤ 0 of the two if there is one, so that all terms are positive where they are small.
        swap = far < near
        w, v_ = jnp.where(swap, far, far_other), jnp.where(swap, near_other, near)
        return Versines(v + u * (1 - v), w + v_ * (1 - w))

    return reduce(both, versines)


def outer_sum(columns: list[Array]) -> Array:
    """Σ_i c_i on the grid of one-dimensional c_i, shape (len(c_1), ..., len(c_d))."""
    return reduce(lambda total, column: total[..., None] + column, columns)
