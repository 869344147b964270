"""An optimizer and a loss tried on a few numbers.

What asks for more than training gives is refused before any work, and what has the same name as another is told from it
by what it does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkspec.trainer.model import Recipe, logistic, squared
from ntkspec.trainer.optimizer import OWN, Optimizer

__all__ = ["behaviour", "require_usable"]

#: What an optimizer raises that was given settings, or asks for arguments, that do not fit.
MISFITS = (TypeError, ValueError, AttributeError, KeyError, AssertionError, NotImplementedError)
#: Steps after which the parameters of a trial are looked at: a schedule of an optimizer's own may begin late.
LOOKED_AT = (1, 10, 100)
#: Digits that are compared; another device rounds otherwise.
DIGITS = 6


def require_usable(optimizer: Optimizer, shapes: Callable[[], Any]) -> None:
    """Refuse an optimizer that cannot take a step with what training gives it.

    Args:
        optimizer: any.
        shapes: gives shapes and dtypes of the parameters of one network; nothing is computed.

    Raises:
        ValueError: with what it said.
    """
    if optimizer.takes_rate and optimizer.name in OWN:
        return
    params = shapes()
    try:
        jax.eval_shape(
            lambda key, params: _step(optimizer, key, *_begun(optimizer, key, params)), jax.random.key(0), params
        )
    except MISFITS as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"optimizer {optimizer} cannot take a step: {said.rstrip('.')}. It is given gradient, parameters, the loss "
            "and its function, and nothing else; look at its settings, or take another, such as 'adam'"
        ) from error


@lru_cache(maxsize=16)
def behaviour(recipe: Recipe) -> dict[str, list[float] | None]:
    """What tells an optimizer or a loss that has no more than a name from others of that name.

    Args:
        recipe: of a step.

    Returns:
        By "optimizer" and "point_loss", those of them whose settings do not tell all: parameters of a small problem
        after some steps, and losses of some values; None where they do not fit such a problem.
    """
    found: dict[str, list[float] | None] = {}
    optimizer = recipe.optimizer
    if not optimizer.takes_rate or not all(_plain(value) for _, value in optimizer.options):
        found["optimizer"] = _tried(lambda: _parameters(optimizer))
    if recipe.point_loss not in (squared, logistic):
        f, y = jnp.meshgrid(jnp.array([-1.3, 0.2, 0.7, 2.1]), jnp.array([0.1, 0.6, 0.9]))
        found["point_loss"] = _tried(lambda: recipe.point_loss(f, y))
    return found


def _plain(value: Any) -> bool:
    """Whether its text is all of it."""
    if isinstance(value, tuple | list):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _tried(function: Callable[[], Any]) -> list[float] | None:
    try:
        values = np.asarray(function(), dtype=float).ravel()
    except MISFITS:
        return None
    return [float(f"{value:.{DIGITS}g}") for value in values]


def _parameters(optimizer: Optimizer) -> Array:
    """Parameters after each number of `LOOKED_AT` steps, (looked at, parameter)."""
    key = jax.random.key(0)
    params = {"w": jnp.array([[0.3, -1.1], [0.7, 2.0]]), "b": jnp.array([0.1, -0.4])}

    @jax.jit
    def path(params: Any) -> Array:
        def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], Array]:
            params, memory = _step(optimizer, key, *carry)
            return (params, memory), jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(params)])

        return jax.lax.scan(step, _begun(optimizer, key, params), length=LOOKED_AT[-1])[1]

    return path(params)[jnp.array(LOOKED_AT) - 1]


def _begun(optimizer: Optimizer, key: Array, params: Any) -> tuple[Any, Any]:
    return params, optimizer.build(_rate(params), key).init(params)


def _step(optimizer: Optimizer, key: Array, params: Any, memory: Any) -> tuple[Any, Any]:
    """A step on Σ √(1 + (w − 1)²), whose gradient is bounded wherever a step may end."""

    def loss(params: Any) -> Array:
        return sum(jnp.sum(jnp.sqrt(1 + (leaf - 1) ** 2)) for leaf in jax.tree.leaves(params))  # type: ignore[return-value]

    value, gradient = jax.value_and_grad(loss)(params)
    update, memory = optimizer.build(_rate(params), key).update(
        gradient, memory, params, value=value, grad=gradient, value_fn=loss
    )
    return jax.tree.map(lambda p, u: (p + u).astype(p.dtype), params, update), memory


def _rate(params: Any) -> Array:
    return jnp.asarray(1e-3, dtype=jax.tree.leaves(params)[0].dtype)
