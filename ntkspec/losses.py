"""Losses of one value f and its label y, elementwise and in jax, which differentiates them. A leaf."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["Huber", "PointLoss", "logistic", "squared"]

#: A loss of values and their labels, elementwise.
PointLoss = Callable[[Array, Array], Array]


def squared(f: Array, y: Array) -> Array:
    """½ (f − y)²."""
    return (f - y) ** 2 / 2


def logistic(f: Array, y: Array) -> Array:
    """Return the logistic loss log(1 + e^f) − y f of a logit f, for labels in [0, 1]: occupancy, or classes 0 and 1.

    Example:
        >>> round(float(logistic(jnp.array(0.0), jnp.array(1.0))), 6)
        0.693147
    """
    return jax.nn.softplus(f) - y * f


@dataclass(frozen=True)
class Huber:
    """The Huber loss; build one with `ntkspec.dynamics.huber`.

    Attributes:
        threshold: residual beyond which it is linear.
    """

    threshold: float

    def __call__(self, f: Array, y: Array) -> Array:
        """½ e² up to the threshold d, d(|e| − d/2) beyond, e = f − y."""
        size = jnp.abs(f - y)
        return jnp.where(size <= self.threshold, size**2 / 2, self.threshold * (size - self.threshold / 2))
