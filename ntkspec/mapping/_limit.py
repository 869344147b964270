"""Infinitely many frequencies: the inner products that sampled mappings converge to, in closed form."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_sizes
from ntkspec.mapping._base import (
    OfTheLag,
    check_axes,
    check_lags,
    check_matrix,
    check_scale,
    outer_sum,
    product_of_versines,
)
from ntkspec.mapping._law import GAUSSIAN, LAPLACE, UNIFORM, Law

__all__ = ["LimitMapping", "gaussian_limit", "laplace_limit", "uniform_limit"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LimitMapping(OfTheLag):
    """The mapping of infinitely many frequencies b = Sᵀz, z independent of one law: k_γ(Δ) = E[cos 2πb·Δ].

    With φ(t) = E[cos 2πzt] of one z, k_γ(Δ) = |γ|² Π_i φ((SΔ)_i). There is no γ(v) to compute, only its inner
    product: no features, no finite network.

    A kernel behind it needs a fan-in p, for a first layer sees |γ|²/p. The limit takes p as a convention,
    `num_features`: p/2 sampled frequencies have this inner product on average and scatter about it by 1/√p, and so do
    the kernels behind both.

    Attributes:
        spread: S, shape (r, d), cycles per unit; diag(scale) where no coordinates were changed.
        energy: |γ|² = k_γ(0).
        law: of z.
        num_features: p, the fan-in of the network behind.

    Example:
        >>> import ntkspec as ns
        >>> g = ns.mapping.gaussian_limit(dim=2, scale=10.0)
        >>> float(g.inner([0.0, 0.0])), g.num_features
        (1.0, 512)
    """

    spread: Array
    energy: Array
    law: Law = field(metadata={"static": True})
    num_features: int = field(metadata={"static": True})

    @property
    def dim(self) -> int:
        """Number of coordinates d."""
        return self.spread.shape[1]

    @property
    def finite(self) -> bool:
        """Whether γ(v) has finitely many components: never."""
        return False

    @property
    def norm_squared(self) -> Array:
        """|γ(v)|², the same for every v."""
        return self.energy

    @property
    def periodic(self) -> bool:
        """Whether k_γ has period 1 on every axis: never."""
        return False

    def __call__(self, x: ArrayLike) -> Array:
        """Refused: there are infinitely many features.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"a {self.law.name}_limit has infinitely many frequencies: no features and no finite network; take "
            f"ns.mapping.{self.law.name}(dim={self.dim}, num_frequencies={max(self.num_features // 2, 1)}, scale=...)"
        )

    def versine(self, delta: ArrayLike) -> Array:
        """1 − k_γ(Δ)/k_γ(0) = 1 − Π_i φ((SΔ)_i), to full relative precision.

        Args:
            delta: lags, shape (..., d).

        Returns:
            Versines in [0, 2], shape (...).

        Raises:
            ValueError: if the last axis of `delta` is not d.
        """
        delta = check_lags(delta, self.dim)
        turns = [sum(delta[..., j] * row[j] for j in range(self.dim)) for row in self.spread]
        return product_of_versines([self.law.versine(t) for t in turns])

    def versine_grid(self, lags: tuple[ArrayLike, ...]) -> Array:
        """Return the versine on a grid of lags; as exact as `versine`, and without its array of points.

        Args:
            lags: d one-dimensional arrays of lags, one an axis.

        Returns:
            Versines, shape (len(lags[0]), ..., len(lags[d-1])).

        Raises:
            ValueError: if there are not d arrays.
        """
        axes = check_axes(lags, self.dim)
        turns = [outer_sum([axis * row[j] for j, axis in enumerate(axes)]) for row in self.spread]
        return product_of_versines([self.law.versine(t) for t in turns])

    def through(self, matrix: ArrayLike) -> LimitMapping:
        """γ(A·): the spread becomes S A.

        Args:
            matrix: A, shape (d, d'); the old coordinates are v = A u.

        Returns:
            The mapping of u, on d' coordinates.

        Raises:
            ValueError: if the matrix has not d rows.
        """
        matrix = check_matrix(matrix, self.dim)
        spread = jnp.matmul(self.spread, matrix, precision="highest")
        return LimitMapping(spread, self.energy, self.law, self.num_features)

    def scaled(self, weight: ArrayLike) -> LimitMapping:
        """√w γ, whose inner product is w k_γ."""
        return LimitMapping(self.spread, jnp.asarray(weight, dtype=float) * self.energy, self.law, self.num_features)


