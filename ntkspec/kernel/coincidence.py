"""Versines of nearly coincident pairs, where 1 − ρ from a matrix product has lost its digits."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["COINCIDENT", "resolve_coincident"]

#: Below this versine the rounding of a matrix product (a few 1e-16) would show in the kernel beyond 1e-13.
COINCIDENT = 1e-5


def resolve_coincident(
    versine: Array, exact: Callable[[Array, Array], Array], symmetric: bool, *, below: float = COINCIDENT
) -> Array:
    """Replace small versines by exact ones.

    Args:
        versine: 1 − ρ for all pairs, shape (n, k), good to a few units of rounding relative to 1.
        exact: the versines of pairs (i, j) from their differences, (t,), (t,) -> (t,).
        symmetric: whether rows and columns are the same points; the result is then exactly symmetric.
        below: which versines are small. A kernel with a cusp is off by about rounding/√below under it.

    Returns:
        Versines in [0, 2], shape (n, k).
    """
    rows, columns = versine.shape
    if symmetric:
        versine = (versine + versine.T) / 2
    versine = jnp.clip(versine, 0, 2)
    near = versine < below
    count = jnp.sum(near)
    # Most blocks of scattered points have no close pair and most others a handful, which go through one gather; a
    # crowd (all points alike) goes row by row.
    side = max(rows, columns)
    handful, many = side // 8 + 1, 8 * side

    def none(versine: Array) -> Array:
        return versine

    def few(budget: int) -> Callable[[Array], Array]:
        def resolve(versine: Array) -> Array:
            i, j = jnp.nonzero(near, size=budget, fill_value=side)
            i_in, j_in = jnp.minimum(i, rows - 1), jnp.minimum(j, columns - 1)
            return versine.at[i, j].set(exact(i_in, j_in), mode="drop")

        return resolve

    def crowd(versine: Array) -> Array:
        def row(i: Array, row_versine: Array, row_near: Array) -> Array:
            return jnp.where(row_near, exact(jnp.full(columns, i), jnp.arange(columns)), row_versine)

        return jax.lax.map(lambda args: row(*args), (jnp.arange(rows), versine, near))

    case = jnp.searchsorted(jnp.array([0, handful, many]), count)
    return jax.lax.switch(case, [none, few(handful), few(many), crowd], versine)
