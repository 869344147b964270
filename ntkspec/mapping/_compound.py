"""Mappings made of several that no list of frequencies replaces: with a limit, or with raw coordinates among them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_points
from ntkspec.mapping._base import Mapping, OfTheLag, StationaryMapping, product_of_versines

__all__ = ["JoinedMapping", "ProductMapping", "SumMapping"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SumMapping(OfTheLag):
    """Features of stationary mappings side by side, one of them a limit: k_γ = Σ k_i. Build one with `concatenate`.

    Attributes:
        parts: mappings of the same coordinates.
    """

    parts: tuple[StationaryMapping, ...]

    @property
    def dim(self) -> int:
        """Number of coordinates d."""
        return self.parts[0].dim

    @property
    def num_features(self) -> int:
        """p, the sum over the parts."""
        return sum(part.num_features for part in self.parts)

    @property
    def finite(self) -> bool:
        """Whether γ(v) has finitely many components."""
        return all(part.finite for part in self.parts)

    @property
    def norm_squared(self) -> Array:
        """|γ(v)|² = Σ |γ_i|²."""
        return jnp.sum(jnp.stack([part.norm_squared for part in self.parts]))

    @property
    def periodic(self) -> bool:
        """Whether every part has period 1."""
        return all(part.periodic for part in self.parts)

    def __call__(self, x: ArrayLike) -> Array:
        """Features of all parts, shape (n, p).

        Raises:
            ValueError: if a part has infinitely many.
        """
        return jnp.concatenate([part(x) for part in self.parts], axis=-1)

    def versine(self, delta: ArrayLike) -> Array:
        """Σ |γ_i|² v_i / Σ |γ_i|² for lags (..., d): sums of what is not negative keep every digit."""
        return self._mean([part.versine(delta) for part in self.parts])

    def versine_grid(self, lags: tuple[ArrayLike, ...]) -> Array:
        """Return the versine on the grid of d one-dimensional arrays of lags."""
        return self._mean([part.versine_grid(lags) for part in self.parts])

    def through(self, matrix: ArrayLike) -> SumMapping:
        """γ(A·) for A (d, d')."""
        return SumMapping(tuple(part.through(matrix) for part in self.parts))

    def scaled(self, weight: ArrayLike) -> SumMapping:
        """√w γ, whose inner product is w k_γ."""
        return SumMapping(tuple(part.scaled(weight) for part in self.parts))

    def _mean(self, versines: list[Array]) -> Array:
        energy = [part.norm_squared for part in self.parts]
        total = sum(e * v for e, v in zip(energy, versines, strict=True))
        return total / self.norm_squared


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ProductMapping(OfTheLag):
    """All products of one feature of each part, one part a limit: k_γ = Π k_i. Build one with `multiply`.

    Its versine keeps every digit where points nearly coincide; where two parts are both near −1, it is good to rounding
    relative to 1.

    Attributes:
        parts: mappings of the same coordinates.
    """

    parts: tuple[StationaryMapping, ...]

    @property
    def dim(self) -> int:
        """Number of coordinates d."""
        return self.parts[0].dim

    @property
    def num_features(self) -> int:
        """p, the product over the parts."""
        return math.prod(part.num_features for part in self.parts)

    @property
    def finite(self) -> bool:
        """Whether γ(v) has finitely many components."""
        return all(part.finite for part in self.parts)

    @property
    def norm_squared(self) -> Array:
        """|γ(v)|² = Π |γ_i|²."""
        return jnp.prod(jnp.stack([part.norm_squared for part in self.parts]))

    @property
    def periodic(self) -> bool:
        """Whether every part has period 1."""
        return all(part.periodic for part in self.parts)

    def __call__(self, x: ArrayLike) -> Array:
        """Products of features, shape (n, p).

        Raises:
            ValueError: if a part has infinitely many.
        """
        features = jnp.ones((check_points(x, self.dim).shape[0], 1))
        for part in self.parts:
            features = (features[:, :, None] * part(x)[:, None, :]).reshape(features.shape[0], -1)
        return features

    def versine(self, delta: ArrayLike) -> Array:
        """1 − Π(1 − v_i) for lags (..., d)."""
        return product_of_versines([part.versine(delta) for part in self.parts])

    def versine_grid(self, lags: tuple[ArrayLike, ...]) -> Array:
        """Return the versine on the grid of d one-dimensional arrays of lags."""
        return product_of_versines([part.versine_grid(lags) for part in self.parts])

    def through(self, matrix: ArrayLike) -> ProductMapping:
        """γ(A·) for A (d, d')."""
        return ProductMapping(tuple(part.through(matrix) for part in self.parts))

    def scaled(self, weight: ArrayLike) -> ProductMapping:
        """√w γ, whose inner product is w k_γ."""
        return ProductMapping((self.parts[0].scaled(weight), *self.parts[1:]))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class JoinedMapping:
    """Features side by side where a part (raw coordinates) is not stationary. Build one with `concatenate`.

    Attributes:
        parts: mappings of the same coordinates.
        weights: w, shape (parts,); γ = [√w_1 γ_1, √w_2 γ_2, …].
    """

    parts: tuple[Mapping, ...]
    weights: Array

    @property
    def dim(self) -> int:
        """Number of coordinates d."""
        return self.parts[0].dim

    @property
    def num_features(self) -> int:
        """Length of γ(v): the sum over the parts."""
        return sum(part.num_features for part in self.parts)

    @property
    def stationary(self) -> bool:
        """Whether γ(v)·γ(v') depends on v − v' alone: never."""
        return False

    @property
    def finite(self) -> bool:
        """Whether γ(v) has finitely many components: always."""
        return True

    def __call__(self, x: ArrayLike) -> Array:
        """Features of all parts, shape (n, p), in their order.

        Raises:
            ValueError: if `x` does not have d columns.
        """
        roots = jnp.sqrt(self.weights)
        return jnp.concatenate([root * part(x) for root, part in zip(roots, self.parts, strict=True)], axis=-1)
