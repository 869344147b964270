"""How a gradient becomes a step: gradient descent and momentum as theory has them, and every optimizer of optax.

Gradient descent, the heavy ball and Nesterov's method are those of `ntkspec.dynamics`, step for step:

    heavy ball   d ← βd − η∇(w),  w ← w + d
    Nesterov     v = w + βd,  w' = v − η∇(v),  d ← w' − w

Nesterov's gradient is taken at v, so v is what is carried; w, whose residual the theory gives, is read off it.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax import Array

__all__ = ["OWN", "Optimizer", "optimizer"]

#: Those that the theory knows, with what they take: the largest ηλ of each is `Optimizer.limit`.
OWN: dict[str, tuple[str, ...]] = {"gradient_descent": (), "heavy_ball": ("momentum",), "nesterov": ("momentum",)}
#: Adam's own learning rate (Kingma & Ba 2015), for optimizers that name none.
USUAL_RATE = 1e-3
#: Of those whose rate may be left out in optax, which then takes the bare update: Adadelta has no other (Zeiler 2012),
#: and the largest relative step of Adafactor (Shazeer & Stern 2018, section 8).
USUAL_RATES = {"adadelta": 1.0, "adafactor": 1e-2}
#: Those that find their own steps.
SEARCHERS = ("lbfgs",)
MOMENTUM = 0.9


@dataclass(frozen=True)
class Optimizer:
    """An optimizer by name; build one with `ntkspec.trainer.optimizer`.

    Attributes:
        name: of it.
        options: its settings, sorted by name.
        transformation: the optax object itself, where it came as one; it has a learning rate of its own.
        rateless: whether it is left to find its own steps.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()
    transformation: Any = None
    rateless: bool = False

    @property
    def has_theory(self) -> bool:
        """Whether its steps are a filter of the kernel's spectrum."""
        return self.name in OWN

    @property
    def limit(self) -> float | None:
        """The largest stable ηλ: 2, 2(1 + β), (2 + 2β)/(1 + 2β); None where none is known."""
        beta = self.momentum
        limits = {"gradient_descent": 2.0, "heavy_ball": 2 * (1 + beta), "nesterov": (2 + 2 * beta) / (1 + 2 * beta)}
        return limits.get(self.name)

    @property
    def momentum(self) -> float:
        """β; 0 where theory knows none."""
        return dict(self.options).get("momentum", MOMENTUM) if "momentum" in OWN.get(self.name, ()) else 0.0

    @property
    def takes_rate(self) -> bool:
        """Whether it is given a learning rate."""
        return self.transformation is None

    def without_rate(self) -> Optimizer:
        """The optimizer where no learning rate is given: one that searches then finds its own steps.

        Raises:
            ValueError: if it has no usual rate either.
        """
        if not self.takes_rate or self.limit is not None or self.usual_rate is not None:
            return self
        if self.name not in SEARCHERS:
            raise ValueError(f"optimizer {self} has no usual learning rate; give learning_rate=...")
        return replace(self, rateless=True)

    @property
    def searches(self) -> bool:
        """Whether it may ask for the loss at other parameters within a step."""
        import optax

        ready = self.transformation
        return self.name == "lbfgs" or isinstance(ready, optax.GradientTransformationExtraArgs)

    @property
    def usual_rate(self) -> float | None:
        """The learning rate of an optax optimizer: its signature's own, or 1e-3; None where there is none."""
        if self.name in USUAL_RATES:
            return USUAL_RATES[self.name]
        default = _constructor(self.name)[1].default
        return USUAL_RATE if default is inspect.Parameter.empty else default

    def build(self, rate: Array, key: Array) -> Any:
        """The optax transformation at a learning rate, which may be traced; `key` is for those that draw noise."""
        import optax

        if self.transformation is not None:
            return optax.with_extra_args_support(self.transformation)
        if self.name in OWN:
            return optax.with_extra_args_support(_OWN[self.name](rate, self.momentum))
        constructor, parameter = _constructor(self.name)
        options: dict[str, Any] = {parameter.name: None if self.rateless else rate, **dict(self.options)}
        if "key" in inspect.signature(constructor).parameters:
            options.setdefault("key", key)
        return optax.with_extra_args_support(constructor(**options))

    def reading(self, params: Any, state: Any) -> Any:
        """The parameters to look at: w, where v = w + βd is carried."""
        if self.name != "nesterov":
            return params
        return jax.tree.map(lambda v, d: v - self.momentum * d, params, state)

    def __str__(self) -> str:
        options = ", ".join(f"{key}={value!r}" for key, value in self.options)
        return f"{self.name}({options})" if options else self.name


