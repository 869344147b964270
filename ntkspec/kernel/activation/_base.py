"""What every activation answers, and the arithmetic of correlations that they share.

A pair of Gaussian inputs (u, v) ~ N(0, [[q_x, c], [c, q_z]]) is carried as its second moments, its covariance and the
versines 1 − ρ and 1 + ρ of its correlation ρ = c/√(q_x q_z): near ρ = ±1, where points coincide or oppose, they have
digits that c has lost, and near c = 0 the other way round.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ntkspec.mapping import Versines


class Pair(NamedTuple):
    """Second moments of a pair of variables (u, v), broadcast over pairs of inputs.

    Attributes:
        second_x: E[u²].
        second_z: E[v²].
        covariance: E[uv].
        versine: 1 − ρ, ρ = E[uv]/√(E[u²] E[v²]).
        coversine: 1 + ρ; None if ρ ≥ 0, where 2 − versine has its digits and nothing need choose between the ends.
    """

    second_x: Array
    second_z: Array
    covariance: Array
    versine: Array
    coversine: Array | None

    @classmethod
    def of_versine(cls, second_x: ArrayLike, second_z: ArrayLike, versine: ArrayLike | Versines) -> Pair:
        """Return the pair whose versine (or both, see `Versines`) is known to full precision."""
        second_x, second_z = (jnp.asarray(a, dtype=float) for a in (second_x, second_z))
        near, far = Versines.of(versine)
        return cls(second_x, second_z, safe_sqrt(second_x) * safe_sqrt(second_z) * (1 - near), near, far)

    @classmethod
    def of_covariance(cls, second_x: Array, second_z: Array, covariance: Array) -> Pair:
        """Return the pair of a smooth activation: its versines are good to a few units of rounding relative to 1."""
        correlation = safe_divide(covariance, safe_sqrt(second_x) * safe_sqrt(second_z))
        return cls(second_x, second_z, covariance, 1 - correlation, 1 + correlation)

    @classmethod
    def of_smaller(cls, second_x: Array, second_z: Array, covariance: Array, smaller: Array) -> Pair:
        """Return the pair of which the smaller versine, that of |c|, is known to full precision."""
        near, far = jnp.where(covariance < 0, 2 - smaller, smaller), jnp.where(covariance < 0, smaller, 2 - smaller)
        return cls(second_x, second_z, covariance, near, far)

    @classmethod
    def constant(cls, variance: Array | float) -> Pair:
        """Return the same variable for every input: a bias."""
        same = jnp.asarray(variance, dtype=float)
        return cls(same, same, same, jnp.zeros(()), None)

    @property
    def far(self) -> Array:
        """1 + ρ."""
        return 2 - self.versine if self.coversine is None else self.coversine

    @property
    def norm(self) -> Array:
        """√(E[u²] E[v²])."""
        return safe_sqrt(self.second_x) * safe_sqrt(self.second_z)

    @property
    def sine_squared(self) -> Array:
        """1 − ρ², which loses nothing at either end."""
        return self.versine * self.far

    @property
    def correlation(self) -> Array:
        """ρ, with the digits of a small covariance."""
        return jnp.where(self.norm > 0, safe_divide(self.covariance, self.norm), 1 - self.versine)

    def scaled(self, variance: Array | float) -> Pair:
        """Each variable times an independent weight of that variance."""
        q_x, q_z, c = (variance * moment for moment in self[:3])
        return Pair(q_x, q_z, c, self.versine, self.coversine)

    def plus(self, other: Pair) -> Pair:
        """Return the sum of independent pairs.

        With s_i = √(q_ix q_iz), by Lagrange's identity
        √(q_x q_z) ∓ c = s_1 v_1 + s_2 v_2 + (√(q_1x q_2z) − √(q_1z q_2x))² / (√(q_x q_z) + s_1 + s_2),
        v the versines of that sign.
        """
        x1, z1, x2, z2 = (safe_sqrt(q) for q in (self.second_x, self.second_z, other.second_x, other.second_z))
        second_x, second_z = self.second_x + other.second_x, self.second_z + other.second_z
        size = safe_sqrt(second_x) * safe_sqrt(second_z)
        total = size + x1 * z1 + x2 * z2
        # Larger less smaller, which no compiler contracts: exchanging x and z changes no digit.
        crossed = jnp.maximum(x1 * z2, z1 * x2) - jnp.minimum(x1 * z2, z1 * x2)
        spread = crossed**2 / jnp.where(total > 0, total, 1)
        # Scalars behind a stationary mapping. A variable that is always zero is uncorrelated with everything.
        parts = (x1 * z1, x2 * z2, spread)
        one, two, rest = (jnp.where(size > 0, part / jnp.where(size > 0, size, 1), 0) for part in parts)
        rest = jnp.where(size > 0, rest, 1)
        nonnegative = self.coversine is None and other.coversine is None
        return Pair(
            second_x,
            second_z,
            self.covariance + other.covariance,
            one * self.versine + (two * other.versine + rest),
            None if nonnegative else one * self.far + (two * other.far + rest),
        )


@runtime_checkable
class Activation(Protocol):
    """A pointwise function φ with its Gaussian expectations."""

    @property
    def differentiable(self) -> bool:
        """Whether E[φ'φ'] is finite; a network of an activation without has an NNGP kernel and no NTK."""

    def __call__(self, u: Array) -> Array:
        """φ(u), elementwise; the finite network calls this."""

    def dual(self, pair: Pair) -> tuple[Pair, Array]:
        """Return the second moments of (φ(u), φ(v)), and E[φ'(u)φ'(v)]."""


def safe_sqrt(x: Array) -> Array:
    """√x for x > 0 and 0 elsewhere, with derivative 0 there: a zero-norm input has finite gradients."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def safe_divide(a: Array, b: Array) -> Array:
    """a/b for b > 0 and 0 elsewhere, with finite derivatives."""
    positive = b > 0
    return jnp.where(positive, a / jnp.where(positive, b, 1), 0)


