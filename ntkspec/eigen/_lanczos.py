"""Functions of an operator applied to labels, f(K) y for many f at once, by Lanczos.

From q_1 = y/‖y‖ the three-term recurrence gives K Q = Q T + β_k q_{k+1} e_kᵀ, and f(K) y ≈ ‖y‖ Q f(T) e_1.
There is no reorthogonalisation: for a function applied to the starting vector the plain recurrence is stable.
The price is that the eigenvalues of T are no list of those of K (ghosts appear): read them from `spectrum`.

**Error.** The identity above needs no orthogonality, so neither does the residual of the approximation as a
solution of training's own recursion. Let g_t = [(1 − r_t(T))/T e_1]_k be the last coefficient of the weights. In
w ← w + η(y − Kw) the approximate weights leave ηβ_k q_{k+1} g_t over, and a sum by parts gives, for the error of
r_t(K) y, exactly −‖y‖ β_k Σ_{s≤t} r_{t−s}(K) q_{k+1} (g_s − g_{s−1}), at most ‖y‖ β_k sup|r| Σ_s |g_s − g_{s−1}|. The
same holds for momentum, a ridge and schedules, with a factor `Dynamics.gain` in place of sup |r|. Where g cannot
turn around (gradient flow; descent with ηλ_max ≤ 1; see `Dynamics.smooth_speed`) the sum is |g_t|; beyond, it is
counted step by step.

**Two passes.** T alone tells how many steps are enough. Vectors that outgrow a given memory are dropped, and when f(T)
is known the recurrence runs again from the last one kept: the same program makes the same vectors, bit for bit
(α and β are compared), and each is used at once.

**Long times.** The number of steps grows with ηλ_max t until the smallest eigenvalue is resolved; rounding grows as
ε ηλ_max t. A rational approximation, one system (K + δI) x = y a pole, does not pay: on 256² points
(ReLU, depth 3, 256 frequencies) with T. Chan's circulant preconditioner a system takes 128 products at ηλ_max t = 10⁷
and σ = 3, and 10⁻⁶ needs the work of seven such systems (Trefethen, Weideman & Schmelzer 2006), against 1,232
steps here; at σ = 10 it takes 101, against 336. No such preconditioner is there for a mask, and rounding is the same.

Source: Botchev, Grimm & Hochbruck 2013, "Residual, restarting and Richardson iteration for the matrix exponential";
Druskin, Greenbaum & Knizhnerman 1998, "Using nonorthogonal Lanczos vectors in the computation of matrix functions";
for two passes, Frommer & Simoncini 2008, "Matrix functions", section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import Array
from jaxtyping import Float

from ntkspec.limits import current, refuse_if_too_large
from ntkspec.operator import Operator
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.recurrence import State, begin, recur

__all__ = ["CHUNK", "Krylov", "extend", "grow_until", "start"]

#: Steps in one compiled program; between two of them the error is looked at.
CHUNK = 16

#: A filter of eigenvalues: (k,) eigenvalues -> (k, t) values, one column a time.
Filter = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Krylov:
    """A Lanczos basis of each channel, with T of diagonal α_1 … α_k and β_1 … β_k beside it, of which β_k leads out.

    Attributes:
        basis: blocks of basis vectors, each (CHUNK, channel, point): the first ones, as far as they were kept.
        norm: ‖y‖, shape (channel,).
        state: state of the recurrence after k steps, q_{k+1} among it.
        resume: state after the steps that were kept.
    """

    basis: tuple[Array, ...]
    diagonal: Float[np.ndarray, "k channel"]
    off_diagonal: Float[np.ndarray, "k channel"]
    norm: Float[np.ndarray, " channel"]
    state: State
    resume: State

    @property
    def num_steps(self) -> int:
        """Number of basis vectors k."""
        return self.diagonal.shape[0]

    @property
    def num_dropped(self) -> int:
        """How many of them a second pass has to make again."""
        return self.num_steps - CHUNK * len(self.basis)

    @cached_property
    def ritz(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Eigenvalues (k,) and eigenvectors (k, k) of T, of each channel."""
        alpha, beta = self.diagonal.T.astype(np.float64), self.off_diagonal[:-1].T.astype(np.float64)
        return [scipy.linalg.eigh_tridiagonal(*one) for one in zip(alpha, beta, strict=True)]

    def coefficients(self, function: Filter) -> Float[np.ndarray, "k channel t"]:
        """‖y‖ f(T) e_1 for every channel: shape (k, channel, t)."""
        each = zip(self.norm, self.ritz, strict=True)
        return np.stack([norm * S @ (S[0][:, None] * function(theta)) for norm, (theta, S) in each], axis=1)

    def last_coefficient(self, function: Filter) -> Float[np.ndarray, "channel t"]:
        """Return the last row of `coefficients` for very many columns: shape (channel, t)."""
        each = zip(self.norm, self.ritz, strict=True)
        return np.stack([norm * (S[-1] * S[0]) @ function(theta) for norm, (theta, S) in each])

    def combine(
        self, K: Operator, coefficients: Float[np.ndarray, "k channel t"], progress: Progress = NO_PROGRESS
    ) -> Float[Array, "t channel n"]:
        """Q c: coefficients (k, channel, t) to vectors (t, channel, point), in a second pass for vectors not kept."""
        parts = jnp.asarray(coefficients, dtype=self.norm.dtype).reshape(-1, CHUNK, *coefficients.shape[1:])
        channels, points = self.state[1].shape
        total = jnp.zeros((channels, coefficients.shape[2], points), dtype=parts.dtype)
        for block, part in zip(self.basis, parts, strict=False):
            total = _accumulate(total, block, part)
        state = self.resume
        with progress.start("Lanczos, second pass", self.num_dropped, "products") as task:
            for chunk in range(len(self.basis), len(parts)):
                state, (block, diagonal, off_diagonal) = recur(K, state, CHUNK)
                steps = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
                pairs = ((diagonal, self.diagonal), (off_diagonal, self.off_diagonal))
                # It does not on a machine whose sums have no fixed order.
                if not all(np.array_equal(second, first[steps]) for second, first in pairs):
                    instead = "give a larger max_basis_bytes, which keeps the vectors of the first"
                    raise RuntimeError(
                        f"the recurrence did not repeat itself bit for bit in its second pass; {instead}"
                    )
                total = _accumulate(total, block, parts[chunk])
                task.advance(CHUNK)
        return jnp.swapaxes(total, 0, 1)

    def largest_ritz(self) -> float:
        """Return the largest eigenvalue of T over the channels, at most λ_max."""
        return max(float(theta[-1]) for theta, _ in self.ritz)


