"""An ensemble of finite networks under full-batch gradient descent, as pure functions of its parameters."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkspec.kernel.base import Network

__all__ = ["advance", "initialise", "outputs"]


def initialise(network: Network, seed: int, count: int, num_features: int, channels: int, dtype: str) -> Any:
    """Parameters of `count` networks, stacked along a leading axis; network i is the same whatever the count."""
    keys = jnp.stack([jax.random.fold_in(jax.random.key(seed), i) for i in range(count)])
    params = jax.vmap(lambda key: network.init(key, num_features, channels))(keys)
    return jax.tree.map(lambda leaf: leaf.astype(dtype), params)


@jax.jit
def outputs(network: Network, params: Any, features: Array) -> Array:
    """Outputs of every network, (seed, point, channel)."""
    return jax.vmap(lambda p: network.apply(p, features))(params)


@partial(jax.jit, donate_argnames="params")
def advance(
    network: Network,
    params: Any,
    start: Array,
    features: Array,
    labels: Array,
    rate: Array,
    num_steps: Array,
) -> Any:
    """Take `num_steps` steps of gradient descent on ½ Σ (f − start − y)² for every network.

    Args:
        network: whose `apply` it is.
        params: stacked parameters; their memory is reused.
        start: what is subtracted from the outputs, (seed, point, channel).
        features: γ(x), (point, feature).
        labels: y, (point, channel).
        rate: learning rate of the summed loss.
        num_steps: how many; a traced number, so one program serves every stretch between two reports.

    Returns:
        The new parameters.
    """

    def loss(params: Any, start: Array) -> Array:
        return jnp.sum((network.apply(params, features) - start - labels) ** 2) / 2

    def step(_: int, params: Any) -> Any:
        gradient = jax.vmap(jax.grad(loss))(params, start)
        return jax.tree.map(lambda p, g: p - rate * g, params, gradient)

    return jax.lax.fori_loop(0, num_steps, step, params)
