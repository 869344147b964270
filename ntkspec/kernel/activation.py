"""Activations φ with their Gaussian expectations E[φ(u)φ(v)] and E[φ'(u)φ'(v)].

A pair of Gaussian inputs (u, v) ~ N(0, [[q_x, c], [c, q_z]]) is carried as its second moments and the versine
1 − ρ of its correlation ρ = c/√(q_x q_z): near ρ = 1, where close points live, 1 − ρ has digits that c has lost, and
near c = 0 the other way round.

A new activation is one class here and one row in ``ACTIVATIONS``; the tests cross every row with every property.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["ACTIVATIONS", "Activation", "Pair", "Relu", "named", "safe_sqrt"]


class Pair(NamedTuple):
    """Second moments of a pair of zero-mean variables (u, v), broadcast over pairs of inputs.

    Attributes:
        second_x: E[u²].
        second_z: E[v²].
        covariance: E[uv].
        versine: 1 − E[uv]/√(E[u²] E[v²]).
    """

    second_x: Array
    second_z: Array
    covariance: Array
    versine: Array

    @classmethod
    def of_versine(cls, second_x: Array, second_z: Array, versine: Array) -> Pair:
        """The pair whose versine is known to full precision."""
        return cls(second_x, second_z, safe_sqrt(second_x) * safe_sqrt(second_z) * (1 - versine), versine)


class Activation(Protocol):
    """A pointwise function φ with its Gaussian expectations."""

    @property
    def differentiable(self) -> bool:
        """Whether E[φ'φ'] is finite; a network of an activation without has an NNGP kernel and no NTK."""
        ...

    def __call__(self, u: Array) -> Array:
        """φ(u), elementwise; the finite network calls this."""
        ...

    def dual(self, pair: Pair) -> tuple[Pair, Array]:
        """The second moments of (φ(u), φ(v)), and E[φ'(u)φ'(v)]."""
        ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Relu:
    """φ(u) = max(u, 0).

    With θ = arccos ρ: E[φφ] = √(q_x q_z) (sin θ + (π − θ) cos θ)/2π and E[φ'φ'] = (π − θ)/2π.

    Source: Cho & Saul 2009, "Kernel methods for deep learning", equations 3 to 6.

    Example:
        >>> import ntkspec as ns
        >>> pair, derivative = ns.kernel.Relu().dual(Pair.of_versine(1.0, 1.0, 0.0))
        >>> float(pair.covariance), float(derivative)
        (0.5, 0.5)
    """

    differentiable: ClassVar[bool] = True

    def __call__(self, u: Array) -> Array:
        """max(u, 0)."""
        return jax.nn.relu(u)

    def dual(self, pair: Pair) -> tuple[Pair, Array]:
        """Arc-cosine kernels of order one and zero, from the versine: both ends of θ keep their digits."""
        theta, supplement = angles(pair.versine)
        scale = safe_sqrt(pair.second_x) * safe_sqrt(pair.second_z) / (2 * jnp.pi)
        moments = Pair(
            second_x=pair.second_x / 2,
            second_z=pair.second_z / 2,
            covariance=scale * sine_minus_angle_cosine(supplement),
            versine=pair.versine - sine_minus_angle_cosine(theta) / jnp.pi,
        )
        return moments, supplement / (2 * jnp.pi)


def safe_sqrt(x: Array) -> Array:
    """√x for x > 0 and 0 elsewhere, with derivative 0 there: a zero-norm input has finite gradients."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def angles(versine: Array) -> tuple[Array, Array]:
    """θ = arccos(1 − versine) = 2 atan2(√v, √(2 − v)) and π − θ, each to full relative precision."""
    versine = jnp.asarray(versine, dtype=float)
    near, far = safe_sqrt(versine), safe_sqrt(2 - versine)
    return 2 * jnp.arctan2(near, far), 2 * jnp.arctan2(far, near)


def sine_minus_angle_cosine(theta: Array) -> Array:
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
