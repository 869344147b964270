"""Traces of functions of an operator, tr f(K) = Σ f(λ_i), from a few random vectors.

An orthonormal block Q that K has been applied to holds most of what the leading modes contribute, and is summed
without any sampling; random vectors z orthogonal to it give the rest:

    tr f(K) = tr Qᵀ f(K) Q + E[zᵀ f(K) z],   z uniform on the sphere of radius √(n − b) orthogonal to Q (n, b).

Each quadratic form is a Gauss quadrature (stochastic Lanczos quadrature), so one run serves every f.

Source: Ubaru, Chen & Saad 2017, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature"; Meyer, Musco, Musco &
Woodruff 2021, "Hutch++: optimal stochastic trace estimation"; Chen & Hallman 2023, "Krylov-aware stochastic trace
estimation".
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntkspec.checks import check_number
from ntkspec.limits import refuse_if_too_large
from ntkspec.operator import Operator
from ntkspec.operator._base import product

__all__ = ["Probes", "draw"]


@dataclass(frozen=True)
class Probes:
    """Vectors (b + p, n) whose quadratic forms make a trace: Q's b columns, summed, then random ones, averaged."""

    vectors: Float[Array, "v n"]
    num_exact: int

    def total(self, forms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the trace, and its standard error from the scatter of the random vectors, of forms (b + p, ...)."""
        exact, sampled = forms[: self.num_exact], forms[self.num_exact :]
        return self.sum(forms), sampled.std(axis=0, ddof=1) / np.sqrt(len(sampled)) + 0 * exact.sum(axis=0)

    def sum(self, forms: np.ndarray) -> np.ndarray:
        """Return the same combination without the standard error."""
        return forms[: self.num_exact].sum(axis=0) + forms[self.num_exact :].mean(axis=0)


def draw(K: Operator, num_probes: int, num_exact: int, seed: int) -> Probes:
    """Probes of an operator: p random vectors, and b columns of Q from two steps of subspace iteration."""
    n, count = K.num_points, num_probes + num_exact
    check_number("num_probes", num_probes, 2, hint="random vectors, whose scatter gives an error bar")
    check_number("num_exact", num_exact, 0, n - 1, hint=f"directions, fewer than the {n:,} points")
    refuse_if_too_large(5 * 8 * n * count, f"{count} probes of {n:,} points", "take fewer probes")
    generator = np.random.default_rng(seed)
    block = generator.standard_normal((n, num_exact))
    for _ in range(2 if num_exact else 0):
        block, _ = np.linalg.qr(np.asarray(product(K, jnp.asarray(block)), dtype=float))
    random = generator.standard_normal((num_probes, n))
    for _ in range(2):
        random = random - (random @ block) @ block.T
    random *= np.sqrt(n - num_exact) / np.linalg.norm(random, axis=1, keepdims=True)
    return Probes(jnp.asarray(np.concatenate([block.T, random])), num_exact)
