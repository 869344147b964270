"""Functions of an operator applied to labels, f(K) y for many f at once, by Lanczos.

From q_1 = y/‖y‖ the three-term recurrence gives K Q = Q T + β_k q_{k+1} e_kᵀ, and f(K) y ≈ ‖y‖ Q f(T) e_1.
There is no reorthogonalisation: for a function applied to the starting vector the plain recurrence is stable.
The price is that the eigenvalues of T are no list of those of K (ghosts appear): read them from `spectrum`.

**Error.** The identity above needs no orthogonality, so neither does the residual of the approximation as a
solution of ṙ = −ηK r. With g(t) = [(1 − r_t(T))/T e_1]_k, whose integrand has constant sign,
‖error of r(K,t) y‖ ≤ ‖y‖ β_k |g(t)| for gradient flow, and for gradient descent with ηλ_max ≤ 1 (an
estimate between 1 and 2).

Source: Botchev, Grimm & Hochbruck 2013, "Residual, restarting and Richardson iteration for the matrix exponential";
Druskin, Greenbaum & Knizhnerman 1998, "Using nonorthogonal Lanczos vectors in the computation of matrix functions".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import Array

from ntkspec.operator import Operator
from ntkspec.operator.base import refuse_if_too_large
from ntkspec.operator.recurrence import recur
from ntkspec.progress import NO_PROGRESS, Progress

__all__ = ["CHUNK", "Krylov", "extend", "grow_until", "start"]

#: Steps in one compiled program; between two of them the error is looked at.
CHUNK = 16

#: A filter of eigenvalues: (k,) eigenvalues -> (k, t) values, one column a time.
Filter = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Krylov:
    """A Lanczos basis of each channel, with the tridiagonal matrix T = (diagonal, off_diagonal).

    Attributes:
        basis: blocks of basis vectors, each (steps, channel, point).
        diagonal: α, shape (k, channel).
        off_diagonal: β_1 … β_k, shape (k, channel); the last couples to `vector`.
        norm: ‖y‖, shape (channel,).
        previous: q_k, shape (channel, point).
        vector: q_{k+1}, shape (channel, point).
    """

    basis: tuple[Array, ...]
    diagonal: np.ndarray
    off_diagonal: np.ndarray
    norm: np.ndarray
    previous: Array
    vector: Array

    @property
    def num_steps(self) -> int:
        """Number of basis vectors k."""
        return self.diagonal.shape[0]

    def ritz(self, channel: int) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues (k,) and eigenvectors (k, k) of T."""
        off_diagonal = self.off_diagonal[:-1, channel]
        return scipy.linalg.eigh_tridiagonal(self.diagonal[:, channel], off_diagonal)

    def coefficients(self, function: Filter) -> np.ndarray:
        """‖y‖ f(T) e_1 for every channel: shape (k, channel, t)."""
        columns = []
        for channel, norm in enumerate(self.norm):
            theta, S = self.ritz(channel)
            columns.append(norm * S @ (S[0][:, None] * function(theta)))
        return np.stack(columns, axis=1)

    def combine(self, coefficients: np.ndarray) -> Array:
        """Q c: coefficients (k, channel, t) to vectors (t, channel, point)."""
        total, offset = jnp.zeros(()), 0
        for block in self.basis:
            part = coefficients[offset : offset + block.shape[0]]
            total = total + jnp.einsum("kcn,kct->tcn", block, jnp.asarray(part, dtype=block.dtype))
            offset += block.shape[0]
        return total

    def largest_ritz(self) -> float:
        """The largest eigenvalue of T over the channels, at most λ_max."""
        return max(float(self.ritz(channel)[0][-1]) for channel in range(len(self.norm)))


def start(y: Array) -> Krylov:
    """The empty basis of labels y (channel, point)."""
    norm = jnp.linalg.norm(y, axis=1)
    vector = y / jnp.where(norm > 0, norm, 1)[:, None]
    empty = np.zeros((0, y.shape[0]))
    return Krylov((), empty, empty, np.asarray(norm), jnp.zeros_like(y), vector)


def extend(K: Operator, krylov: Krylov) -> Krylov:
    """The basis with `CHUNK` more vectors."""
    beta = krylov.off_diagonal[-1] if krylov.num_steps else np.zeros(len(krylov.norm))
    state = (krylov.previous, krylov.vector, jnp.asarray(beta, dtype=krylov.vector.dtype))
    (previous, vector, _), (basis, diagonal, off_diagonal) = recur(K, state, CHUNK)
    return replace(
        krylov,
        basis=(*krylov.basis, basis),
        diagonal=np.concatenate([krylov.diagonal, np.asarray(diagonal)]),
        off_diagonal=np.concatenate([krylov.off_diagonal, np.asarray(off_diagonal)]),
        previous=previous,
        vector=vector,
    )


def grow_until(
    K: Operator,
    y: Array,
    error: Callable[[Krylov], float],
    *,
    tolerance: float,
    max_steps: int,
    progress: Progress = NO_PROGRESS,
) -> Krylov:
    """Lanczos steps until an error estimate of the caller's is met or `max_steps` are done.

    Args:
        K: the operator.
        y: labels, shape (channel, point).
        error: of what the caller wants from a basis.
        tolerance: stop at or below.
        max_steps: stop at the first multiple of `CHUNK` that reaches it.
        progress: reporter.

    Returns:
        The basis; whether it converged is for the caller to say, from the same `error`.

    Raises:
        ValueError: if the basis outgrows the memory.
    """
    krylov = start(y)
    with progress.start("Lanczos", None, "products") as task:
        while krylov.num_steps < max_steps:
            refuse_if_too_large(
                2 * CHUNK * y.nbytes,
                f"a Lanczos basis of more than {krylov.num_steps} vectors of {y.shape[1]:,} points",
                "ask for earlier steps, a looser tolerance or fewer points",
            )
            krylov = extend(K, krylov)
            reached = error(krylov)
            task.advance(CHUNK, error=f"{reached:.1e}")
            if reached <= tolerance:
                break
    return krylov
