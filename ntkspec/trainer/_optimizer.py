"""How a gradient becomes a step: gradient descent and momentum as theory has them, and every optimizer of optax.

Gradient descent, the heavy ball and Nesterov's method are those of `ntkspec.dynamics`, step for step:

    heavy ball   d ← βd − η∇(w),  w ← w + d
    Nesterov     v = w + βd,  w' = v − η∇(v),  d ← w' − w

Nesterov's gradient is taken at v, so v is what is carried; w, whose residual the theory gives, is read off it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax import Array

from ntkspec.checks import Refused
from ntkspec.training import OWN, SEARCHERS, Optimizer, constructor_of

#: Adam's own learning rate (Kingma & Ba 2015), for optimizers that name none.
USUAL_RATE = 1e-3
#: Of those whose rate may be left out in optax, which then takes the bare update: Adadelta has no other (Zeiler 2012),
#: and the largest relative step of Adafactor (Shazeer & Stern 2018, section 8).
USUAL_RATES = {"adadelta": 1.0, "adafactor": 1e-2}


def optimizer(name: str, **options: Any) -> Optimizer:
    """Return an optimizer with settings of its own, for `train`.

    Args:
        name: "gradient_descent", "heavy_ball" or "nesterov", which the theory knows; or any of optax that asks for no
            more than a learning rate, such as "adam", "adamw", "lion", "lbfgs", "contrib.muon". Its "sgd" is gradient
            descent, with a `momentum` the heavy ball, and with ``nesterov=True`` as well Nesterov's method, recorded
            at w. Schedule-free methods are recorded where they take their gradient, and not at the average that they
            are evaluated at.
        **options: its settings: `momentum` (0.9) of the two, and what optax takes, such as ``b1`` of Adam.

    Returns:
        The optimizer.

    Raises:
        ValueError: if there is none of that name, or it takes no such setting.
        TypeError: if a setting is a list, a dict or the like.

    Source: Polyak 1964; Nesterov 1983; https://optax.readthedocs.io.

    Example:
        >>> optimizer("heavy_ball", momentum=0.5).limit
        3.0
        >>> str(optimizer("adam", b1=0.8))
        'adam(b1=0.8)'
    """
    return Optimizer.named(name, options)


def is_rateless(optimizer: Optimizer) -> bool:
    """Whether an optimizer that is given no learning rate finds its own steps; one that cannot is refused."""
    if not optimizer.takes_rate or optimizer.limit is not None or usual_rate(optimizer) is not None:
        return False
    if optimizer.name not in SEARCHERS:
        raise Refused(f"optimizer {optimizer} has no usual learning rate; give {{learning_rate}}", learning_rate=...)
    return True


def searches(optimizer: Optimizer) -> bool:
    """Whether it may ask for the loss at other parameters within a step."""
    import optax

    return optimizer.name in SEARCHERS or isinstance(optimizer.transformation, optax.GradientTransformationExtraArgs)


def usual_rate(optimizer: Optimizer) -> float | None:
    """Return the learning rate of an optax optimizer: its signature's own, or 1e-3; None where there is none."""
    if optimizer.name in USUAL_RATES:
        return USUAL_RATES[optimizer.name]
    default = constructor_of(optimizer.name)[1].default
    return USUAL_RATE if default is inspect.Parameter.empty else default


def build(optimizer: Optimizer, rate: Array | None, key: Array) -> Any:
    """Return the optax transformation at a learning rate, which may be traced; `key` is for those that draw noise."""
    import optax

    if optimizer.transformation is not None:
        return optax.with_extra_args_support(optimizer.transformation)
    if optimizer.name in OWN:
        return optax.with_extra_args_support(_OWN[optimizer.name](rate, optimizer.momentum))
    constructor, _ = constructor_of(optimizer.name)
    settings = dict(optimizer.settings)
    if "key" in inspect.signature(constructor).parameters:
        settings.setdefault("key", key)
    return optax.with_extra_args_support(constructor(rate, **settings))


def reading(optimizer: Optimizer, params: Any, state: Any) -> Any:
    """Return the parameters to look at: w, where v = w + βd is carried."""
    if optimizer.name != "nesterov":
        return params
    return jax.tree.map(lambda v, d: v - optimizer.momentum * d, params, state)


def _descent(rate: Any, _: float) -> Any:
    import optax

    return optax.stateless_with_tree_map(lambda g, _: -rate * g)


def _momentum(rate: Any, beta: float, ahead: bool) -> Any:
    import optax

    def at_rest(params: Any) -> Any:
        return jax.tree.map(jax.numpy.zeros_like, params)

    def update(gradient: Any, moved: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        moved = jax.tree.map(lambda d, g: beta * d - rate * g, moved, gradient)
        return jax.tree.map(lambda d, g: beta * d - rate * g, moved, gradient) if ahead else moved, moved

    return optax.GradientTransformation(at_rest, update)


_OWN: dict[str, Callable[[Any, float], Any]] = {
    "gradient_descent": _descent,
    "heavy_ball": partial(_momentum, ahead=False),
    "nesterov": partial(_momentum, ahead=True),
}
