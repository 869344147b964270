"""What sums and scalings do to the second moments of a pair of Gaussian variables, free of cancellation."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from ntkspec.kernel.activation import Pair, safe_sqrt

__all__ = ["add", "constant", "scale"]


def scale(pair: Pair, variance: Array | float) -> Pair:
    """Each variable times an independent weight of that variance."""
    return Pair(variance * pair.second_x, variance * pair.second_z, variance * pair.covariance, pair.versine)


def constant(variance: Array | float) -> Pair:
    """Return the same variable for every input: a bias."""
    same = jnp.asarray(variance, dtype=float)
    return Pair(same, same, same, jnp.zeros(()))


def add(first: Pair, second: Pair) -> Pair:
    """Return the sum of independent pairs.

    With s_i = √(q_ix q_iz), by Lagrange's identity
    √(q_x q_z) − c = s_1 v_1 + s_2 v_2 + (√(q_1x q_2z) − √(q_1z q_2x))² / (√(q_x q_z) + s_1 + s_2).
    """
    x1, z1, x2, z2 = (safe_sqrt(q) for q in (first.second_x, first.second_z, second.second_x, second.second_z))
    second_x, second_z = first.second_x + second.second_x, first.second_z + second.second_z
    size = safe_sqrt(second_x) * safe_sqrt(second_z)
    total = size + x1 * z1 + x2 * z2
    # Larger less smaller, which no compiler contracts: exchanging x and z changes no digit.
    crossed = jnp.maximum(x1 * z2, z1 * x2) - jnp.minimum(x1 * z2, z1 * x2)
    spread = crossed**2 / jnp.where(total > 0, total, 1)
    gap = x1 * z1 * first.versine + x2 * z2 * second.versine + spread
    # A variable that is always zero is uncorrelated with everything, itself included.
    versine = jnp.where(size > 0, gap / jnp.where(size > 0, size, 1), 1)
    # Near 2 a unit of rounding of the versine is 1e-8 of the angle to the opposite: nothing added must round nothing.
    alone = (second.second_x == 0) & (second.second_z == 0) & (size > 0)
    versine = jnp.where(alone, first.versine, versine)
    return Pair(second_x, second_z, first.covariance + second.covariance, versine)
