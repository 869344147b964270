"""The empirical NTK as a dense matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from numpy.typing import ArrayLike

from ntkspec.checks import check_progress
from ntkspec.empirical._inputs import Behind, behind, check_output, num_outputs
from ntkspec.empirical._rows import Rows, bytes_of_row, rows_of
from ntkspec.kernel import ComposedKernel, Network
from ntkspec.kernel._gram import TILE, computed_rows, gram
from ntkspec.limits import current, refuse_if_too_large
from ntkspec.operator import Dense
from ntkspec.progress import NO_PROGRESS, Progress

#: Rows exist once more while they are computed.
COPIES = 2
_INSTEAD = "multiply by empirical.operator(k, params, x), which never forms it, or take fewer points"


def ntk(
    k: ComposedKernel | Network,
    params: Any,
    x: ArrayLike,
    z: ArrayLike | None = None,
    *,
    output: int | None = None,
    progress: Progress = NO_PROGRESS,
) -> Float[Array, "n k"]:
    """Return the NTK of a finite network at any parameters, K_ij = (1/C) Σ_c ∇f_c(x_i)·∇f_c(z_j).

    The mean over the C outputs, as neural-tangents' `empirical_ntk_fn` takes it (``trace_axes=(-1,)``): at infinite
    width every output has the same kernel and none with another, Θ ⊗ I. At initialisation it differs from Θ by order
    width^-1/2; a "lazy" network is one in which it hardly changes.

    Of an `MLP` (also linearised) each layer's part is an elementwise product of two Gram matrices, of the layer's
    inputs and of what is propagated back to it: n²W operations a layer, and no Jacobian. So it is for matrices that the
    trace of another network multiplies by once, such as stax's Dense; of other parameters (convolutions, shared
    weights) it takes the gradients. Rows that do not fit in half of the free memory are computed in strips.

    Args:
        k: mapping and network, or a network alone.
        params: parameters of one finite network, from ``k.init`` or training; their precision is the result's.
        x: points, shape (n, d).
        z: points, shape (k, d); None means `x`.
        output: number of an output to take the kernel of; None is the mean over outputs.
        progress: reporter.

    Returns:
        K, shape (n, k); exactly symmetric where z is None.

    Raises:
        ValueError: if parameters are of another network or stacked, points have the wrong shape, there is no such
            output, or the matrix would not fit in memory.

    Source: Jacot et al. 2018, section 4; Novak et al. 2022, "Fast finite width neural tangent kernel", section 3.

    Example:
        >>> import jax, ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=2, width=512))
        >>> x = [[0.0], [0.2], [0.7]]
        >>> K = ns.empirical.ntk(k, k.init(jax.random.key(0)), x)
        >>> bool(abs(K - k.ntk(x)).max() < 0.3 * k.ntk(x).max())
        True
    """
    check_progress(progress)
    here = behind(k, x)
    there = None if z is None else _matching(k, z, here)
    check_output(output, num_outputs(here.network, params, here.features))
    rows = rows_of(here.network, params, output)
    features, others = here.features, None if there is None else there.features
    shape = (len(features), len(features if others is None else others))
    itemsize = jnp.result_type(*jax.tree.leaves(params)).itemsize
    refuse_if_too_large(
        1.25 * itemsize * shape[0] * shape[1], f"an empirical Gram matrix of {shape[0]:,} x {shape[1]:,}", _INSTEAD
    )
    size = strip_size(rows, features, itemsize * shape[0] * shape[1])
    # On a GPU the default product of float32 is coarser than float32.
    with jax.default_matmul_precision("highest"):
        if shape[0] + (0 if others is None else shape[1]) > size:
            return _in_strips(rows, features, others, size, progress)
        if max(shape) <= (current().block or TILE):
            return _whole(rows, features, others)
        return gram(rows, features, others, "ntk", progress)[0]


def ntk_between_outputs(
    k: ComposedKernel | Network, params: Any, x: ArrayLike, z: ArrayLike | None = None
) -> Float[Array, "n k outputs outputs"]:
    """Return the kernel of every pair of points and of outputs, K_ijcd = ∇f_c(x_i)·∇f_d(z_j); arguments as `ntk`.

    What a finite network with several outputs is trained with: it couples them, by order width^-1/2.

    Returns:
        K, shape (n, k, C, C); ``K.transpose(0, 2, 1, 3).reshape(n * C, k * C)`` is it as a matrix.

    Example:
        >>> import jax, ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=1, width=64))
        >>> ns.empirical.ntk_between_outputs(k, k.init(jax.random.key(0), outputs=3), [[0.0], [0.2]]).shape
        (2, 2, 3, 3)
    """
    here = behind(k, x)
    there = here if z is None else _matching(k, z, here)
    outputs = num_outputs(here.network, params, here.features)
    rows = rows_of(here.network, params, None)
    shape = (len(here.features), len(there.features))
    itemsize = jnp.result_type(*jax.tree.leaves(params)).itemsize
    refuse_if_too_large(
        # The sum, one layer's part of it, and the rows.
        3 * itemsize * shape[0] * shape[1] * outputs**2 + COPIES * sum(shape) * bytes_of_row(rows, here.features),
        f"an empirical Gram matrix of {shape[0]:,} x {shape[1]:,} points and {outputs} x {outputs} outputs",
        "take fewer points, or the mean over outputs: empirical.ntk",
    )
    with jax.default_matmul_precision("highest"):
        return _between(rows, here.features, None if z is None else there.features)


def dense(
    k: ComposedKernel | Network,
    params: Any,
    x: ArrayLike,
    *,
    output: int | None = None,
    progress: Progress = NO_PROGRESS,
) -> Dense:
    """Return the empirical NTK as an operator with a matrix; arguments as `ntk`.

    Returns:
        An `ntkspec.operator.Dense`: spectrum, bandwidth, convergence and predictions take it like any other.

    Example:
        >>> import jax, numpy as np, ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=2, width=64))
        >>> K = ns.empirical.dense(k, k.init(jax.random.key(0)), np.arange(16)[:, None] / 16)
        >>> ns.eigen.spectrum(K, num_modes=3).eigenvalue.sizes["mode"]
        3
    """
    points = behind(k, x).points
    return Dense(points.reshape(len(points), -1), ntk(k, params, x, output=output, progress=progress))


def strip_size(rows: Rows, features: Array, beside: int | float) -> int:
    """How many points' rows fit in half of the memory that is free `beside` bytes for other things, if two do."""
    each = COPIES * bytes_of_row(rows, features)
    refuse_if_too_large(
        beside + 4 * each,
        f"the Jacobian of a few points ({each / COPIES:,.0f} bytes a point) beside the result",
        "take fewer points or a narrower network",
    )
    limits = current()
    fitting = int((limits.available - beside) / 2 // each)
    return max(2, fitting if limits.block is None else min(fitting, 2 * limits.block))


def blocks(
    rows: Rows,
    x: Float[Array, "n ..."],
    z: Float[Array, "k ..."] | None,
    size: int,
    progress: Progress = NO_PROGRESS,
) -> Iterator[tuple[int, int, Float[Array, "rows columns"]]]:
    """Yield the matrix in blocks (first row, first column, values), with the rows of `size` points in memory at once.

    Of a symmetric one, z None, only the blocks on and above the diagonal.
    """
    strip = max(1, size // 2)
    starts = range(0, len(x), strip)
    others = x if z is None else z
    pairs = [(i, j) for i in starts for j in range(0, len(others), strip) if z is not None or j >= i]
    row, rows_of_x = -1, None
    with progress.start("Gram matrix", len(pairs), "blocks") as stage:
        for i, j in pairs:
            if row != i:
                row, rows_of_x = i, computed_rows(rows, x[i : i + strip])
            rows_of_z = rows_of_x if z is None and i == j else computed_rows(rows, others[j : j + strip])
            yield i, j, _tile(rows, rows_of_x, rows_of_z)
            stage.advance()


def _in_strips(rows: Rows, x: Array, z: Array | None, size: int, progress: Progress) -> Array:
    """Return the matrix block by block, on the host: on the device it would exist twice."""
    dtype = jnp.result_type(*jax.tree.leaves(rows.params))
    matrix = np.empty((len(x), len(x if z is None else z)), dtype=dtype)
    for i, j, values in blocks(rows, x, z, size, progress):
        block = np.asarray(values)
        if z is None and i == j:
            block = np.triu(block) + np.triu(block, 1).T
        matrix[i : i + len(block), j : j + block.shape[1]] = block
        if z is None and i != j:
            matrix[j : j + block.shape[1], i : i + len(block)] = block.T
    return jnp.asarray(matrix)


def _matching(k: ComposedKernel | Network, z: ArrayLike, here: Behind) -> Behind:
    there = behind(k, z, "z")
    if there.features.shape[1:] != here.features.shape[1:]:
        got, expected = there.features.shape[1:], here.features.shape[1:]
        raise ValueError(f"`z` has inputs of shape {got}; expected those of `x`, {expected}")
    return there


@jax.jit
def _tile(rows: Rows, x: Any, z: Any) -> Array:
    return rows.tile(x, z)


@jax.jit
def _whole(rows: Rows, x: Array, z: Array | None) -> Array:
    """Return a matrix of one tile: rows that exist for one product only."""
    here = rows.rows(x)
    if z is not None:
        return rows.tile(here, rows.rows(z))
    values = rows.tile(here, here)
    # A product with its own transpose is symmetric up to the order of a sum.
    return (values + values.T) / 2


@jax.jit
def _between(rows: Rows, x: Array, z: Array | None) -> Array:
    here = rows.rows(x)
    if z is not None:
        return rows.between(here, rows.rows(z))
    values = rows.between(here, here)
    return (values + values.transpose(1, 0, 3, 2)) / 2
