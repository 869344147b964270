"""The leading eigenpairs of an operator by block Lanczos, with residual bounds and the right multiplicity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkspec.operator import Operator
from ntkspec.operator.base import product, refuse_if_too_large
from ntkspec.progress import NO_PROGRESS, Progress

__all__ = ["Eigenpairs", "leading_eigenpairs"]

#: Vectors in a block: at least the multiplicity that one eigenvalue may have (the symmetries of a square give 8).
BLOCK = 8


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues (k,) descending, eigenvectors (n, k) and residual norms ‖K u − λ u‖ (k,)."""

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray


def leading_eigenpairs(
    K: Operator,
    num_modes: int,
    *,
    tolerance: float,
    max_basis: int = 512,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> Eigenpairs:
    """The `num_modes` largest eigenvalues, by block Lanczos with full reorthogonalisation.

    The projection of K on the whole basis is diagonalised, so a block finds an eigenvalue as often as
    it occurs (up to `BLOCK` times), and the residual of each pair bounds its error.

    Args:
        K: a kernel operator on n points.
        num_modes: k, at most n.
        tolerance: stop where every residual is below tolerance · λ_max.
        max_basis: vectors at most (never fewer than k + 2 blocks); what is reached then is returned with its bounds.
        seed: of the starting block.
        progress: reporter.

    Returns:
        The leading pairs with their residual norms.

    Raises:
        ValueError: if the basis would not fit in memory.

    Source: Golub & Underwood 1977, "The block Lanczos method for computing eigenvalues".
    """
    n = K.num_points
    width = min(BLOCK, n)
    # Whole blocks only, so that one compiled program serves every step.
    limit = min(max(max_basis, num_modes + 2 * BLOCK), n) // width
    refuse_if_too_large(
        2.5 * 8 * n * limit * width,
        f"a basis of {limit * width} vectors of {n:,} points",
        "ask for fewer modes or a smaller max_basis",
    )
    generator = np.random.default_rng(seed)
    basis, images = jnp.zeros((2, n, limit * width))
    block, _ = jnp.linalg.qr(jnp.asarray(generator.standard_normal((n, width))))
    look_at = min(-(-num_modes // width) + 1, limit)
    with progress.start("block Lanczos", limit, "blocks") as stage:
        for count in range(1, limit + 1):
            fresh = jnp.asarray(generator.standard_normal((n, width)))
            basis, images, block = _grow(K, basis, images, block, fresh, (count - 1) * width)
            stage.advance()
            if count >= look_at:
                pairs = _rayleigh_ritz(basis, images, count * width, num_modes)
                if count == limit or (pairs.residuals <= tolerance * pairs.values[0]).all():
                    break
                look_at = min(int(1.25 * count) + 1, limit)
    return pairs


@partial(jax.jit, donate_argnums=(1, 2))
def _grow(
    K: Operator, basis: Array, images: Array, block: Array, fresh: Array, column: int
) -> tuple[Array, Array, Array]:
    """Store a block and its image from `column` on; return the next block, orthonormal and orthogonal to the basis.

    The columns not yet filled are zero and project nothing out. Directions that vanish (an invariant subspace)
    are drawn anew from `fresh`.
    """
    image = product(K, block)
    basis = jax.lax.dynamic_update_slice(basis, block, (0, column))
    images = jax.lax.dynamic_update_slice(images, image, (0, column))
    rest = _project_out(basis, image)
    size = jnp.linalg.norm(rest, axis=0)
    vanished = size <= 1e-13 * jnp.linalg.norm(image, axis=0)
    rest = jnp.where(vanished, fresh, rest / jnp.where(vanished, 1, size))
    # Fresh columns are not orthogonal yet and the others may be nearly dependent: project once more.
    orthonormal, _ = jnp.linalg.qr(rest)
    orthonormal, _ = jnp.linalg.qr(_project_out(basis, orthonormal))
    return basis, images, orthonormal


def _project_out(basis: Array, block: Array) -> Array:
    # Twice is enough (Parlett 1998, section 6.9).
    for _ in range(2):
        block = block - basis @ (basis.T @ block)
    return block


def _rayleigh_ritz(basis: Array, images: Array, filled: int, num_modes: int) -> Eigenpairs:
    projected = np.asarray(basis.T @ images)[:filled, :filled]
    values, S = np.linalg.eigh((projected + projected.T) / 2)
    values = values[::-1][:num_modes].copy()
    padded = np.zeros((basis.shape[1], len(values)))
    padded[:filled] = S[:, ::-1][:, :num_modes]
    vectors, residuals = _residuals(basis, images, jnp.asarray(values), jnp.asarray(padded))
    return Eigenpairs(values, np.asarray(vectors), np.asarray(residuals))


@jax.jit
def _residuals(basis: Array, images: Array, values: Array, S: Array) -> tuple[Array, Array]:
    vectors = basis @ S
    return vectors, jnp.linalg.norm(images @ S - vectors * values, axis=0)
