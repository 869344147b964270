"""The Lanczos three-term recurrence of an operator, many starting vectors side by side."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from ntkspec.operator._base import Operator

__all__ = ["State", "recur"]

#: q_{j−1} (channel, point), q_j (channel, point), β_{j−1} (channel,).
State = tuple[Array, Array, Array]


@partial(jax.jit, static_argnames="num_steps")
def recur(K: Operator, state: State, num_steps: int) -> tuple[State, tuple[Array, Array, Array]]:
    """Take steps of K q_j = β_{j−1} q_{j−1} + α_j q_j + β_j q_{j+1}.

    Args:
        K: the operator, n points.
        state: where the recurrence stands.
        num_steps: how many steps to take, k.

    Returns:
        The new state, and the basis q_j (k, channel, n), α (k, channel) and β (k, channel) of the steps taken. The
        same state gives the same numbers, bit for bit.

    Source: Lanczos 1950; Parlett 1998, "The symmetric eigenvalue problem", section 13.1.
    """
    apply = jax.vmap(K.matvec)

    def step(state: State, _: None) -> tuple[State, tuple[Array, Array, Array]]:
        previous, vector, beta = state
        w = apply(vector) - beta[:, None] * previous
        alpha = _dot(vector, w)
        w = w - alpha[:, None] * vector
        beta = jnp.sqrt(_dot(w, w))
        # An exactly invariant subspace ends the recurrence: zero vectors from there on change nothing.
        new = w / jnp.where(beta > 0, beta, 1)[:, None]
        return (vector, new, beta), (vector, alpha, beta)

    return jax.lax.scan(step, state, length=num_steps)


def _dot(a: Array, b: Array) -> Array:
    """Of each channel: a product of matrices, which runs on all cores where a sum of products does not."""
    return jnp.einsum("cn,cn->c", a, b, precision="highest")