def gaussian_limit(dim: int, scale: ArrayLike, *, num_features: int = 512, normalize: bool = True) -> LimitMapping:
    """Return the limit of `gaussian`: k_γ(Δ) = exp(−2π² Σ scale_i² Δ_i²), a Gaussian of width 1/(2π scale).

    Args:
        dim: number of coordinates d.
        scale: standard deviation of each coordinate of b, cycles per unit; one number, or one for each axis. May be
            traced, so a scale can be fitted by gradient descent.
        num_features: p, the fan-in of the network behind: its first layer sees k_γ/p. The kernel is then the one that
            ``gaussian(dim, p // 2, scale)`` comes close to; 512 is the paper's p.
        normalize: k_γ(0) = 1; otherwise p/2, as a = 1 gives p/2 frequencies (k_γ/p is then free of p).

    Returns:
        The mapping; it has no features, and a network behind it a kernel only.

    Raises:
        ValueError: if a size is not a positive integer or a scale is not positive.

    Source: Rahimi & Recht 2007, "Random features for large-scale kernel machines", figure 1.

    Example:
        >>> import ntkspec as ns
        >>> round(float(ns.mapping.gaussian_limit(dim=1, scale=1.0).inner([0.1])), 6)
        0.820869
    """
    hint = "cycles per unit; a photograph wants about 1 to 10"
    return _limit(GAUSSIAN, dim, scale, hint, num_features, normalize)


def laplace_limit(dim: int, scale: ArrayLike, *, num_features: int = 512, normalize: bool = True) -> LimitMapping:
    """Return the limit of `laplace`: k_γ(Δ) = Π 1/(1 + (2π scale_i Δ_i)²), Cauchy's curve on each axis.

    Args:
        dim: number of coordinates d.
        scale: mean |b| on each axis, cycles per unit; one number, or one for each axis.
        num_features: p, the fan-in of the network behind; see `gaussian_limit`.
        normalize: k_γ(0) = 1; otherwise p/2.

    Returns:
        The mapping; it has no features, and a network behind it a kernel only.

    Raises:
        ValueError: if a size is not a positive integer or a scale is not positive.

    Source: Rahimi & Recht 2007, figure 1.

    Example:
        >>> import math, ntkspec as ns
        >>> round(float(ns.mapping.laplace_limit(dim=1, scale=1.0).inner([1 / (2 * math.pi)])), 12)
        0.5
    """
    hint = "the mean |b|, cycles per unit"
    return _limit(LAPLACE, dim, scale, hint, num_features, normalize)


def uniform_limit(dim: int, scale: ArrayLike, *, num_features: int = 512, normalize: bool = True) -> LimitMapping:
    """Return the limit of `uniform`: k_γ(Δ) = Π sinc(2 scale_i Δ_i), sinc(x) = sin(πx)/(πx).

    Args:
        dim: number of coordinates d.
        scale: highest |b| on each axis, cycles per unit; one number, or one for each axis.
        num_features: p, the fan-in of the network behind; see `gaussian_limit`.
        normalize: k_γ(0) = 1; otherwise p/2.

    Returns:
        The mapping; it has no features, and a network behind it a kernel only.

    Raises:
        ValueError: if a size is not a positive integer or a scale is not positive.

    Example:
        >>> import ntkspec as ns
        >>> round(abs(float(ns.mapping.uniform_limit(dim=1, scale=4.0).inner([1 / 8]))), 12)
        0.0
    """
    hint = "the highest |b|, cycles per unit"
    return _limit(UNIFORM, dim, scale, hint, num_features, normalize)


def _limit(law: Law, dim: int, scale: ArrayLike, hint: str, num_features: int, normalize: bool) -> LimitMapping:
    check_sizes(dim=dim, num_features=num_features)
    scales = check_scale(scale, dim, hint)
    energy = jnp.asarray(1.0 if normalize else num_features / 2)
    return LimitMapping(jnp.diag(scales), energy, law, num_features)
