"""An optimizer and a loss tried on a few numbers.

What asks for more than training gives is refused before any work, and what has the same name as another is told from it
by what it does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkspec.trainer._model import PointLoss, Recipe, logistic, squared
from ntkspec.trainer._optimizer import OWN, Optimizer

__all__ = ["behaviour", "require_usable"]

#: What an optimizer raises that was given settings, or asks for arguments, that do not fit.
MISFITS = (
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
    LookupError,
    AssertionError,
    NotImplementedError,
)
#: Digits that are compared; another device rounds otherwise.
DIGITS = 6


def require_usable(recipe: Recipe, shapes: Callable[[], Any], dtype: str) -> None:
    """Refuse a loss of one's own that is not one of each value, and an optimizer that cannot take a step.

    Args:
        recipe: of a step.
        shapes: gives shapes and dtypes of the parameters of one network; nothing is computed.
        dtype: of values and labels.

    Raises:
        ValueError: with what they said.
    """
    _require_elementwise(recipe.point_loss, dtype)
    optimizer = recipe.optimizer
    if optimizer.takes_rate and optimizer.name in OWN:
        return

    def step(key: Array, params: Any) -> Any:
        return _step(optimizer, key, params, _memory(optimizer, key, params))

    params = shapes()
    try:
        jax.eval_shape(step, jax.random.key(0), params)
    except MISFITS as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"optimizer {optimizer} cannot take a step: {said.rstrip('.')}. It is given gradient, parameters, the loss "
            "and its function, and nothing else; look at its settings, or take another, such as 'adam'"
        ) from error


def _require_elementwise(point_loss: PointLoss, dtype: str) -> None:
    if point_loss in (squared, logistic):
        return
    values = jax.ShapeDtypeStruct((2, 3), dtype)
    try:
        found = jax.eval_shape(point_loss, values, values)
    except MISFITS as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"point_loss cannot be taken of values and labels: {said.rstrip('.')}. Expected a function of both, "
            "elementwise in jax, such as lambda f, y: jnp.abs(f - y)"
        ) from error
    shape, kind = getattr(found, "shape", None), getattr(found, "dtype", None)
    if shape != values.shape or kind is None or not jnp.issubdtype(kind, jnp.floating):
        got = f"a {type(found).__name__}" if shape is None else f"{kind} of shape {shape}"
        raise ValueError(
            f"point_loss gives {got} for values of shape {values.shape}; expected one loss for each value, of the same "
            "shape: training sums them itself"
        )


def behaviour(recipe: Recipe, step: int) -> dict[str, list[float] | None]:
    """What tells an optimizer or a loss that has no more than a name from others of that name.

    Args:
        recipe: of a step.
        step: that the run has reached. What an optimizer's own schedule does later, it has not seen.

    Returns:
        By "optimizer" and "point_loss", those of them whose settings do not tell all: updates of a small problem, and
        losses of some values; None where they do not fit such a problem.
    """
    found: dict[str, list[float] | None] = {}
    optimizer = recipe.optimizer
    if not optimizer.takes_rate or not all(_plain(value) for _, value in optimizer.options):
        found["optimizer"] = _tried(lambda: _trial(optimizer).until(max(step, 1)))
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


class _Trial:
    """An optimizer on a small problem, which goes on from where it was last looked at.

    It is looked at after 1, 10, 100, … steps and after the last one: at the update of that step, and at the summed
    lengths of all updates until then, in which a step of another length is seen however long ago it was. Parameters
    take a given path and not that of the updates, by which some optimizers would blow up the last digit of a device.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.seen: dict[int, np.ndarray] = {}
        self.stand: tuple[int, _Stand] | None = None

    def until(self, step: int) -> list[np.ndarray]:
        """What is seen by a step."""
        powers = [10**i for i in range(len(str(step))) if 10**i < step]
        for power in powers:
            if power not in self.seen:
                self.seen[power] = self._after(power)
        return [*(self.seen[power] for power in powers), self._after(step)]

    def _after(self, step: int) -> np.ndarray:
        """The summed lengths of all updates and the last update of each parameter, (2, parameter)."""
        before, stand = self.stand if self.stand is not None and self.stand[0] <= step else (0, _begun(self.optimizer))
        stand = _advanced(self.optimizer, stand, before, step - before)
        self.stand = (step, stand)
        return np.array([_flat(stand.lengths), _flat(stand.update)])


#: The trial of each optimizer: a run that is saved again and again takes every step of it once.
_trial = lru_cache(maxsize=16)(_Trial)


class _Stand(NamedTuple):
    """Of a trial: the optimizer's memory, summed lengths of the updates, and the last one."""

    memory: Any
    lengths: Any
    update: Any


def _begun(optimizer: Optimizer) -> _Stand:
    params = _path(jnp.zeros((), int))
    nothing = jax.tree.map(jnp.zeros_like, params)
    return _Stand(_memory(optimizer, jax.random.key(0), params), nothing, nothing)


@partial(jax.jit, static_argnames="optimizer")
def _advanced(optimizer: Optimizer, stand: _Stand, first: Array, count: Array) -> _Stand:
    """`count` steps on from step `first`."""

    def one(i: Array, stand: _Stand) -> _Stand:
        params = _path(first + i)
        update, memory = _step(optimizer, jax.random.key(0), params, stand.memory)
        update = jax.tree.map(lambda p, u: u.astype(p.dtype), params, update)
        return _Stand(memory, jax.tree.map(lambda length, u: length + jnp.abs(u), stand.lengths, update), update)

    return jax.lax.fori_loop(0, count, one, stand)


def _path(i: Array) -> dict[str, Array]:
    """The parameters before step i, which do not come to rest."""
    return {"w": 3 * jnp.cos(i + jnp.array([[0.3, 1.1], [2.7, 2.0]])), "b": 3 * jnp.cos(i + jnp.array([0.1, 0.9]))}


def _memory(optimizer: Optimizer, key: Array, params: Any) -> Any:
    return optimizer.build(_rate(params), key).init(params)


def _step(optimizer: Optimizer, key: Array, params: Any, memory: Any) -> tuple[Any, Any]:
    """The update on Σ √(1 + (w − 1)²), whose gradient is bounded wherever an update may look, and the memory."""

    def loss(params: Any) -> Array:
        return sum(jnp.sum(jnp.sqrt(1 + (leaf - 1) ** 2)) for leaf in jax.tree.leaves(params))  # type: ignore[return-value]

    value, gradient = jax.value_and_grad(loss)(params)
    found: tuple[Any, Any] = optimizer.build(_rate(params), key).update(
        gradient, memory, params, value=value, grad=gradient, value_fn=loss
    )
    return found


def _rate(params: Any) -> Array:
    return jnp.asarray(1e-3, dtype=jax.tree.leaves(params)[0].dtype)


def _flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
