"""The largest eigenvalues of a few hundred points' kernels, while a network is trained beside them."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import Array

__all__ = ["leading_eigenvalues"]


def leading_eigenvalues(kernels: Array, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest eigenvalues of symmetric matrices, by Lanczos with full reorthogonalisation.

    Not by LAPACK's own reduction: its threads and those of the training run wait for each other, and a matrix of 256
    points has been seen to take seconds instead of milliseconds on a busy machine.

    Args:
        kernels: K, shape (seed, m, m).
        count: how many of each, at most m.

    Returns:
        Eigenvalues θ, descending, shape (seed, count), and bounds: some eigenvalue of K is as close to θ. Within 64 +
        4 `count` points they are all there is, to rounding.

    Source: Parlett 1998, "The symmetric eigenvalue problem", sections 13.2 and 13.6.

    Example:
        >>> value, error = leading_eigenvalues(jnp.diag(jnp.array([1.0, 3.0, 2.0]))[None], 2)
        >>> value.round(12).tolist(), bool((error < 1e-12).all())
        ([[3.0, 2.0]], True)
    """
    m = kernels.shape[1]
    alpha, beta = (np.asarray(a) for a in _recurrence(kernels, min(m, 64 + 4 * count)))
    values, errors = [], []
    for diagonal, off_diagonal in zip(alpha, beta, strict=True):
        theta, S = scipy.linalg.eigh_tridiagonal(diagonal, off_diagonal[:-1])
        values.append(theta[::-1][:count])
        errors.append(np.abs(off_diagonal[-1] * S[-1, ::-1][:count]) + len(theta) * np.finfo(float).eps * theta[-1])
    return np.stack(values), np.stack(errors)


@partial(jax.jit, static_argnames="steps")
def _recurrence(kernels: Array, steps: int) -> tuple[Array, Array]:
    """α (seed, steps) and β (seed, steps) of the recurrence from one random vector."""
    m = kernels.shape[1]
    # One more random vector a step: where an invariant subspace ends, the recurrence goes on outside of it.
    random = jax.random.normal(jax.random.key(0), (steps + 1, m), dtype=kernels.dtype)

    def one(K: Array) -> tuple[Array, Array]:
        def step(
            carry: tuple[Array, Array], new: tuple[Array, Array]
        ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
            basis, q = carry
            position, fresh = new
            basis = basis.at[position].set(q)
            image = K @ q
            rest = _orthogonal(basis, _orthogonal(basis, image))
            beta = jnp.linalg.norm(rest)
            ended = beta <= 1e-14 * jnp.linalg.norm(image)
            following = _orthogonal(basis, _orthogonal(basis, jnp.where(ended, fresh, rest)))
            size = jnp.linalg.norm(following)
            return (basis, following / jnp.where(size > 0, size, 1)), (q @ image, jnp.where(ended, 0, beta))

        start = random[-1] / jnp.linalg.norm(random[-1])
        return jax.lax.scan(step, (jnp.zeros_like(random[:-1]), start), (jnp.arange(steps), random[:-1]))[1]

    return jax.vmap(one)(kernels)


def _orthogonal(basis: Array, v: Array) -> Array:
    """`v` without what lies in the rows of `basis`; rows of zeros take nothing."""
    return v - (basis @ v) @ basis
