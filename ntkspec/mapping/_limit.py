"""Infinitely many frequencies: the inner products that sampled mappings converge to, in closed form."""

from __future__ import annotations

from typing import Protocol

import equinox as eqx
import jax.numpy as jnp
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_sizes
from ntkspec.mapping._base import (
    Stationary,
    Versines,
    check_axes,
    check_lags,
    check_matrix,
    outer_sum,
    product_of_versines,
)
from ntkspec.mapping._law import GAUSSIAN, LAPLACE, UNIFORM, Law, check_scale

__all__ = ["LimitMapping", "gaussian_limit", "laplace_limit", "uniform_limit"]


class LimitMapping(Stationary):
    """The mapping of infinitely many frequencies b = Sᵀz, z independent of one law: k_γ(Δ) = E[cos 2πb·Δ].

    With φ(t) = E[cos 2πzt] of one z, k_γ(Δ) = |γ|² Π_i φ((SΔ)_i). There is no γ(v) to compute, only its inner
    product: no features, no finite network.

    A kernel behind it needs a fan-in p, for a first layer sees |γ|²/p. The limit takes p as a convention,
    `num_features`: p/2 sampled frequencies have this inner product on average and scatter about it by 1/√p, and so do
    the kernels behind both.

    Attributes:
        spread: S, shape (r, d), cycles per unit; diag(scale) where no coordinates were changed.
        energy: |γ|² = k_γ(0).
        law: law of z.
        num_features: p, the fan-in of the network behind.

    Example:
        >>> import ntkspec as ns
        >>> g = ns.mapping.gaussian_limit(dim=2, scale=10.0)
        >>> float(g.inner([0.0, 0.0])), g.num_features
        (1.0, 512)
    """

    spread: Array
    energy: Array
    law: Law = eqx.field(static=True)
    num_features: int = eqx.field(static=True)

    @property
    def dim(self) -> int:
        return self.spread.shape[1]

    @property
    def finite(self) -> bool:
        return False

    @property
    def norm_squared(self) -> Array:
        return self.energy

    @property
    def periodic(self) -> bool:
        return False

    def __call__(self, x: ArrayLike) -> Array:
        """Refused: there are infinitely many features."""
        raise ValueError(
            f"a {self.law.name}_limit has infinitely many frequencies: no features and no finite network; take "
            f"ns.mapping.{self.law.name}(dim={self.dim}, num_frequencies={max(self.num_features // 2, 1)}, scale=...)"
        )

    def versines(self, delta: ArrayLike) -> Versines:
        """1 ∓ Π_i φ((SΔ)_i), to full relative precision; no φ comes near −1.

        Args:
            delta: lags, shape (..., d).

        Returns:
            Versines in [0, 2], shape (...) each.
        """
        delta = check_lags(delta, self.dim)
        return self._of_turns([sum(delta[..., j] * row[j] for j in range(self.dim)) for row in self.spread])

    def versines_grid(self, lags: tuple[ArrayLike, ...]) -> Versines:
        """Return the versines on a grid of lags; as exact as `versines`, and without its array of points."""
        axes = check_axes(lags, self.dim)
        return self._of_turns([outer_sum([axis * row[j] for j, axis in enumerate(axes)]) for row in self.spread])

    def _of_turns(self, turns: list[Array]) -> Versines:
        return product_of_versines([Versines.of(self.law.versine(t)) for t in turns])

    def through(self, matrix: ArrayLike) -> LimitMapping:
        """γ(A·) for A (d, d'): the spread becomes S A."""
        matrix = check_matrix(matrix, self.dim)
        spread = jnp.matmul(self.spread, matrix, precision="highest")
        return LimitMapping(spread, self.energy, self.law, self.num_features)

    def scaled(self, weight: ArrayLike) -> LimitMapping:
        return LimitMapping(self.spread, jnp.asarray(weight, dtype=float) * self.energy, self.law, self.num_features)


class Limit(Protocol):
    """A function that makes the limit of a sampler."""

    def __call__(self, dim: int, scale: ArrayLike, *, num_features: int = 512, normalize: bool = True) -> LimitMapping:
        """Return the mapping of infinitely many frequencies."""
        ...


_DOCUMENTATION = """The limit of `{name}`: k_γ(Δ) = {inner}.

Args:
    dim: number of coordinates d.
    scale: {scale} on each axis, cycles per unit; one number, or one for each axis. May be traced, so a scale can be
        fitted by gradient descent.
    num_features: p, the fan-in of the network behind: its first layer sees k_γ/p. The kernel is then the one that
        ``{name}(dim, p // 2, scale)`` comes close to; 512 is the paper's p.
    normalize: k_γ(0) = 1; otherwise p/2, as a = 1 gives p/2 frequencies (k_γ/p is then free of p).

Returns:
    The mapping; it has no features, and a network behind it a kernel only.

Raises:
    ValueError: if a size is not a positive integer or a scale is not positive.

Source: Rahimi & Recht 2007, "Random features for large-scale kernel machines", figure 1.

Example:
    >>> import ntkspec as ns
    >>> round(float(ns.mapping.{name}_limit(dim=1, scale=1.0).inner([0.1])), 6)
    {example}
"""


def _limit(law: Law, inner: str, example: float) -> Limit:
    def limit(dim: int, scale: ArrayLike, *, num_features: int = 512, normalize: bool = True) -> LimitMapping:
        check_sizes(dim=dim, num_features=num_features)
        energy = jnp.asarray(1.0 if normalize else num_features / 2)
        return LimitMapping(jnp.diag(check_scale(scale, dim, law)), energy, law, num_features)

    limit.__name__ = limit.__qualname__ = f"{law.name}_limit"
    limit.__doc__ = _DOCUMENTATION.format(name=law.name, inner=inner, scale=law.scale, example=example)
    return limit


gaussian_limit = _limit(GAUSSIAN, "exp(−2π² Σ scale_i² Δ_i²), a Gaussian of width 1/(2π scale)", 0.820869)
laplace_limit = _limit(LAPLACE, "Π 1/(1 + (2π scale_i Δ_i)²), Cauchy's curve on each axis", 0.716957)
uniform_limit = _limit(UNIFORM, "Π sinc(2 scale_i Δ_i), sinc(x) = sin(πx)/(πx)", 0.935489)