def optimizer(name: str, **options: Any) -> Optimizer:
    """An optimizer with settings of its own, for `train`.

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
        TypeError: if the name is none, or a setting is a list, a dict or the like.

    Source: Polyak 1964; Nesterov 1983; https://optax.readthedocs.io.

    Example:
        >>> optimizer("heavy_ball", momentum=0.5).limit
        3.0
        >>> str(optimizer("adam", b1=0.8))
        'adam(b1=0.8)'
    """
    if not isinstance(name, str):
        raise TypeError(f"optimizer is a {type(name).__name__}; expected a name such as 'adam'")
    for key, value in options.items():
        try:
            # Compiled programs are told apart by it.
            hash(value)
        except TypeError:
            raise TypeError(
                f"setting {key} of optimizer {name} is a {type(value).__name__}; expected a number, a tuple or a "
                "function, such as mask=lambda params: ..."
            ) from None
    if name == "sgd" and set(options) <= {"momentum", "nesterov"}:
        momentum, ahead = options.get("momentum"), options.get("nesterov", False)
        name = "gradient_descent" if momentum is None else "nesterov" if ahead else "heavy_ball"
        options = {} if momentum is None else {"momentum": momentum}
    if name in OWN:
        if unknown := sorted(set(options) - set(OWN[name])):
            takes = " and ".join(OWN[name]) or "none but the learning rate"
            raise ValueError(f"optimizer {name} has no setting {', '.join(unknown)}; it takes {takes}")
        beta = options.get("momentum", MOMENTUM)
        if not isinstance(beta, int | float | np.number) or not 0 <= beta < 1:
            raise ValueError(f"momentum={beta!r}; expected a number in [0, 1), mostly 0.9")
        return Optimizer(name, tuple(sorted(options.items())))
    constructor, parameter = _constructor(name)
    taken = [key for key in inspect.signature(constructor).parameters if key != parameter.name]
    if unknown := sorted(set(options) - set(taken)):
        hint = "; the rate is train's own learning_rate" if parameter.name in unknown else ""
        raise ValueError(f"optax.{name} has no setting {', '.join(unknown)}; it takes {', '.join(taken)}{hint}")
    return Optimizer(name, tuple(sorted(options.items())))


def as_optimizer(given: Any) -> Optimizer:
    """An optimizer from its name, with settings or without, from `optimizer`, or from optax itself.

    Raises:
        TypeError: if it is none of them.
        ValueError: if there is none of that name.
    """
    import optax

    if isinstance(given, Optimizer):
        return given
    if isinstance(given, str):
        return _read(given)
    if isinstance(given, optax.GradientTransformation):
        return Optimizer(_name_of(given), transformation=given)
    raise TypeError(
        f"optimizer is a {type(given).__name__}; expected a name such as 'adam', ns.trainer.optimizer(name, ...), or "
        "an optax.GradientTransformation"
    )


def _read(text: str) -> Optimizer:
    """From how it calls itself: 'adam', 'heavy_ball(momentum=0.5)'."""
    name, bracket, _ = text.partition("(")
    if not bracket:
        return optimizer(name)
    try:
        call = ast.parse(text.strip().replace(name, "f", 1), mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(word.arg is None for word in call.keywords):
            raise ValueError("no settings by name")
        options = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise ValueError(
            f"optimizer={text!r} cannot be read; expected a name, or one with settings as in 'heavy_ball(momentum=0.5)'"
        ) from error
    try:
        return optimizer(name.strip(), **options)
    except TypeError as error:
        # What came as text is a wrong value.
        raise ValueError(str(error)) from error


def _name_of(transformation: Any) -> str:
    """The function of optax that built it, as far as its inner functions tell."""
    return f"optax.{transformation.update.__qualname__.split('.')[0]}"


def _constructor(name: str) -> tuple[Callable[..., Any], inspect.Parameter]:
    """The function of optax by this name, and its parameter for the learning rate."""
    import optax

    home, _, short = name.rpartition(".")
    place = {"": optax, "contrib": optax.contrib}.get(home)
    found: Any = getattr(place, short, None)
    parameter = _rate_of(found, short)
    if parameter is not None:
        return found, parameter
    known = [*OWN, *(other for other in dir(optax) if _rate_of(getattr(optax, other), other))]
    raise ValueError(
        f"optimizer={name!r}; expected one of {', '.join(known)}, or contrib.NAME for those of optax.contrib"
    )


def _rate_of(found: Any, name: str) -> inspect.Parameter | None:
    """The parameter for the learning rate of an optimizer that asks for no more; None of anything else."""
    plain = found.func if isinstance(found, functools.partial) else found
    if not inspect.isfunction(plain) or not name.islower() or name.startswith(("_", "scale_by")):
        return None
    parameters = inspect.signature(found).parameters
    required = {key for key, value in parameters.items() if value.default is value.empty}
    rates = [parameters[key] for key in ("learning_rate", "max_learning_rate") if key in parameters]
    return rates[0] if rates and required <= {rates[0].name} else None


def _descent(rate: Array, _: float) -> Any:
    import optax

    return optax.stateless_with_tree_map(lambda g, _: -rate * g)


def _heavy_ball(rate: Array, beta: float) -> Any:
    import optax

    def update(gradient: Any, moved: Any, params: Any = None) -> tuple[Any, Any]:
        moved = jax.tree.map(lambda d, g: beta * d - rate * g, moved, gradient)
        return moved, moved

    return optax.GradientTransformation(_at_rest, update)


def _nesterov(rate: Array, beta: float) -> Any:
    import optax

    def update(gradient: Any, moved: Any, params: Any = None) -> tuple[Any, Any]:
        moved = jax.tree.map(lambda d, g: beta * d - rate * g, moved, gradient)
        return jax.tree.map(lambda d, g: beta * d - rate * g, moved, gradient), moved

    return optax.GradientTransformation(_at_rest, update)


def _at_rest(params: Any) -> Any:
    return jax.tree.map(jax.numpy.zeros_like, params)


_OWN = {"gradient_descent": _descent, "heavy_ball": _heavy_ball, "nesterov": _nesterov}
