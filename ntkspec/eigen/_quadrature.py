"""Gauss quadrature of the spectral measure of vectors: vᵀ f(K) v for every f, by one Lanczos run without its basis.

With K = Σ λ_i u_i u_iᵀ the spectral measure of v has mass (u_i·v)² at λ_i. The tridiagonal matrix T of k Lanczos
steps from v holds its k-point Gauss rule: nodes θ_j, the eigenvalues of T, and weights ‖v‖² S_1j², S its
eigenvectors. It is exact for polynomials of degree 2k − 1. No reorthogonalisation: a converged node may come several
times, and its copies then share its weight (Greenbaum 1989), so every integral stays right.

Source: Golub & Meurant 2010, "Matrices, moments and quadrature with applications", chapters 6 and 7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import Array
from jaxtyping import Float

from ntkspec.limits import current, refuse_if_too_large
from ntkspec.operator import Operator
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.recurrence import begin, recur_only

__all__ = ["Function", "Quadrature", "check_resolved", "precision", "quadrature"]

#: A function of eigenvalues: (k,) -> (k,), or (k, f) for f functions at once.
Function = Callable[[np.ndarray], np.ndarray]

#: Steps in one compiled program.
CHUNK = 16


@dataclass(frozen=True)
class Quadrature:
    """The Gauss rules of vectors of mass ‖v‖², from T of each and its β_k that leads out.

    The rounding is that of a product, relative to λ_max.
    """

    diagonal: Float[np.ndarray, "k v"]
    off_diagonal: Float[np.ndarray, "k v"]
    mass: Float[np.ndarray, " v"]
    rounding: float

    @property
    def num_steps(self) -> int:
        """Lanczos steps k."""
        return len(self.diagonal)

    @property
    def num_products(self) -> int:
        """Products of all vectors."""
        return self.num_steps * len(self.mass)

    @cached_property
    def _eigen(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Eigenvalues and eigenvectors of T, of each vector."""
        each = zip(self.diagonal.T, self.off_diagonal.T, strict=True)
        return [scipy.linalg.eigh_tridiagonal(alpha, beta[:-1]) for alpha, beta in each]

    @cached_property
    def rules(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Nodes ascending, their weights, and their residuals β_k |S_kj|, each (v, k).

        Some eigenvalue of K lies within its residual of a node.
        """
        nodes, S = (np.stack(each) for each in zip(*self._eigen, strict=True))
        return nodes, self.mass[:, None] * S[:, 0] ** 2, self.off_diagonal[-1][:, None] * np.abs(S[:, -1])

    @property
    def floor(self) -> float:
        """Where the spectrum of a positive semi-definite K begins: 0, less the rounding of a product."""
        return -self.rounding * float(self.rules[0].max())

    def integrate(self, function: Function) -> Float[np.ndarray, "v ..."]:
        """Gauss: vᵀ f(K) v for each vector, shape (v,) or (v, f). Nodes below 0 are rounding, and count as 0."""
        nodes, weights, _ = self.rules
        return _sums(function, nodes, weights)

    def integrate_radau(self, function: Function) -> Float[np.ndarray, "v ..."]:
        """Gauss–Radau, with one node more, fixed where the spectrum begins; shapes as `integrate`.

        Where all derivatives of f are of one sign by turns (log(λ + δ), 1/(λ + δ), e^{−tλ}, √λ) the two rules
        bracket the integral; for other smooth functions their difference estimates the error of the coarser.

        Source: Golub & Meurant 2010, chapter 6.
        """
        nodes, weights = [], []
        columns = zip(self._eigen, self.diagonal.T, self.off_diagonal.T, self.mass, strict=True)
        for (theta, S), alpha, beta, mass in columns:
            # [(T − a)⁻¹ e_k]_k by the eigenvectors; a node on `a` itself is left where it is.
            gap = np.maximum(theta - self.floor, -self.floor)
            last = self.floor + beta[-1] ** 2 * np.sum(S[-1] ** 2 / gap)
            theta, S = scipy.linalg.eigh_tridiagonal(np.append(alpha, last), beta)
            nodes.append(theta)
            weights.append(mass * S[0] ** 2)
        return _sums(function, np.stack(nodes), np.stack(weights))

    def above(
        self, threshold: Float[np.ndarray, " g"]
    ) -> tuple[Float[np.ndarray, "v g"], Float[np.ndarray, "v g"], Float[np.ndarray, "v g"]]:
        """Estimate the mass of each vector at eigenvalues of at least thresholds (g,) > 0, with bounds, each (v, g).

        A node counts as on one side as far as its residual keeps it there; else the bounds are those of Chebyshev,
        Markov and Stieltjes (the weights of the two nodes around the threshold). Between them the weight is spread
        evenly in log λ.
        """
        smallest = max(-self.floor, 1e-300)
        bounds = [_above(*rule, threshold, smallest) for rule in zip(*self.rules, strict=True)]
        estimate, lower, upper = (np.stack(each) for each in zip(*bounds, strict=True))
        return estimate, lower, upper


def _sums(function: Function, nodes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    each = zip(nodes, weights, strict=True)
    return np.stack([np.tensordot(w, np.asarray(function(np.maximum(node, 0))), axes=1) for node, w in each])


def _above(
    node: np.ndarray, weight: np.ndarray, residual: np.ndarray, threshold: np.ndarray, smallest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = len(node)
    # reached[j]: the mass of nodes j and up.
    reached = np.append(np.cumsum(weight[::-1])[::-1], 0.0)
    # Chebyshev, Markov, Stieltjes: the mass above a threshold between nodes j − 1 and j is at least that of the nodes
    # beyond j and at most that of j − 1 and up (Szegő 1939, section 3.41).
    j = np.searchsorted(node, threshold)
    lower, upper = reached[np.minimum(j + 1, count)], reached[np.maximum(j - 1, 0)]
    # A node that has converged is on a known side.
    lower = np.maximum(lower, reached[0] - _at_most(-node, weight, residual, -threshold))
    upper = np.maximum(np.minimum(upper, _at_most(node, weight, residual, threshold)), lower)
    # A node stands for the eigenvalues up to half way to its neighbours, or within its residual if that is closer.
    middle = np.log(np.maximum(node, smallest))
    between = (middle[1:] + middle[:-1]) / 2
    left = np.maximum(np.append(-np.inf, between), np.log(np.maximum(node - residual, smallest)))
    right = np.minimum(np.append(between, np.inf), np.log(np.maximum(node + residual, smallest)))
    width = np.maximum(right - left, 1e-14)
    part = np.clip((right[None] - np.log(threshold)[:, None]) / width, 0, 1)
    return np.clip(part @ weight, lower, upper), lower, upper


def _at_most(node: np.ndarray, weight: np.ndarray, residual: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Return a bound on the mass at or above each threshold, from the residuals of the nodes below.

    A Ritz vector x_j with residual r_j has at most r_j / δ_j of its norm in eigenvectors at least δ_j away from
    θ_j (Davis & Kahan 1970). With P the projector on those above the threshold and v = Σ c_j x_j, c_j² the weights,
    ‖P v‖ ≤ ‖Σ_{other j} c_j x_j‖ + Σ_{j below} |c_j| r_j / δ_j.
    """
    distance = threshold[:, None] - node
    below = residual <= 1e-4 * distance
    leaked = np.where(below, np.sqrt(weight) * residual / np.where(below, np.maximum(distance, 1e-300), 1), 0)
    return (np.sqrt(~below @ weight) + leaked.sum(axis=1)) ** 2


def precision(K: Operator) -> float:
    """Return the relative rounding of a product with K (Higham 2002, sections 19.3 and 24.1)."""
    return float(jnp.finfo(K.dtype).eps * max(np.log2(K.num_points), 1))


def check_resolved(K: Operator, ridge: float, rounding: float, name: str) -> None:
    """Refuse a ridge below rounding or the operator's approximation error: the smallest eigenvalues are not known."""
    error = K.approximation_error
    if not ridge > max(rounding, error):
        what = "approximation error of" if error > rounding else "rounding of a product with"
        instead = f"take a larger {name}" + (", or build the operator with a smaller tol" if error > rounding else "")
        known = f"the {what} this operator, below which its smallest eigenvalues are not known"
        raise ValueError(f"{name}={ridge:g}; expected more than {max(rounding, error):.2g}, {known}; {instead}")


def quadrature(
    K: Operator,
    vectors: Float[Array, "v n"],
    error: Callable[[Quadrature], float],
    *,
    tolerance: float,
    max_steps: int,
    progress: Progress = NO_PROGRESS,
) -> Quadrature:
    """Return the Gauss rules of vectors (v, n), with as many nodes as an error estimate of the caller's asks for.

    It ends at or below the tolerance, which is for the caller to look at, or at the first multiple of `CHUNK` steps
    that reaches `max_steps`.
    """
    count, n = vectors.shape
    what = f"a Lanczos run from {count} vectors of {n:,} points"
    refuse_if_too_large(3 * vectors.nbytes, what, "take fewer probes or fewer points")
    norm = jnp.linalg.norm(vectors, axis=1)
    dtype = np.float32 if precision(K) > 1e-10 else vectors.dtype
    vectors = (vectors / jnp.where(norm > 0, norm, 1)[:, None]).astype(dtype)
    batch = max(1, current().side_by_side // n)
    states = [begin(vectors[first : first + batch]) for first in range(0, count, batch)]
    empty = np.zeros((0, count))
    rules = Quadrature(empty, empty, np.asarray(norm, dtype=float) ** 2, precision(K))
    look_at = CHUNK
    with progress.start("Lanczos quadrature", None, "products") as stage:
        while rules.num_steps < max_steps:
            steps = [recur_only(K, state, CHUNK) for state in states]
            states, coefficients = [state for state, _ in steps], [pair for _, pair in steps]
            alpha, beta = (np.concatenate(each, axis=1, dtype=float) for each in zip(*coefficients, strict=True))
            diagonal, off_diagonal = np.append(rules.diagonal, alpha, 0), np.append(rules.off_diagonal, beta, 0)
            rules = replace(rules, diagonal=diagonal, off_diagonal=off_diagonal)
            stage.advance(CHUNK * count)
            if rules.num_steps >= min(look_at, max_steps):
                if error(rules) <= tolerance:
                    break
                look_at = int(1.25 * rules.num_steps) + 1
    return rules
