"""The Gram matrix of a kernel, tile by tile, so that one tile in cache is all there is beside the result.

Of a symmetric matrix only the tiles on and above the diagonal are computed; each is written twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from ntkspec import limits
from ntkspec.kernel.activation import safe_sqrt
from ntkspec.mapping import Versines
from ntkspec.progress import NO_PROGRESS, Progress

Which = Literal["ntk", "nngp"]

#: Rows and columns of a tile: half a megabyte, which with the temporaries of the recursion stays in a core's cache; and
#: elsewhere enough for all units of an accelerator (an H200 computed 9.6e9 entries a second, and 1.7e9 in small tiles).
TILE, LARGE_TILE = 256, 2048
#: So near 0 and 2 the rounding of a matrix product (a few 1e-16) would show in the kernel beyond 1e-13.
COINCIDENT = 1e-5

#: The matrix so far, whether it is finite, the tile to be written next, and its corner.
State = tuple[Array, Array, Array, Array]


@runtime_checkable
class Tiled(Protocol):
    """A kernel that can be evaluated for all pairs of two sets of points; a pytree."""

    def rows(self, x: Array) -> Any:
        """Return what the kernel needs of each point x (n, p): a pytree of arrays with the points first."""

    def tile(self, x: Any, z: Any, same: Array, which: Which) -> Array:
        """Return the kernel `which` of all pairs of two such, (n, k); `same` (n, k): both are one point."""


def gram(
    kernel: Tiled,
    x: Float[Array, "n ..."],
    z: Float[Array, "k ..."] | None,
    which: Which,
    progress: Progress = NO_PROGRESS,
) -> tuple[Float[Array, "n columns"], Bool[Array, ""]]:
    """Return the matrix of k(x_i, z_j).

    Args:
        kernel: the kernel.
        x: points, shape (n, p).
        z: points, shape (k, p); None means `x`.
        which: "ntk" or "nngp".
        progress: reporter.

    Returns:
        The matrix, shape (n, k), exactly symmetric where z is None; and whether all of it is finite.
    """
    shape, chunk = (len(x), len(x) if z is None else len(z)), limits.current().tiles_together
    sizes, corners = _tiles(shape, symmetric=z is None)
    rows_x = computed_rows(kernel, x)
    rows_z = None if z is None else computed_rows(kernel, z)
    # Made by the first call; there is always a tile, be it an empty one.
    matrix: Any = None
    finite: Array | bool = True
    with progress.start("Gram matrix", len(corners), "tiles") as stage:
        for start in range(0, len(corners), chunk):
            chosen = corners[start : start + chunk]
            # A last call as long as the others is a program compiled already; the tile that fills it up is the last.
            missing = min(chunk, len(corners)) - len(chosen)
            chosen = np.concatenate([chosen, np.repeat(chosen[-1:], missing, axis=0)])
            matrix, finite = _fill(kernel, rows_x, rows_z, matrix, finite, chosen, shape, sizes, which)
            stage.advance(len(chosen) - missing)
    if z is None:
        matrix = _mirror(matrix, corners[corners[:, 0] == corners[:, 1], 0], sizes[0])
    return matrix, jnp.asarray(finite)


def unit_vectors(x: Float[Array, "n p"]) -> tuple[Float[Array, "n p"], Float[Array, " n"]]:
    """`rows` of vectors (n, p): those of length 1 (a zero stays zero), and mean squares |x|²/p (n,)."""
    norm = safe_sqrt(jnp.sum(x**2, axis=1))
    return x / jnp.where(norm > 0, norm, 1)[:, None], norm**2 / x.shape[1]


def tile_of_vectors(
    network: Any,
    x: tuple[Float[Array, "n p"], Float[Array, " n"]],
    z: tuple[Float[Array, "k p"], Float[Array, " k"]],
    same: Bool[Array, "n k"],
    which: Which,
) -> Float[Array, "n k"]:
    """`tile` of an isotropic network on vectors."""
    (unit_x, q_x), (unit_z, q_z) = x, z

    def exact(i: Array, j: Array) -> Versines:
        near, far = (jnp.sum((unit_x[i] + sign * unit_z[j]) ** 2, axis=-1) / 2 for sign in (-1, 1))
        return Versines(jnp.where(near < 1, near, 2 - far), jnp.where(near < 1, 2 - near, far))

    versines = resolve_coincident(1 - unit_x @ unit_z.T, exact, same)
    return getattr(network.kernels(q_x[:, None], q_z[None, :], versines, unit_x.shape[1]), which)


def resolve_coincident(
    versine: Float[Array, "n k"],
    exact: Callable[[Array, Array], Versines],
    same: Bool[Array, "n k"],
    without_branches: int = 4096,
) -> Versines:
    """Replace the versines of nearly coincident and nearly opposite pairs, whose digits a matrix product has lost.

    Args:
        versine: 1 − ρ for all pairs, shape (n, k), good to a few units of rounding relative to 1.
        exact: versines of pairs (i, j) from their differences, (t,), (t,) -> (t,).
        same: whether a pair is one point twice, shape (n, k).
        without_branches: number of pairs up to which all are computed both ways: a program without branches compiles
            several times faster.

    Returns:
        Versines in [0, 2], shape (n, k).
    """
    rows, columns = versine.shape
    versine = jnp.clip(versine, 0, 2)
    near = (versine < COINCIDENT) | (versine > 2 - COINCIDENT)
    versines = Versines.of(jnp.where(near & same, 0, versine))
    near = near & ~same

    def chosen(near: Array, exact: Versines, versines: Versines) -> Versines:
        return Versines(*(jnp.where(near, e, v) for e, v in zip(exact, versines, strict=True)))

    if rows * columns <= without_branches:
        i, j = jnp.indices((rows, columns)).reshape(2, -1)
        return chosen(near, Versines(*(v.reshape(rows, columns) for v in exact(i, j))), versines)
    longest = max(rows, columns)

    def gathered(budget: int) -> Callable[[Versines], Versines]:
        def replace(versines: Versines) -> Versines:
            i, j = jnp.nonzero(near, size=budget, fill_value=longest)
            values = exact(jnp.minimum(i, rows - 1), jnp.minimum(j, columns - 1))
            return Versines(*(v.at[i, j].set(e, mode="drop") for v, e in zip(versines, values, strict=True)))

        return replace

    def crowd(versines: Versines) -> Versines:
        def row(i: Array, row_versines: Versines, row_near: Array) -> Versines:
            return chosen(row_near, exact(jnp.full(columns, i), jnp.arange(columns)), row_versines)

        return jax.lax.map(lambda args: row(*args), (jnp.arange(rows), versines, near))

    # Mostly there are none; a handful of neighbours a point goes through one gather; a crowd row by row.
    budgets = (0, longest // 8 + 1, 8 * longest)
    branch = jnp.sum(jnp.sum(near) > jnp.asarray(budgets))
    return jax.lax.switch(branch, [lambda v: v, gathered(budgets[1]), gathered(budgets[2]), crowd], versines)


def _tiles(shape: tuple[int, int], symmetric: bool) -> tuple[tuple[int, int], np.ndarray]:
    """Size of a tile, and the upper left corners of all, (tiles, 2); the last ones overlap their neighbours."""
    sizes, starts = [], []
    side = limits.current().block or (TILE if jax.default_backend() == "cpu" else LARGE_TILE)
    for n in shape:
        count = max(math.ceil(n / side), 1)
        sizes.append(math.ceil(n / count))
        starts.append(np.minimum(np.arange(count) * sizes[-1], n - sizes[-1]))
    corners = np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 2)
    # Row by row: where tiles overlap across the diagonal, the one on the diagonal comes last and is symmetric.
    return (sizes[0], sizes[1]), corners[corners[:, 1] >= corners[:, 0]] if symmetric else corners


@jax.jit
def computed_rows(kernel: Tiled, x: Array) -> Any:
    """Return a kernel's rows at points, compiled."""
    return kernel.rows(x)


