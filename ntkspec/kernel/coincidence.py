"""Versines of nearly coincident pairs, where 1 − ρ from a matrix product has lost its digits."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["resolve_coincident"]

#: Below this versine the rounding of a matrix product (a few 1e-16) would show in the kernel beyond 1e-13.
COINCIDENT = 1e-5


def resolve_coincident(versine: Array, exact: Callable[[Array, Array], Array], symmetric: bool) -> Array:
    """Replace small versines by exact ones.

    Args:
        versine: 1 − ρ for all pairs, shape (n, k), good to a few units of rounding relative to 1.
        exact: the versines of pairs (i, j) from their differences, (t,), (t,) -> (t,).
        symmetric: whether rows and columns are the same points; the result is then exactly symmetric.

    Returns:
        Versines in [0, 2], shape (n, k).
    """
    rows, columns = versine.shape
    if symmetric:
        versine = (versine + versine.T) / 2
    versine = jnp.clip(versine, 0, 2)
    near = versine < COINCIDENT
    # A handful of neighbours a point goes through one gather; a crowd (all points alike) row by row.
    budget = 8 * max(rows, columns)

    def few(versine: Array) -> Array:
        i, j = jnp.nonzero(near, size=budget, fill_value=max(rows, columns))
        i_in, j_in = jnp.minimum(i, rows - 1), jnp.minimum(j, columns - 1)
        return versine.at[i, j].set(exact(i_in, j_in), mode="drop")

    def crowd(versine: Array) -> Array:
        def row(i: Array, row_versine: Array, row_near: Array) -> Array:
            return jnp.where(row_near, exact(jnp.full(columns, i), jnp.arange(columns)), row_versine)

        return jax.lax.map(lambda args: row(*args), (jnp.arange(rows), versine, near))

    return jax.lax.cond(jnp.sum(near) <= budget, few, crowd, versine)
