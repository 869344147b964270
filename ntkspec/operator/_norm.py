"""The norm of an operator: its largest eigenvalue."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntkspec.operator._base import Operator
from ntkspec.recurrence import begin, largest_ritz, recur_only

__all__ = ["is_diagonal", "largest_eigenvalue", "positive_start"]

CHUNK = 16


def largest_eigenvalue(K: Operator, *, tolerance: float = 1e-8, max_steps: int = 512, seed: int = 0) -> float:
    """λ_max = ‖K‖: exact where the operator knows its `modes`, else by Lanczos from a random positive vector.

    The largest eigenvalue θ of the tridiagonal matrix is never above λ_max, and some eigenvalue of K lies within its
    residual. Where that has not come below the tolerance, θ plus the residual is returned: an estimate from above.

    Args:
        K: a kernel operator.
        tolerance: bound on the residual, relative to λ_max; the error of the eigenvalue is about its square. No less
            than a few roundings of a product.
        max_steps: products at most.
        seed: seed of the starting vector.
    """
    modes = K.modes()
    if modes is not None:
        return float(modes.eigenvalue.max())
    tolerance = max(tolerance, 4 * float(jnp.finfo(K.dtype).eps))
    state = begin(positive_start(K.num_points, seed))
    diagonal, off_diagonal = np.zeros(0), np.zeros(0)
    while True:
        state, (alpha, beta) = recur_only(K, state, CHUNK)
        diagonal = np.append(diagonal, np.asarray(alpha)[:, 0])
        off_diagonal = np.append(off_diagonal, np.asarray(beta)[:, 0])
        theta, residual = largest_ritz(diagonal, off_diagonal)
        if residual <= tolerance * theta:
            return theta
        if len(diagonal) >= max_steps:
            return theta + residual


def is_diagonal(K: Operator) -> bool:
    """Whether no point tells anything of another: |Kz − diag(K) z| is rounding of a random vector z."""
    z = np.random.default_rng(0).standard_normal(K.num_points)
    own = np.asarray(K.diagonal()) * z
    return K.num_points > 1 and bool(np.abs(np.asarray(K @ z) - own).max() <= 1e-12 * np.abs(own).max())


def positive_start(num_points: int, seed: int = 0) -> Float[Array, "1 n"]:
    """Return a random positive unit vector (1, n): a kernel's top eigenvector is close to one sign."""
    vector = jnp.asarray(0.5 + np.random.default_rng(seed).random(num_points), dtype=float)[None]
    return vector / jnp.linalg.norm(vector)
