"""The leading eigenpairs of an operator by block Lanczos, with residual bounds and the right multiplicity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntkspec.limits import refuse_if_too_large
from ntkspec.operator import Operator
from ntkspec.operator._base import product
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


@dataclass(frozen=True)
class Decomposition:
    """K V = V H + R B on the columns filled so far; V and R together are orthonormal, and all but R zero beyond.

    Attributes:
        basis: V, shape (n, limit).
        block: R, shape (n, width): what K leads to outside V.
        projected: H = Vᵀ K V, shape (limit, limit).
        coupling: B = Rᵀ K V, shape (width, limit).
        filled: columns of V in use.
    """

    basis: Array
    block: Array
    projected: np.ndarray
    coupling: np.ndarray
    filled: int

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values, descending; their vectors S in the basis (filled, filled); residual norms ‖B S‖."""
        values, S = np.linalg.eigh(self.projected[: self.filled, : self.filled])
        values, S = values[::-1], S[:, ::-1]
        return values, S, np.linalg.norm(self.coupling[:, : self.filled] @ S, axis=0)


def leading_eigenpairs(
    K: Operator,
    num_modes: int,
    *,
    tolerance: float,
    max_basis: int = 512,
    max_products: int = 16384,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> Eigenpairs:
    """Return the `num_modes` largest eigenvalues, by thick-restarted block Lanczos with full reorthogonalisation.

    The projection of K on the whole basis is diagonalised, so a block finds an eigenvalue as often as it occurs (up to
    `BLOCK` times). When the basis is full it is compressed to its best Ritz vectors and grows again, so a flat spectrum
    costs more products and no more memory. The residuals returned are those of the vectors returned, by k more
    products, and each bounds the distance to an eigenvalue.

    It stops where every residual is below tolerance · λ_max, or after so many products. The basis has `max_basis`
    vectors at most, and never fewer than k + 4 blocks.

    Source: Golub & Underwood 1977, "The block Lanczos method for computing eigenvalues"; Wu & Simon 2000,
    "Thick-restart Lanczos method for large symmetric eigenvalue problems".
    """
    n = K.num_points
    width = min(BLOCK, n)
    # Whole blocks only, so that one compiled program serves every step.
    limit = min(max(max_basis, num_modes + 4 * width), n) // width * width
    what = f"a basis of {limit} vectors of {n:,} points, and its compression"
    refuse_if_too_large(2.2 * 8 * n * limit, what, "ask for fewer modes or a smaller max_basis")
    generator = np.random.default_rng(seed)
    block, _ = jnp.linalg.qr(jnp.asarray(generator.standard_normal((n, width))))
    state = Decomposition(jnp.zeros((n, limit)), block, np.zeros((limit, limit)), np.zeros((width, limit)), 0)
    spent, look_at = 0, num_modes + width
    with progress.start("block Lanczos", None, "products") as stage:
        while True:
            state = _grow(K, state, jnp.asarray(generator.standard_normal((n, width))))
            spent += width
            full = state.filled + width > limit
            if state.filled < look_at and not full:
                stage.advance(width)
                continue
            values, S, residuals = state.ritz()
            worst = residuals[:num_modes].max() / values[0]
            stage.advance(width, residual=f"{worst:.1e}")
            if worst <= tolerance or spent >= max_products or state.filled + width > n:
                break
            if full:
                state = _restart(state, values, S, num_modes)
            look_at = state.filled + max(limit // 8, width)
    return _pairs(K, state, values[:num_modes], S[:, :num_modes])


def _grow(K: Operator, state: Decomposition, fresh: Array) -> Decomposition:
    """One more block of the basis."""
    width, first = state.block.shape[1], state.filled
    last = first + width
    basis, block, overlap, coupling = _step(K, state.basis, state.block, fresh, first)
    projected = state.projected.copy()
    projected[:, first:last] = np.asarray(overlap)
    projected[first:last] = projected[:, first:last].T
    ahead = np.zeros_like(state.coupling)
    ahead[:, first:last] = np.asarray(coupling)
    return Decomposition(basis, block, projected, ahead, last)


@partial(jax.jit, donate_argnums=1)
def _step(
    K: Operator,
    basis: Float[Array, "n limit"],
    block: Float[Array, "n w"],
    fresh: Float[Array, "n w"],
    column: Array,
) -> tuple[Float[Array, "n limit"], Float[Array, "n w"], Float[Array, "limit w"], Float[Array, "w w"]]:
    """Store a block from `column` on; return the basis, the next block, Vᵀ K block and its coupling to the next.

    The columns not yet filled are zero and project nothing out. Directions that vanish (an invariant subspace)
    are drawn anew from `fresh`.
    """
    image = product(K, block).astype(basis.dtype)
    basis = jax.lax.dynamic_update_slice(basis, block, (0, column))
    overlap = basis.T @ image
    rest = image - basis @ overlap
    vanished = jnp.linalg.norm(rest, axis=0) <= 1e-13 * jnp.linalg.norm(image, axis=0)
    following = _part_columns(jnp.where(vanished, fresh, rest))
    # Fresh columns are not orthogonal yet and the others may be nearly dependent: twice is enough (Parlett 1998, 6.9).
    following = _part_columns(_part_columns(following - basis @ (basis.T @ following)))
    return basis, following, overlap, following.T @ rest


def _part_columns(block: Float[Array, "n w"]) -> Float[Array, "n w"]:
    """Return unit columns of the same span, orthogonal up to rounding over the smallest singular value of the input.

    The rotation is that of Stathopoulos & Wu 2002, "A block orthogonalization procedure with constant synchronization
    requirements"; a tall Householder QR takes forty times as long. A direction that rounding has filled comes out as
    any other, so it takes a second call to make it orthogonal to the rest.
    """
    block = block / jnp.linalg.norm(block, axis=0)
    _, rotation = jnp.linalg.eigh(block.T @ block)
    block = block @ rotation
    size = jnp.linalg.norm(block, axis=0)
    return block / jnp.where(size > 0, size, 1)


def _restart(state: Decomposition, values: np.ndarray, S: np.ndarray, num_modes: int) -> Decomposition:
    """Return the basis compressed to its leading Ritz vectors: those wanted, and more to half of the room beyond."""
    limit, width = state.basis.shape[1], state.block.shape[1]
    keep = num_modes + (limit - num_modes) // 2
    keep = limit - (limit - keep) // width * width
    padded = np.zeros((limit, limit))
    padded[: state.filled, :keep] = S[:, :keep]
    projected, coupling = np.zeros_like(state.projected), np.zeros_like(state.coupling)
    projected[np.arange(keep), np.arange(keep)] = values[:keep]
    coupling[:, :keep] = state.coupling[:, : state.filled] @ S[:, :keep]
    return replace(state, basis=state.basis @ jnp.asarray(padded), projected=projected, coupling=coupling, filled=keep)


def _pairs(K: Operator, state: Decomposition, values: np.ndarray, S: np.ndarray) -> Eigenpairs:
    padded = np.zeros((state.basis.shape[1], S.shape[1]))
    padded[: state.filled] = S
    vectors = state.basis @ jnp.asarray(padded)
    # By blocks, so that the products of many modes do not exist at once.
    blocks = [slice(first, first + BLOCK) for first in range(0, S.shape[1], BLOCK)]
    residuals = [_residuals(K, vectors[:, block], jnp.asarray(values[block])) for block in blocks]
    return Eigenpairs(values.copy(), np.asarray(vectors), np.concatenate(residuals))


@jax.jit
def _residuals(K: Operator, vectors: Float[Array, "n k"], values: Float[Array, " k"]) -> Float[Array, " k"]:
    return jnp.linalg.norm(product(K, vectors) - vectors * values, axis=0)
