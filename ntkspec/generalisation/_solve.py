"""(K + δI)⁻¹ y for many columns by conjugate gradients, with products only.

On a whole lattice the preconditioner is T. Chan's circulant one, the circulant matrix nearest to K. It serves a second
time: its own inverse has a known diagonal, so that only the difference of the two inverses is left to sampling.

Source: Hestenes & Stiefel 1952; T. Chan 1988, "An optimal circulant preconditioner for Toeplitz systems".
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkspec.eigen._frequency import rayleigh_quotients
from ntkspec.operator import Lattice, Operator
from ntkspec.progress import NO_PROGRESS, Progress

__all__ = ["Circulant", "Solved", "circulant_of", "solve"]

#: Steps in one compiled program; between two of them the error is looked at.
CHUNK = 16

#: Numbers in the columns that go through it side by side.
SIDE_BY_SIDE = 2**22


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Circulant:
    """(C + δI)⁻¹ of a circulant C on a lattice.

    Attributes:
        inverse: 1/(eigenvalue + δ), the half spectrum.
        shape: of the lattice.
    """

    inverse: Array
    shape: tuple[int, ...]

    def tree_flatten(self) -> tuple[tuple[Array], tuple[int, ...]]:
        """For JAX: the spectrum is data, the shape is not."""
        return (self.inverse,), self.shape

    @classmethod
    def tree_unflatten(cls, shape: tuple[int, ...], children: tuple[Array]) -> Circulant:
        """For JAX."""
        return cls(*children, shape)

    def __call__(self, v: Array) -> Array:
        """(C + δI)⁻¹ v for one vector (n,)."""
        return jnp.fft.irfftn(self.inverse * jnp.fft.rfftn(v.reshape(self.shape)), s=self.shape).ravel()

    def diagonal(self) -> float:
        """Of (C + δI)⁻¹, the same at all points."""
        unit = jnp.zeros(int(np.prod(self.shape))).at[0].set(1)
        return float(self(unit)[0])


def circulant_of(K: Operator, ridge: float) -> Circulant | None:
    """The nearest circulant to K, with the ridge; None where K is no whole lattice, or it is not definite."""
    if not isinstance(K, Lattice) or K.index is not None:
        return None
    spectrum = np.asarray(K.transform, dtype=float) if K.circulant else rayleigh_quotients(K)
    if not (spectrum + ridge).min() > 0:
        return None
    return Circulant(jnp.asarray(1 / (spectrum + ridge)), K.sublattice.shape)


@dataclass(frozen=True)
class Solved:
    """Solutions of A X = Y.

    Attributes:
        columns: X, shape (c, n).
        error: ‖Y − A X‖/‖Y‖ of each, from a last product, shape (c,).
        num_products: for the slowest column.
    """

    columns: np.ndarray
    error: np.ndarray
    num_products: int


_State = tuple[Array, Array, Array, Array]


def solve(
    K: Operator,
    y: Array,
    ridge: float,
    *,
    tolerance: float,
    max_steps: int,
    progress: Progress = NO_PROGRESS,
) -> Solved:
    """Solve (K + δI) x = y for each row of y.

    Args:
        K: the operator, n points.
        y: right-hand sides, shape (c, n).
        ridge: δ > 0.
        tolerance: on ‖y − A x‖/‖y‖.
        max_steps: products a column, at most.
        progress: reporter.

    Returns:
        The solutions; whether the tolerance is met is for the caller to say, from `error`.
    """
    circulant = circulant_of(K, ridge)
    batch = max(1, SIDE_BY_SIDE // K.num_points)
    columns, errors, most = [], [], 0
    with progress.start("conjugate gradients", None, "products") as stage:
        for first in range(0, len(y), batch):
            part = y[first : first + batch]
            norm = jnp.maximum(jnp.linalg.norm(part, axis=1), jnp.finfo(part.dtype).tiny)
            state, steps = _begin(part, circulant), 0
            while steps < max_steps and bool((jnp.linalg.norm(state[1], axis=1) > tolerance * norm).any()):
                state, steps = _advance(K, state, circulant, ridge), steps + CHUNK
                stage.advance(CHUNK * len(part))
            # The residual that the recurrence carries drifts from the true one.
            left = jnp.linalg.norm(part - jax.vmap(K.matvec)(state[0]) - ridge * state[0], axis=1) / norm
            columns.append(np.asarray(state[0]))
            errors.append(np.asarray(left))
            most = max(most, steps + 1)
    return Solved(np.concatenate(columns), np.concatenate(errors), most)


@jax.jit
def _begin(y: Array, circulant: Circulant | None) -> _State:
    z = y if circulant is None else jax.vmap(circulant)(y)
    return jnp.zeros_like(y), y, z, jnp.sum(y * z, axis=1)


@jax.jit
def _advance(K: Operator, state: _State, circulant: Circulant | None, ridge: float) -> _State:
    """`CHUNK` steps for all columns; one that is solved stays as it is."""

    def step(state: _State, _: None) -> tuple[_State, None]:
        x, residual, direction, height = state
        image = jax.vmap(K.matvec)(direction) + ridge * direction
        curvature = jnp.sum(direction * image, axis=1)
        length = jnp.where(curvature > 0, height / jnp.where(curvature > 0, curvature, 1), 0)[:, None]
        x, residual = x + length * direction, residual - length * image
        z = residual if circulant is None else jax.vmap(circulant)(residual)
        new = jnp.sum(residual * z, axis=1)
        ratio = jnp.where(height > 0, new / jnp.where(height > 0, height, 1), 0)[:, None]
        return (x, residual, z + ratio * direction, new), None

    return jax.lax.scan(step, state, length=CHUNK)[0]