@partial(jax.jit, donate_argnums=0)
def _accumulate(
    total: Float[Array, "channel t n"], block: Float[Array, "k channel n"], part: Float[Array, "k channel t"]
) -> Float[Array, "channel t n"]:
    """Total (channel, t, point) plus the block (k, channel, point) times its part (k, channel, t)."""

    def one(channel: Array) -> Array:
        return jnp.matmul(part[:, channel].T, block[:, channel], precision="highest")

    return total + jax.lax.map(one, jnp.arange(total.shape[0]))


def start(y: Float[Array, "channel n"]) -> Krylov:
    """Return the empty basis of labels y (channel, point)."""
    norm = jnp.linalg.norm(y, axis=1)
    vector = y / jnp.where(norm > 0, norm, 1)[:, None]
    empty = np.zeros((0, y.shape[0]), dtype=y.dtype)
    state = begin(vector)
    return Krylov((), empty, empty, np.asarray(norm), state, state)


def extend(K: Operator, krylov: Krylov, *, keep: bool = True) -> Krylov:
    """Return the basis with `CHUNK` more vectors; once some were not kept, none are."""
    state, (basis, diagonal, off_diagonal) = recur(K, krylov.state, CHUNK)
    keep = keep and not krylov.num_dropped
    return replace(
        krylov,
        basis=(*krylov.basis, basis) if keep else krylov.basis,
        diagonal=np.concatenate([krylov.diagonal, np.asarray(diagonal)]),
        off_diagonal=np.concatenate([krylov.off_diagonal, np.asarray(off_diagonal)]),
        state=state,
        resume=state if keep else krylov.resume,
    )


def grow_until(
    K: Operator,
    y: Float[Array, "channel n"],
    error: Callable[[Krylov], float],
    *,
    tolerance: float,
    max_steps: int,
    max_basis_bytes: float | None = None,
    progress: Progress = NO_PROGRESS,
) -> Krylov:
    """Take Lanczos steps from labels (channel, point) until an error estimate of the caller's is met.

    It ends at or below the tolerance, which is for the caller to look at, or at the first multiple of `CHUNK` steps
    that reaches `max_steps`. Vectors beyond `max_basis_bytes` (None is half of the memory that is free) are left to a
    second pass.
    """
    block = CHUNK * y.nbytes
    what = f"{CHUNK} Lanczos vectors of {y.shape[1]:,} points and {y.shape[0]} channels"
    refuse_if_too_large(1.5 * block, what, "take fewer points, or channels one by one")
    budget = current().available / 2 if max_basis_bytes is None else max_basis_bytes
    krylov = start(y)
    with progress.start("Lanczos", None, "products") as task:
        while krylov.num_steps < max_steps:
            krylov = extend(K, krylov, keep=(len(krylov.basis) + 1) * block <= budget)
            reached = error(krylov)
            task.advance(CHUNK, error=f"{reached:.1e}")
            if reached <= tolerance:
                break
    return krylov
