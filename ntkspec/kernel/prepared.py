"""A kernel evaluated in bulk: blocks of a Gram from features computed once, and large tables of lags in parts."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkspec.kernel.coincidence import resolve_coincident
from ntkspec.kernel.composed import ComposedKernel, Which
from ntkspec.kernel.network import normalised
from ntkspec.mapping import StationaryMapping

__all__ = ["Prepared", "entries", "lag_table", "prepare"]

#: Entries are wanted to 1e-11 of k(0) in a product, not each to its last digit as in `ComposedKernel.gram`.
CLOSE = 1e-8
#: Lags that go through the network at once: two compiled programs serve tables of every size.
PARTS = (2**12, 2**18)


class Prepared(NamedTuple):
    """Points with what a kernel needs of each of them; a slice of every field is a slice of the points.

    Attributes:
        x: the points, shape (n, d).
        direction: γ/|γ|, shape (n, p); (n, 0) where γ has infinitely many components.
        mean_square: |γ|²/p, shape (n,).
    """

    x: Array
    direction: Array
    mean_square: Array


def prepare(k: ComposedKernel, x: Array) -> Prepared:
    """Features of points.

    Args:
        k: a composed kernel.
        x: points, shape (n, d).

    Returns:
        The points, ready for `entries`; memory n (d + p + 1) numbers.
    """
    if not k.stationary:
        return Prepared(x, *normalised(k.mapping(x)))
    mapping = cast(StationaryMapping, k.mapping)
    mean_square = jnp.full(x.shape[0], mapping.norm_squared / mapping.num_features)
    if not mapping.finite:
        return Prepared(x, jnp.zeros((x.shape[0], 0)), mean_square)
    return Prepared(x, mapping(x) / jnp.sqrt(mapping.norm_squared), mean_square)


def entries(k: ComposedKernel, a: Prepared, b: Prepared, which: Which = "ntk") -> Array:
    """The kernel between two sets of prepared points, to about 1e-11 of its largest value.

    Args:
        k: the kernel that they were prepared for.
        a: points of the rows, n of them.
        b: points of the columns, k of them.
        which: "ntk" or "nngp".

    Returns:
        k(a_i, b_j), shape (n, k).
    """
    fan_in = k.mapping.num_features
    if k.stationary:
        # One number for all pairs lets the compiler fold it through the layers.
        q = a.mean_square[0]
        return getattr(k.network.kernels(q, q, _stationary_versine(k, a, b), fan_in), which)
    versine = resolve_coincident(
        1 - a.direction @ b.direction.T,
        lambda i, j: jnp.sum((a.direction[i] - b.direction[j]) ** 2, axis=-1) / 2,
        symmetric=False,
        below=CLOSE,
    )
    return getattr(k.network.kernels(a.mean_square[:, None], b.mean_square, versine, fan_in), which)


def _stationary_versine(k: ComposedKernel, a: Prepared, b: Prepared) -> Array:
    mapping = cast(StationaryMapping, k.mapping)
    if not mapping.finite:
        return mapping.versine(a.x[:, None] - b.x)
    return resolve_coincident(
        1 - a.direction @ b.direction.T, lambda i, j: mapping.versine(a.x[i] - b.x[j]), symmetric=False, below=CLOSE
    )


def lag_table(k: ComposedKernel, lags: tuple[np.ndarray, ...], which: Which = "ntk") -> np.ndarray:
    """The kernel on a grid of lags, as `ComposedKernel.lag_grid` but in parts: no temporaries of the table's size.

    Args:
        k: a stationary kernel.
        lags: d one-dimensional arrays of lags.
        which: "ntk" or "nngp".

    Returns:
        The kernel, shape (len(lags[0]), ..., len(lags[d-1])).
    """
    versine = np.asarray(cast(StationaryMapping, k.mapping).versine_grid(lags))
    part = PARTS[0] if versine.size <= PARTS[0] * 8 else PARTS[1]
    values = np.empty(versine.size)
    for start in range(0, versine.size, part):
        piece = versine.ravel()[start : start + part]
        padded = np.pad(piece, (0, part - len(piece)), mode="edge")
        values[start : start + part] = np.asarray(_of_versine(k, padded, which))[: len(piece)]
    return values.reshape(versine.shape)


@partial(jax.jit, static_argnames="which")
def _of_versine(k: ComposedKernel, versine: Array, which: Which) -> Array:
    q = cast(StationaryMapping, k.mapping).norm_squared / k.mapping.num_features
    return getattr(k.network.kernels(q, q, versine, k.mapping.num_features), which)
