"""A kernel on any points as an explicit matrix."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from numpy.typing import ArrayLike

from ntkspec.kernel._composed import ComposedKernel, Which
from ntkspec.limits import refuse_if_too_large
from ntkspec.operator._base import OnPoints, check_kernel_points
from ntkspec.operator._expansion import expand, trace_at
from ntkspec.progress import NO_PROGRESS, Progress

__all__ = ["Dense", "dense"]


class Dense(OnPoints):
    """A Gram matrix on arbitrary points; build one with `dense`.

    Attributes:
        coordinates: the points, shape (n, d).
        matrix: K, shape (n, n).
        kernel: whose matrix it is, for values at other points (`at`); None where it is of no kernel known here.
        which: "ntk" or "nngp".
    """

    matrix: Array
    kernel: ComposedKernel | None = None
    which: Which = eqx.field(default="ntk", static=True)

    @property
    def dtype(self) -> np.dtype:
        return self.matrix.dtype

    def matvec(self, v: Float[Array, " n"]) -> Float[Array, " n"]:
        return self.matrix @ v

    def diagonal(self) -> Float[Array, " n"]:
        return jnp.diagonal(self.matrix)

    def to_dense(self) -> Float[Array, "n n"]:
        return self.matrix

    def frobenius_norm(self) -> Float[Array, ""]:
        return jnp.linalg.norm(self.matrix)

    def _expand(self, asked: Array, columns: Array, progress: Progress) -> Array:
        if self.kernel is None:
            return super()._expand(asked, columns, progress)
        return expand(self.kernel, self.coordinates, asked, columns, self.which, progress)

    def _trace_at(self, asked: Float[Array, "m d"]) -> float:
        return super()._trace_at(asked) if self.kernel is None else trace_at(self.kernel, asked, self.which)


def dense(k: ComposedKernel, x: ArrayLike, which: Which = "ntk", progress: Progress = NO_PROGRESS) -> Dense:
    """Return the kernel matrix K_ij = k(x_i, x_j).

    Args:
        k: a composed kernel.
        x: points, shape (n, d).
        which: "ntk" or "nngp".
        progress: reporter.

    Raises:
        ValueError: if the points have the wrong shape, or if the matrix would not fit in memory.
        TypeError: if the kernel is a network without a mapping.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.identity(dim=1), ns.kernel.MLP(depth=2, b_std=0.1))
        >>> ns.operator.dense(k, [[0.0], [0.3], [0.9]]).shape
        (3, 3)
    """
    x = check_kernel_points(k, x, which)
    n = x.shape[0]
    instead = "on a regular lattice use operator.lattice(k, shape, mask), on any points operator.scattered(k, x)"
    # The matrix, and a margin for features and tiles.
    refuse_if_too_large(1.25 * n * n * x.dtype.itemsize, f"a dense Gram matrix of {n:,} points", instead)
    return Dense(x, k.gram(x, which=which, progress=progress), k, which)