@partial(jax.jit, static_argnames=("shape", "sizes", "which"), donate_argnames="matrix")
def _fill(
    kernel: Tiled,
    x: Any,
    z: Any | None,
    matrix: Array | None,
    finite: Array | bool,
    corners: Array,
    shape: tuple[int, int],
    sizes: tuple[int, int],
    which: Which,
) -> tuple[Array, Array]:
    """Return the matrix (zeros if there is none yet) with the tiles at these corners, and whether they are finite."""

    # Its temporaries are computed again in a reverse pass: kept for all tiles they would be many matrices.
    @jax.checkpoint
    def tile(kernel: Tiled, corner: Array) -> Array:
        i, j = (corner[a] + jnp.arange(sizes[a]) for a in (0, 1))
        same = (i[:, None] == j) if z is None else jnp.zeros(sizes, dtype=bool)
        return kernel.tile(
            _part(x, corner[0], sizes[0]), _part(x if z is None else z, corner[1], sizes[1]), same, which
        )

    def write(matrix: Array, finite: Array, values: Array, corner: Array) -> tuple[Array, Array]:
        matrix = jax.lax.dynamic_update_slice(matrix, values, (corner[0], corner[1]))
        if z is None:
            matrix = jax.lax.dynamic_update_slice(matrix, values.T, (corner[1], corner[0]))
        return matrix, finite & jnp.isfinite(values).all()

    # A tile is written while the next one is computed. Written at once, the compiler puts its recursion into each of
    # the uses, on one core each.
    def step(state: State, corner: Array) -> tuple[State, None]:
        return (*write(*state), tile(kernel, corner), corner), None

    # The zeros that are written first are written over by the first tile.
    empty = jnp.zeros(shape, dtype=jnp.result_type(*jax.tree.leaves(x)))
    nothing = jnp.zeros(sizes, dtype=empty.dtype)
    start = (empty if matrix is None else matrix, jnp.asarray(finite), nothing, corners[0])
    return write(*jax.lax.scan(step, start, corners)[0])


@partial(jax.jit, static_argnames="size", donate_argnames="matrix")
def _mirror(matrix: Array, starts: Array, size: int) -> Array:
    """Within a tile on the diagonal k(x, z) and k(z, x) may differ by a rounding: the upper one is taken for both."""

    def step(matrix: Array, start: Array) -> tuple[Array, None]:
        values = jax.lax.dynamic_slice(matrix, (start, start), (size, size))
        return jax.lax.dynamic_update_slice(matrix, jnp.triu(values) + jnp.triu(values, 1).T, (start, start)), None

    return jax.lax.scan(step, matrix, starts)[0]


def _part(rows: Any, start: Array, size: int) -> Any:
    return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size), rows)
