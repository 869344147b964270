"""A kernel on any points as a low-rank factor F Fᵀ, with a bound on what is left out.

Randomly pivoted Cholesky draws pivots in proportion to the diagonal of what is left, d = diag(K − F Fᵀ), and eliminates
them. What is left stays positive semi-definite, so its trace norm is its trace Σd: the error is known, not
estimated. A block of pivots is proposed at once and thinned by rejection, which gives the same law as one at a time.

Source: Chen, Epperly, Tropp & Webber 2023, "Randomly pivoted Cholesky", algorithm 1; Epperly, Tropp & Webber 2024,
"Embrace rejection: kernel matrix approximation by accelerated randomly pivoted Cholesky", algorithm 2.
"""

from __future__ import annotations

from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from ntkspec.kernel._composed import ComposedKernel, Which
from ntkspec.limits import refuse_if_too_large
from ntkspec.operator._base import OfKernel, OnPoints, check_kernel_points
from ntkspec.operator._expansion import expand
from ntkspec.operator._modes import FactorModes
from ntkspec.progress import NO_PROGRESS, Progress

__all__ = ["LowRank", "low_rank"]

#: Pivots proposed at once.
BLOCK = 128

#: Below this part of the trace the diagonal of what is left is rounding.
FINEST = 1e-12

EPS = float(np.finfo(np.float64).eps)


class LowRank(OnPoints, OfKernel):
    """F Fᵀ in place of a kernel matrix; build one with `low_rank`.

    Attributes:
        factor: F, shape (n, r).
        pivots: the points whose columns F spans, shape (r,).
        error: tr(K − F Fᵀ), the trace norm of what is left out, with an allowance for rounding.
    """

    factor: Array
    pivots: Array
    error: Array

    @property
    def rank(self) -> int:
        """Number of columns r."""
        return self.factor.shape[1]

    @property
    def approximation_error(self) -> float:
        return float(self.error)

    @cached_property
    def _modes(self) -> FactorModes:
        return FactorModes.of(self, np.asarray(self.factor))

    def modes(self) -> FactorModes:
        return self._modes

    def matvec(self, v: Float[Array, " n"]) -> Float[Array, " n"]:
        return self.factor @ (self.factor.T @ v)

    def diagonal(self) -> Float[Array, " n"]:
        """Σ_j F_ij², shape (n,); the kernel's own diagonal is larger by `error` in all."""
        return jnp.sum(self.factor**2, axis=1)

    def to_dense(self) -> Float[Array, "n n"]:
        self._refuse_if_too_dense(2)
        product = self.factor @ self.factor.T
        return (product + product.T) / 2

    def frobenius_norm(self) -> Float[Array, ""]:
        """‖F Fᵀ‖_F = ‖Fᵀ F‖_F."""
        return jnp.linalg.norm(self.factor.T @ self.factor)

    def _expand(self, asked: Array, columns: Array, progress: Progress) -> Array:
        """Of the kernel that F Fᵀ is the matrix of, k(z, S) K_SS⁻¹ k(S, x) for the pivots S: k(z, S) F_S⁻ᵀ Fᵀ w.

        It is what a network trained with F as its features learns; at the points it is F Fᵀ w.
        """
        triangle = self.factor[self.pivots]
        at_pivots = jax.scipy.linalg.solve_triangular(triangle, self.factor.T @ columns, lower=True, trans="T")
        return expand(self.kernel, self.coordinates[self.pivots], asked, at_pivots, self.which, progress)


def low_rank(
    k: ComposedKernel,
    x: ArrayLike,
    tol: float,
    which: Which = "ntk",
    seed: int = 0,
    *,
    progress: Progress = NO_PROGRESS,
) -> LowRank:
    """Return a factor F with K ≈ F Fᵀ, its rank chosen so that tr(K − F Fᵀ) ≤ tol · tr K.

    For kernels of any kind, and for a network without a mapping, whose kernel is smooth but no function of the lag.
    Costs about n r² multiplications and r columns of K; K itself is never formed.

    Args:
        k: a composed kernel.
        x: points, shape (n, d).
        tol: of the trace that may be left out, between 1e-12 and 1.
        which: "ntk" or "nngp".
        seed: of the pivots.
        progress: reporter.

    Returns:
        The operator. K − F Fᵀ is positive semi-definite, so `error`, its trace, bounds the error of every eigenvalue
        (which is never too large) and of every product, ‖(K − F Fᵀ)v‖ ≤ error ‖v‖.

    Raises:
        ValueError: if the points have the wrong shape, the tolerance is out of reach, or the factor would not fit in
            memory (before it is made).
        TypeError: if the kernel is a network without a mapping.

    Source: Chen, Epperly, Tropp & Webber 2023, "Randomly pivoted Cholesky", theorem 3.1 for the rank it takes.

    Example:
        >>> import numpy as np
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.identity(dim=1), ns.kernel.MLP(depth=2, b_std=0.1))
        >>> K = ns.operator.low_rank(k, np.linspace(0, 1, 100)[:, None], tol=1e-2)
        >>> K.rank < 50, K.approximation_error <= 1e-2 * float(k.ntk(K.points).trace())
        (True, True)
    """
    x = check_kernel_points(k, x, which)
    n = x.shape[0]
    if not FINEST <= tol < 1:
        low = f"{FINEST:g} (below, what is left is rounding)"
        raise ValueError(f"tol={tol}; expected between {low} and 1; operator.dense(k, x) has no tolerance")
    left = _diagonal(k, x, which)
    trace = float(jnp.sum(left))
    block, rank, key = min(BLOCK, n), 0, jax.random.key(seed)
    pivots = np.zeros(0, dtype=np.int64)
    factor = jnp.zeros((n, 0))
    with progress.start("low rank", None, "columns") as stage:
        while rank < n and float(jnp.sum(left)) > tol * trace:
            factor = _room_for(factor, rank + block, block, tol)
            key, draw = jax.random.split(key)
            factor, left, proposed, count = _eliminate(k, x, factor, left, draw, rank, which, block)
            pivots = np.append(pivots, np.asarray(proposed)[: int(count)])
            rank += int(count)
            stage.advance(int(count), left=f"{float(jnp.sum(left)) / trace:.1e}")
    # The fewest columns that meet the tolerance, with the trace of what they leave.
    error = trace - np.cumsum(np.asarray(jnp.sum(factor[:, : len(pivots)] ** 2, axis=0)))
    met = np.flatnonzero(error <= tol * trace)
    rank = int(met[0]) + 1 if len(met) else len(pivots)
    # The diagonals cancel to a few units of the trace, and each elimination rounds once.
    bound = max(float(error[rank - 1]), 0.0) + (4 + rank) * EPS * trace
    return LowRank(k, which, x, factor[:, :rank], jnp.asarray(pivots[:rank]), jnp.asarray(bound))


