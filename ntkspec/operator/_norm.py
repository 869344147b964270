"""The norm of an operator: its largest eigenvalue."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from ntkspec.operator._base import Operator
from ntkspec.operator._recurrence import State, recur

__all__ = ["largest_eigenvalue"]

CHUNK = 16


def largest_eigenvalue(K: Operator, *, tolerance: float = 1e-8, max_steps: int = 512, seed: int = 0) -> float:
    """λ_max = ‖K‖: exact where the operator knows its `modes`, else by Lanczos from a random positive vector.

    The largest eigenvalue θ of the tridiagonal matrix is never above λ_max, and some eigenvalue of K lies within its
    residual. Where that has not come below the tolerance, θ plus the residual is returned: an estimate from above.

    Args:
        K: a kernel operator.
        tolerance: on the residual, relative to λ_max; the error of the eigenvalue is about its square. No less than a
            few roundings of a product.
        max_steps: products at most.
        seed: of the starting vector.

    Returns:
        The largest eigenvalue.
    """
    modes = K.modes()
    if modes is not None:
        return float(modes.eigenvalue.max())
    # A kernel's top eigenvector is close to one sign: a positive start overlaps it.
    vector = jnp.asarray(0.5 + np.random.default_rng(seed).random(K.num_points), dtype=float)[None]
    tolerance = max(tolerance, 4 * float(jnp.finfo(K.dtype).eps))
    state: State = (jnp.zeros_like(vector), vector / jnp.linalg.norm(vector), jnp.zeros(1))
    diagonal, off_diagonal = np.zeros(0), np.zeros(0)
    while True:
        state, (alpha, beta) = _recur_only(K, state)
        diagonal = np.append(diagonal, np.asarray(alpha)[:, 0])
        off_diagonal = np.append(off_diagonal, np.asarray(beta)[:, 0])
        theta, S = scipy.linalg.eigh_tridiagonal(diagonal, off_diagonal[:-1])
        residual = float(off_diagonal[-1] * abs(S[-1, -1]))
        if residual <= tolerance * theta[-1]:
            return float(theta[-1])
        if len(diagonal) >= max_steps:
            return float(theta[-1]) + residual


@jax.jit
def _recur_only(K: Operator, state: State) -> tuple[State, tuple[jax.Array, jax.Array]]:
    """Return the recurrence without its basis, which is then never stored."""
    state, (_, alpha, beta) = recur(K, state, CHUNK)
    return state, (alpha, beta)
