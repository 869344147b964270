"""Activations φ with their Gaussian expectations E[φ(u)φ(v)] and E[φ'(u)φ'(v)].

For (u, v) ~ N(0, [[q_x, c], [c, q_z]]) the recursion over layers carries the variances q_x, q_z and the versine
1 − ρ of the correlation ρ = c/√(q_x q_z): near ρ = 1, where close points live, 1 − ρ has digits that ρ has lost.

A new activation is one class here and one row in ``ACTIVATIONS``; the tests cross every row with every property.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["ACTIVATIONS", "Activation", "Dual", "Relu", "named", "safe_sqrt"]


class Dual(NamedTuple):
    """What a layer of an activation does to a pair of Gaussian inputs.

    Attributes:
        second_x: E[φ(u)²].
        second_z: E[φ(v)²].
        versine: 1 − E[φ(u)φ(v)] / √(second_x second_z).
        derivative: E[φ'(u)φ'(v)].
    """

    second_x: Array
    second_z: Array
    versine: Array
    derivative: Array


class Activation(Protocol):
    """A pointwise function with its Gaussian expectations."""

    def __call__(self, u: Array) -> Array:
        """φ(u), elementwise; the finite network calls this."""
        ...

    def dual(self, q_x: Array, q_z: Array, versine: Array) -> Dual:
        """The expectations over a pair of variances `q_x`, `q_z` and correlation 1 − `versine`, broadcast."""
        ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Relu:
    """φ(u) = max(u, 0).

    With θ = arccos ρ: E[φφ] = √(q_x q_z) (sin θ + (π − θ) cos θ)/2π and E[φ'φ'] = (π − θ)/2π.

    Source: Cho & Saul 2009, "Kernel methods for deep learning", equations 3 to 6.

    Example:
        >>> import ntkspec as ns
        >>> dual = ns.kernel.Relu().dual(1.0, 1.0, 0.0)
        >>> float(dual.second_x), float(dual.derivative)
        (0.5, 0.5)
    """

    def __call__(self, u: Array) -> Array:
        """max(u, 0)."""
        return jax.nn.relu(u)

    def dual(self, q_x: Array, q_z: Array, versine: Array) -> Dual:
        """Arc-cosine kernels of order one and zero, from the versine."""
        versine = jnp.asarray(versine, dtype=float)
        theta = angle(versine)
        return Dual(
            second_x=q_x / 2,
            second_z=q_z / 2,
            versine=versine - _sine_minus_theta_cosine(theta, versine) / jnp.pi,
            derivative=(jnp.pi - theta) / (2 * jnp.pi),
        )


def safe_sqrt(x: Array) -> Array:
    """√x for x > 0 and 0 elsewhere, with derivative 0 there: a zero-norm input has finite gradients."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def angle(versine: Array) -> Array:
    """θ = arccos(1 − versine), to full relative precision in the versine.

    By θ = 4 asin √r with r = w/(2 + 2√(1 − w)), w = v/2, where r ≤ 0.15 makes the series of asin short: an arc tangent
    costs five times as much. Above a right angle it is the supplement's that is computed.
    """
    versine = jnp.asarray(versine, dtype=float)
    obtuse = versine > 1
    w = jnp.where(obtuse, 2 - versine, versine) / 2
    r = w / (2 + 2 * safe_sqrt(1 - w))
    acute = 4 * safe_sqrt(r) * _horner(ASIN_SERIES, r)
    return jnp.where(obtuse, jnp.pi - acute, acute)


def _sine_minus_theta_cosine(theta: Array, versine: Array) -> Array:
    """Sin θ − θ cos θ, by series up to a right angle, where the difference cancels."""
    acute = versine <= 1
    t = jnp.where(acute, theta, 0)
    sine = safe_sqrt(versine * (2 - versine))
    return jnp.where(acute, t**3 * _horner(DIFFERENCE_SERIES, t**2), sine - theta * (1 - versine))


def _horner(coefficients: tuple[float, ...], x: Array) -> Array:
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = coefficient + x * total
    return total


#: asin √x / √x = Σ_k C(2k, k)/(4^k (2k+1)) x^k; at x = 0.15 the last term is 1e-19.
ASIN_SERIES = tuple(math.comb(2 * k, k) / (4**k * (2 * k + 1)) for k in range(21))
#: (sin θ − θ cos θ)/θ³ = Σ_k (−1)^(k+1) 2k/(2k+1)! θ^(2k−2); at π/2 the last term is 1e-19.
DIFFERENCE_SERIES = tuple((-1) ** (k + 1) * 2 * k / math.factorial(2 * k + 1) for k in range(1, 14))

#: Names a command line or a configuration may use.
ACTIVATIONS: dict[str, type] = {"relu": Relu}


def named(name: str) -> Activation:
    """The activation of that name.

    Args:
        name: one of ``ACTIVATIONS``.

    Returns:
        The activation with its default parameters.

    Raises:
        ValueError: if there is no such name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation={name!r} is not known; expected one of {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS[name]()
