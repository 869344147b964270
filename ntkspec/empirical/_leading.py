"""The largest eigenvalues of a few hundred points' kernels, while a network is trained beside them."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import scipy.linalg
from jax import Array

from ntkspec.recurrence import reorthogonalised

__all__ = ["leading_eigenvalues"]


def leading_eigenvalues(kernels: Array, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest eigenvalues of symmetric matrices, by Lanczos with full reorthogonalisation.

    Not by LAPACK's own reduction: its threads and those of the training run wait for each other, and a matrix of 256
    points has been seen to take seconds instead of milliseconds on a busy machine.

    Args:
        kernels: K, shape (seed, m, m).
        count: number of eigenvalues of each, at most m.

    Returns:
        Eigenvalues θ, descending, shape (seed, count), and bounds: some eigenvalue of K is as close to θ. Within 64 +
        4 `count` points they are all there is, to rounding.

    Example:
        >>> value, error = leading_eigenvalues(jax.numpy.diag(jax.numpy.array([1.0, 3.0, 2.0]))[None], 2)
        >>> value.round(12).tolist(), bool((error < 1e-12).all())
        ([[3.0, 2.0]], True)
    """
    alpha, beta = (np.asarray(a) for a in _tridiagonal(kernels, min(kernels.shape[1], 64 + 4 * count)))
    values, errors = [], []
    for diagonal, off_diagonal in zip(alpha, beta, strict=True):
        theta, S = scipy.linalg.eigh_tridiagonal(diagonal, off_diagonal[:-1])
        values.append(theta[::-1][:count])
        errors.append(np.abs(off_diagonal[-1] * S[-1, ::-1][:count]) + len(theta) * np.finfo(float).eps * theta[-1])
    return np.stack(values), np.stack(errors)


@partial(jax.jit, static_argnames="steps")
def _tridiagonal(kernels: Array, steps: int) -> tuple[Array, Array]:
    """α (seed, steps) and β (seed, steps) from one random vector."""
    start = jax.random.normal(jax.random.key(0), kernels.shape[1:2], dtype=kernels.dtype)
    return jax.vmap(lambda K: reorthogonalised(lambda v: K @ v, start, steps))(kernels)
