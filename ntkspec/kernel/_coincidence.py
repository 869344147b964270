"""Versines of nearly coincident and nearly opposite pairs, where 1 − ρ from a matrix product has lost digits."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["resolve_coincident"]

#: So near 0 and 2 the rounding of a matrix product (a few 1e-16) would show in the kernel beyond 1e-13.
COINCIDENT = 1e-5
#: So few pairs are all computed both ways: a program without branches compiles several times faster.
SMALL = 4096


def resolve_coincident(versine: Array, exact: Callable[[Array, Array], Array], same: Array) -> Array:
    """Replace versines near 0 and 2 by exact ones, as far as a number near 2 can be.

    Args:
        versine: 1 − ρ for all pairs, shape (n, k), good to a few units of rounding relative to 1.
        exact: the versines of pairs (i, j) from their differences, (t,), (t,) -> (t,).
        same: whether a pair is one point twice, shape (n, k).

    Returns:
        Versines in [0, 2], shape (n, k).
    """
    rows, columns = versine.shape
    versine = jnp.clip(versine, 0, 2)
    near = (versine < COINCIDENT) | (versine > 2 - COINCIDENT)
    versine = jnp.where(near & same, 0, versine)
    near = near & ~same
    if rows * columns <= SMALL:
        i, j = jnp.indices((rows, columns)).reshape(2, -1)
        return jnp.where(near, exact(i, j).reshape(rows, columns), versine)
    longest = max(rows, columns)

    def gathered(budget: int) -> Callable[[Array], Array]:
        def replace(versine: Array) -> Array:
            i, j = jnp.nonzero(near, size=budget, fill_value=longest)
            i_in, j_in = jnp.minimum(i, rows - 1), jnp.minimum(j, columns - 1)
            return versine.at[i, j].set(exact(i_in, j_in), mode="drop")

        return replace

    def crowd(versine: Array) -> Array:
        def row(i: Array, row_versine: Array, row_near: Array) -> Array:
            return jnp.where(row_near, exact(jnp.full(columns, i), jnp.arange(columns)), row_versine)

        return jax.lax.map(lambda args: row(*args), (jnp.arange(rows), versine, near))

    # Mostly there are none; a handful of neighbours a point goes through one gather; a crowd row by row.
    budgets = (0, longest // 8 + 1, 8 * longest)
    branch = jnp.sum(jnp.sum(near) > jnp.asarray(budgets))
    return jax.lax.switch(branch, [lambda v: v, gathered(budgets[1]), gathered(budgets[2]), crowd], versine)
