"""Piecewise linear activations with a kink at zero, and the sign: functions of the angle between the inputs."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from ntkspec.kernel.activation._base import Pair, angle_differences, angles, safe_sqrt
from ntkspec.module import Module


class Identity(Module):
    """φ(u) = u: E[φφ] = c and E[φ'φ'] = 1, a deep linear network."""

    differentiable: ClassVar[bool] = True

    def __call__(self, u: Array) -> Array:
        return u

    def dual(self, pair: Pair) -> tuple[Pair, Array]:
        return pair, jnp.ones(())


class Relu(Module):
    """φ(u) = max(u, 0).

    With θ = arccos ρ: E[φφ] = √(q_x q_z) (sin θ + (π − θ) cos θ)/2π and E[φ'φ'] = (π − θ)/2π.

    Source: Cho & Saul 2009, "Kernel methods for deep learning", equations 3 to 6.

    Example:
        >>> import ntkspec as ns
        >>> pair, derivative = ns.kernel.Relu().dual(Pair.of_versine(1.0, 1.0, 0.5))
        >>> pair.covariance.round(4), derivative.round(4)
        (Array(0.3045, dtype=float64), Array(0.3333, dtype=float64))
    """

    differentiable: ClassVar[bool] = True
    #: Outputs correlate positively, so that the next layer is spared the choice between the ends of ρ.
    nonnegative: ClassVar[bool] = True

    def __call__(self, u: Array) -> Array:
        return jax.nn.relu(u)

    def dual(self, pair: Pair) -> tuple[Pair, Array]:
        return _leaky_dual(pair, 0.0)


class LeakyRelu(Module):
    """φ(u) = u for u > 0 and a·u below, with the slope a a parameter that differentiates.

    φ(u) = a u + (1 − a) max(u, 0), hence E[φφ] = a c + (1 − a)² R and E[φ'φ'] = a + (1 − a)² (π − θ)/2π with R
    the expectation for `Relu` (Cho & Saul 2009, and linearity).

    Args:
        negative_slope: a; 0 is `Relu`, −1 is `Abs`.
    """

    differentiable: ClassVar[bool] = True
    negative_slope: float | Array = 0.01

    def __call__(self, u: Array) -> Array:
        return jnp.where(u > 0, u, self.negative_slope * u)

    def dual(self, pair: Pair) -> tuple[Pair, Array]:
        return _leaky_dual(pair, self.negative_slope)


class Abs(Module):
    """φ(u) = |u|: E[φφ] = 2 √(q_x q_z) (sin θ + (π/2 − θ) cos θ)/π and E[φ'φ'] = 1 − 2θ/π.

    Source: Cho & Saul 2009; |u| = −u + 2 max(u, 0).
    """

    differentiable: ClassVar[bool] = True

    def __call__(self, u: Array) -> Array:
        return jnp.abs(u)

    def dual(self, pair: Pair) -> tuple[Pair, Array]:
        """`LeakyRelu` of slope −1, with E[φ'φ'] as the arcsine that keeps the digits of a small covariance."""
        return _leaky_dual(pair, -1.0)[0], _arcsine(pair)


class Sign(Module):
    """φ(u) = sign u: E[φφ] = 1 − 2θ/π = 2 asin(ρ)/π.

    φ' is zero but for a jump, and E[φ'φ'] = 2/(π √(q_x q_z) sin θ) is infinite on the diagonal: the network has an
    NNGP kernel and no NTK. `dual` gives NaN for it.

    Source: Cho & Saul 2009, order zero; Williams 1997 in the limit of a steep erf.
    """

    differentiable: ClassVar[bool] = False

    def __call__(self, u: Array) -> Array:
        return jnp.sign(u)

    def dual(self, pair: Pair) -> tuple[Pair, Array]:
        # A zero-norm input has sign 0.
        one_x, one_z = (jnp.where(q > 0, 1.0, 0.0) for q in (pair.second_x, pair.second_z))
        both = one_x * one_z
        versines = (jnp.where(both > 0, 2 * angle / jnp.pi, 1) for angle in angles(pair))
        return Pair(one_x, one_z, both * _arcsine(pair), *versines), jnp.full((), jnp.nan)


def _arcsine(pair: Pair) -> Array:
    """(2/π) asin ρ = (2/π) atan2(ρ, sin θ), to relative precision also where ρ is small or near ±1."""
    return 2 / jnp.pi * jnp.arctan2(pair.correlation, safe_sqrt(pair.sine_squared))


def _leaky_dual(pair: Pair, slope: float | Array) -> tuple[Pair, Array]:
    gain, rectified = 1 + slope**2, (1 - slope) ** 2
    near, far = (rectified * difference / jnp.pi for difference in angle_differences(pair))
    # From θ = 0 and from θ = π: each without the terms that would cancel at its own end (slope 0 needs only one).
    from_near = pair.versine - near / gain
    if pair.coversine is None:
        ends = from_near, 2 - from_near
    else:
        opposite = pair.coversine < pair.versine
        from_far = ((1 + slope) ** 2 - 2 * slope * pair.coversine - far) / gain
        far_end = (rectified + 2 * slope * pair.coversine + far) / gain
        ends = jnp.where(opposite, from_far, from_near), jnp.where(opposite, far_end, 2 - from_near)
    moments = Pair(
        second_x=pair.second_x * gain / 2,
        second_z=pair.second_z * gain / 2,
        covariance=slope * pair.covariance + pair.norm * far / 2,
        versine=ends[0],
        coversine=ends[1],
    )
    return moments, slope + rectified * angles(pair)[1] / (2 * jnp.pi)
