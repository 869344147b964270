"""A kernel on any points, multiplied block by block: exact, with memory of the order of the points alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntkspec.kernel._composed import ComposedKernel, Which
from ntkspec.limits import current
from ntkspec.operator._base import OfKernel, OnPoints

__all__ = ["Streamed", "streamed"]

#: Points on a side of a block: its 2 MiB and the temporaries of the recursion stay in cache; and on an accelerator (an
#: H200 multiplied by 1.6e10 entries a second, and by 6.6e9 in small blocks).
BLOCK, LARGE_BLOCK = 512, 2048

Carry = TypeVar("Carry")


class Streamed(OnPoints, OfKernel):
    """A kernel on scattered points whose matrix is computed as it is multiplied; build one with `scattered`.

    Every product computes the blocks on and above the diagonal and uses each twice, for K_IJ v_J and K_IJᵀ v_I. The
    columns of one product share them. A block has at most `block` points on a side.
    """

    block: int = eqx.field(static=True)

    @property
    def error(self) -> float:
        """Of a product, relative to λ_max: 0, as entries are exact; what `Nonuniform.error` is to a fast form."""
        return 0.0

    def matvec(self, v: Float[Array, " n"]) -> Float[Array, " n"]:
        n = self.num_points
        size, count = self._blocks()
        v = jnp.pad(v, (0, size * count - n)).reshape(count, size)

        def add(total: Array, i: Array, j: Array, block: Array) -> Array:
            total = total.at[i].add(block @ v[j])
            # On the diagonal the transpose is the block itself, which has been used.
            return total.at[j].add(jnp.where(i == j, 0, v[i] @ block))

        return self._over_blocks(add, jnp.zeros_like(v)).ravel()[:n]

    def diagonal(self) -> Float[Array, " n"]:
        def one(x: Array) -> Array:
            row = self.kernel.rows(x[None])
            return self.kernel.tile(row, row, jnp.ones((1, 1), dtype=bool), self.which)[0, 0]

        if self.kernel.stationary:
            return jnp.full(self.num_points, one(self.coordinates[0]))
        return jax.vmap(one)(self.coordinates)

    def to_dense(self) -> Float[Array, "n n"]:
        self._refuse_if_too_dense(1.25)
        return self.kernel.gram(self.coordinates, which=self.which)

    def frobenius_norm(self) -> Float[Array, ""]:
        """√Σ K_ij², exact; it costs one product, n² entries."""
        return _frobenius_norm(self)

    def _blocks(self) -> tuple[int, int]:
        """Size and number of blocks on a side: as even as they come, so that padding is less than one row a block."""
        count = -(-self.num_points // self.block)
        return -(-self.num_points // count), count

    def _over_blocks(self, step: Callable[[Carry, Array, Array, Array], Carry], start: Carry) -> Carry:
        """Fold `step(carry, i, j, K_ij)` over the blocks i ≤ j; rows past the last point are zero."""
        n = self.num_points
        size, count = self._blocks()
        padding = size * count - n
        # The last point again, rather than zeros: a kernel has finite gradients there.
        rows = self.kernel.rows(jnp.pad(self.coordinates, ((0, padding), (0, 0)), mode="edge"))
        rows = jax.tree.map(lambda part: jnp.reshape(part, (count, size, *part.shape[1:])), rows)
        diagonal = jnp.eye(size, dtype=bool)
        inside = (jnp.arange(size * count) < n).reshape(count, size)

        def one(carry: Carry, pair: tuple[Array, ...]) -> tuple[Carry, None]:
            i, j = pair
            block = self.kernel.tile(_take(rows, i), _take(rows, j), diagonal & (i == j), self.which)
            block = jnp.where(inside[i][:, None] & inside[j], block, 0) if padding else block
            return step(carry, i, j, block), None

        return jax.lax.scan(one, start, tuple(jnp.asarray(index) for index in np.triu_indices(count)))[0]


def streamed(k: ComposedKernel, points: Array, which: Which) -> Streamed:
    """Return the operator, with the blocks that suit the device."""
    block = current().block or (BLOCK if jax.default_backend() == "cpu" else LARGE_BLOCK)
    return Streamed(k, which, points, block)


def _take(rows: Any, i: Array) -> Any:
    return jax.tree.map(lambda part: part[i], rows)


@jax.jit
def _frobenius_norm(K: Streamed) -> Array:
    def add(total: Array, i: Array, j: Array, block: Array) -> Array:
        return total + jnp.where(i == j, 1, 2) * jnp.sum(block**2)

    return jnp.sqrt(K._over_blocks(add, jnp.zeros(())))