def _room_for(factor: Array, columns: int, block: int, tol: float) -> Array:
    """Return a buffer for that many columns, doubled where it is too small, so that few programs are compiled."""
    n, capacity = factor.shape
    if columns <= capacity:
        return factor
    larger = max(2 * capacity, 2 * block)
    what = f"a factor of {larger} columns for {n:,} points (tol={tol:g} of the trace is not met with {capacity})"
    refuse_if_too_large(8 * n * (capacity + larger + 3 * block), what, "take a larger tol, or fewer points")
    return jnp.pad(factor, ((0, 0), (0, larger - capacity)))


@partial(jax.jit, static_argnames="which")
def _diagonal(k: ComposedKernel, x: Float[Array, "n d"], which: Which) -> Float[Array, " n"]:
    return jax.lax.map(lambda point: k.gram(point[None], point[None], which)[0, 0], x, batch_size=min(1024, len(x)))


@partial(jax.jit, static_argnames=("which", "block"), donate_argnums=(2, 3))
def _eliminate(
    k: ComposedKernel, x: Array, factor: Array, left: Array, key: Array, rank: int, which: Which, block: int
) -> tuple[Array, Array, Array, Array]:
    """Propose a block of pivots, thin them, and eliminate those accepted.

    Returns F with new columns from `rank` on, the diagonal of what is left, the pivots (accepted first) and how many.
    """
    draw_key, accept_key = jax.random.split(key)
    cumulative = jnp.cumsum(left)
    draws = jax.random.uniform(draw_key, (block,)) * cumulative[-1]
    proposed = jnp.minimum(jnp.searchsorted(cumulative, draws, side="right"), len(left) - 1)
    columns = k.gram(x, x[proposed], which) - factor @ factor[proposed].T
    accepted, L = _thin(columns[proposed], jax.random.uniform(accept_key, (block,)))
    # A rejected row of L is that of the identity and its column of K is zero: it solves to zero.
    both = accepted[:, None] & accepted[None, :]
    triangle = jnp.where(both, L, 0) + jnp.diag(jnp.where(accepted, 0.0, 1.0))
    kept = jnp.where(accepted, columns, 0)
    new = jax.scipy.linalg.solve_triangular(triangle, kept.T, lower=True)
    order = jnp.argsort(~accepted, stable=True)
    factor = jax.lax.dynamic_update_slice(factor, new[order].T, (0, rank))
    left = jnp.maximum(left - jnp.sum(new**2, axis=0), 0)
    # Exactly eliminated; an index that repeats a rejected proposal is out of range.
    left = left.at[jnp.where(accepted, proposed, len(left))].set(0, mode="drop")
    return factor, left, proposed[order], jnp.sum(accepted)


def _thin(H: Float[Array, "b b"], uniform: Float[Array, " b"]) -> tuple[Bool[Array, " b"], Float[Array, "b b"]]:
    """Cholesky of the accepted rows of H (b, b): row i stays with probability (what is left of H_ii)/H_ii."""
    start = jnp.diagonal(H)
    # What is left of a repeated pivot is rounding of the first.
    floor = 1e-14 * jnp.max(start)

    def step(i: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        H, L, accepted = state
        take = (uniform[i] * start[i] < H[i, i]) & (H[i, i] > floor)
        column = jnp.where(take, H[:, i] / jnp.sqrt(jnp.where(take, H[i, i], 1)), 0)
        return H - jnp.outer(column, column), L.at[:, i].set(column), accepted.at[i].set(take)

    empty = jnp.zeros(len(start), dtype=bool)
    _, L, accepted = jax.lax.fori_loop(0, len(start), step, (H, jnp.zeros_like(H), empty))
    return accepted, jnp.tril(L)
