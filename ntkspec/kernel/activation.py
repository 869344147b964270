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
        theta = angle(versine)
        return Dual(
            second_x=q_x / 2,
            second_z=q_z / 2,
            versine=versine - _sine_minus_theta_cosine(theta) / jnp.pi,
            derivative=(jnp.pi - theta) / (2 * jnp.pi),
        )


def safe_sqrt(x: Array) -> Array:
    """√x for x > 0 and 0 elsewhere, with derivative 0 there: a zero-norm input has finite gradients."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def angle(versine: Array) -> Array:
    """θ = arccos(1 − versine) = 2 atan2(√v, √(2 − v)), to full relative precision in the versine."""
    versine = jnp.asarray(versine, dtype=float)
    return 2 * jnp.arctan2(safe_sqrt(versine), safe_sqrt(2 - versine))


def _sine_minus_theta_cosine(theta: Array) -> Array:
    """Sin θ − θ cos θ = Σ_k (−1)^(k+1) 2k/(2k+1)! θ^(2k+1), by series below 1 where the difference cancels."""
    small = theta < 1
    t = jnp.where(small, theta, 0)
    series = jnp.zeros_like(t)
    for k in range(9, 0, -1):
        series = (-1) ** (k + 1) * 2 * k / math.factorial(2 * k + 1) + t**2 * series
    return jnp.where(small, t**3 * series, jnp.sin(theta) - theta * jnp.cos(theta))


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
