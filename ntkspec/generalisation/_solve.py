"""(K + δI)⁻¹ y for many columns by conjugate gradients, with products only.

On a whole lattice the preconditioner is T. Chan's circulant one, the circulant matrix nearest to K. It serves a second
time: its own inverse has a known diagonal, so that only the difference of the two inverses is left to sampling.

Source: Hestenes & Stiefel 1952; T. Chan 1988, "An optimal circulant preconditioner for Toeplitz systems".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax
import numpy as np
from jax import Array
from lineax.internal import two_norm

from ntkspec.eigen._frequency import rayleigh_quotients
from ntkspec.limits import current
from ntkspec.operator import Lattice, Operator
from ntkspec.progress import NO_PROGRESS, Progress

__all__ = ["Circulant", "Solved", "circulant_of", "solve"]


class Circulant(eqx.Module):
    """(C + δI)⁻¹ of a circulant C on a lattice of some shape; `inverse` is 1/(eigenvalue + δ), the half spectrum."""

    inverse: Array
    shape: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, v: Array) -> Array:
        """(C + δI)⁻¹ v for one vector (n,)."""
        return jnp.fft.irfftn(self.inverse * jnp.fft.rfftn(v.reshape(self.shape)), s=self.shape).ravel()

    def diagonal(self) -> float:
        """Entry of the diagonal of (C + δI)⁻¹, the same at all points."""
        unit = jnp.zeros(int(np.prod(self.shape))).at[0].set(1)
        return float(self(unit)[0])


def circulant_of(K: Operator, ridge: float) -> Circulant | None:
    """Return the nearest circulant to K, with the ridge; None where K is no whole lattice, or it is not definite."""
    if not isinstance(K, Lattice) or K.index is not None:
        return None
    spectrum = np.asarray(K.transform, dtype=float) if K.circulant else rayleigh_quotients(K)
    if not (spectrum + ridge).min() > 0:
        return None
    return Circulant(jnp.asarray(1 / (spectrum + ridge)), K.sublattice.shape)


@dataclass(frozen=True)
class Solved:
    """Solutions (c, n) of A X = Y, ‖Y − A X‖/‖Y‖ of each from a last product, and products for the slowest."""

    columns: np.ndarray
    error: np.ndarray
    num_products: int


def solve(
    K: Operator, y: Array, ridge: float, *, tolerance: float, max_steps: int, progress: Progress = NO_PROGRESS
) -> Solved:
    """Solve (K + δI) x = y for each row of y (c, n); whether the tolerance is met is for the caller to look at."""
    circulant = circulant_of(K, ridge)
    batch = max(1, current().side_by_side // K.num_points)
    groups = [y[first : first + batch] for first in range(0, len(y), batch)]
    solved = []
    with progress.start("conjugate gradients", len(groups), "groups of columns") as stage:
        for group in groups:
            solved.append(_side_by_side(K, group, ridge, circulant, tolerance, max_steps))
            stage.advance()
    columns, errors, steps = (np.concatenate(each) for each in zip(*solved, strict=True))
    return Solved(columns, errors, int(steps.max()) + 1)


@partial(jax.jit, static_argnames=("tolerance", "max_steps"))
def _side_by_side(
    K: Operator, y: Array, ridge: float, circulant: Circulant | None, tolerance: float, max_steps: int
) -> tuple[Array, Array, Array]:
    """Solutions, their relative residuals and steps."""

    def linear(function: Callable[[Array], Array]) -> lineax.FunctionLinearOperator:
        shape = jax.ShapeDtypeStruct(y.shape[1:], y.dtype)
        return lineax.FunctionLinearOperator(function, shape, lineax.positive_semidefinite_tag)

    A = linear(lambda v: K.matvec(v) + ridge * v)
    options = {} if circulant is None else {"preconditioner": linear(circulant)}
    # On right-hand sides of norm 1 a residual may be atol + rtol |b_i|, at most twice either.
    solver = lineax.CG(rtol=tolerance / 2, atol=tolerance / 2, norm=two_norm, max_steps=max_steps)

    def column(b: Array) -> tuple[Array, Array]:
        solution = lineax.linear_solve(A, b, solver, options=options, throw=False)
        return solution.value, solution.stats["num_steps"]

    norm = jnp.maximum(jnp.linalg.norm(y, axis=1), jnp.finfo(y.dtype).tiny)[:, None]
    x, steps = jax.vmap(column)(y / norm)
    # The residual that the recurrence carries drifts from the true one.
    error = jnp.linalg.norm(y / norm - jax.vmap(A.mv)(x), axis=1)
    return norm * x, error, steps