def angles(pair: Versines | Pair) -> tuple[Array, Array]:
    """θ = arccos ρ and π − θ, each to full relative precision."""
    near, far = pair[-2:]
    acute = _acute_angle(near, far)
    obtuse = jnp.pi - acute
    if far is None:
        return acute, obtuse
    return jnp.where(far < near, obtuse, acute), jnp.where(far < near, acute, obtuse)


def angle_differences(pair: Versines | Pair) -> tuple[Array, Array]:
    """Sin θ − θ cos θ, and the same of π − θ, each to full relative precision.

    Up to a right angle by series, where the difference cancels; the supplement's adds π cos θ.
    """
    near, far = pair[-2:]
    acute = _acute_angle(near, far)
    small = acute**3 * jnp.polyval(DIFFERENCE_SERIES, acute**2)
    if far is None:
        return small, small + jnp.pi * (1 - near)
    # Not the minimum, which has no slope where both are 1.
    large = small + jnp.pi * (1 - jnp.where(far < near, far, near))
    return jnp.where(far < near, large, small), jnp.where(far < near, small, large)


def _acute_angle(near: Array, far: Array | None) -> Array:
    """Return the smaller of θ and π − θ.

    By θ = 4 asin √r with r = w/(2 + 2√(1 − w)), w the smaller versine's half, where r ≤ 0.15 makes the series of asin
    short: an arc tangent costs five times as much.
    """
    w = (near if far is None else jnp.where(far < near, far, near)) / 2
    r = w / (2 + 2 * safe_sqrt(1 - w))
    return 4 * safe_sqrt(r) * jnp.polyval(ASIN_SERIES, r)


def _economised(coefficients: list[Fraction], upper: Fraction, degree: int) -> np.ndarray:
    """Return a power series cut to a degree with the least error on [0, upper], highest power first.

    From the highest power k down, c_k x^k gives way to what c_k (upper/4)^k 2 T_k(2x/upper − 1) leaves of it, which
    is nowhere larger than 2 |c_k| (upper/4)^k (Chebyshev economisation, in exact arithmetic).

    Source: Lanczos 1956, "Applied analysis", section 7.9.
    """
    left = list(coefficients)
    for k in range(len(left) - 1, degree, -1):
        top = left[k] * upper**k / 2 ** (2 * k - 1)
        for j in range(k + 1):
            # T_k(2x − 1) = Σ_j (−1)^(k−j) 4^j k/(k+j) C(k+j, 2j) x^j.
            chebyshev = (-1) ** (k - j) * Fraction(4**j * k * math.comb(k + j, 2 * j), k + j)
            left[j] -= top * chebyshev / upper**j
    return np.array([float(c) for c in reversed(left[: degree + 1])])


#: asin √x / √x = Σ_k C(2k, k)/(4^k (2k+1)) x^k on [0, 0.15], to 1e-17.
ASIN_SERIES = _economised(
    [Fraction(math.comb(2 * k, k), 4**k * (2 * k + 1)) for k in range(21)], upper=Fraction(15, 100), degree=10
)
#: (sin θ − θ cos θ)/θ³ = Σ_k (−1)^(k+1) 2k/(2k+1)! θ^(2k−2) up to a right angle, to 1e-17.
DIFFERENCE_SERIES = _economised(
    [Fraction((-1) ** (k + 1) * 2 * k, math.factorial(2 * k + 1)) for k in range(1, 14)],
    upper=Fraction(math.pi**2 / 4),
    degree=7,
)


def spread(second_x: Array, second_z: Array) -> Array:
    """(√q_x − √q_z)²/2, without cancellation."""
    return safe_divide((second_x - second_z) ** 2, (safe_sqrt(second_x) + safe_sqrt(second_z)) ** 2) / 2
