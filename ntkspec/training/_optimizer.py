"""An optimizer by name, without the library that builds it."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from typing import Any

#: Optimizers that have a theory, with their settings.
OWN: dict[str, tuple[str, ...]] = {"gradient_descent": (), "heavy_ball": ("momentum",), "nesterov": ("momentum",)}
#: Optimizers that find their own steps.
SEARCHERS = ("lbfgs",)
MOMENTUM = 0.9


@dataclass(frozen=True)
class Optimizer:
    """An optimizer by name; build one with `ntkspec.trainer.optimizer`.

    Attributes:
        name: "adam", say; of an optax object the function that built it.
        settings: pairs, sorted by name.
        transformation: the optax object itself, where it came as one; it has a learning rate of its own.
    """

    name: str
    settings: tuple[tuple[str, Any], ...] = ()
    transformation: Any = None

    @classmethod
    def of(cls, value: Any) -> Optimizer:
        """Return an optimizer from its name, such as "adam" or "heavy_ball(momentum=0.5)", or from an optax object."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls.named(*_parsed(value))
        if callable(getattr(value, "init", None)) and callable(getattr(value, "update", None)):
            return cls(f"optax.{value.update.__qualname__.split('.')[0]}", transformation=value)
        raise TypeError(
            f"optimizer is a {type(value).__name__}; expected a name such as 'adam', ns.trainer.optimizer(name, ...), "
            "or an optax.GradientTransformation"
        )

    @classmethod
    def named(cls, name: str, settings: Mapping[str, Any]) -> Optimizer:
        """Return an optimizer from its name and settings, checked; see `ntkspec.trainer.optimizer`."""
        if not isinstance(name, str):
            raise TypeError(f"optimizer is a {type(name).__name__}; expected a name such as 'adam'")
        if name == "sgd" and set(settings) <= {"momentum", "nesterov"}:
            momentum, ahead = settings.get("momentum"), settings.get("nesterov", False)
            name = "gradient_descent" if momentum is None else "nesterov" if ahead else "heavy_ball"
            settings = {} if momentum is None else {"momentum": momentum}
        if refusal := next(_refusals(name, settings), None):
            raise refusal
        return cls(name, tuple(sorted(settings.items())))

    @property
    def has_theory(self) -> bool:
        """Whether its steps are a filter of the kernel's spectrum."""
        return self.name in OWN

    @property
    def momentum(self) -> float:
        """β; 0 for optimizers without momentum and those without a theory."""
        return dict(self.settings).get("momentum", MOMENTUM) if "momentum" in OWN.get(self.name, ()) else 0.0

    @property
    def limit(self) -> float | None:
        """The largest stable ηλ: 2, 2(1 + β), (2 + 2β)/(1 + 2β); None for optimizers without a theory."""
        beta = self.momentum
        limits = {"gradient_descent": 2.0, "heavy_ball": 2 * (1 + beta), "nesterov": (2 + 2 * beta) / (1 + 2 * beta)}
        return limits.get(self.name)

    @property
    def takes_rate(self) -> bool:
        """Whether it is given a learning rate."""
        return self.transformation is None

    def __str__(self) -> str:
        settings = ", ".join(f"{key}={value!r}" for key, value in self.settings)
        return f"{self.name}({settings})" if settings else self.name


@lru_cache
def constructor_of(name: str) -> tuple[Callable[..., Any], inspect.Parameter]:
    """Return the function of optax that builds an optimizer, and its first parameter, the learning rate."""
    import optax

    home, _, short = name.rpartition(".")
    found = getattr({"": optax, "contrib": optax.contrib}.get(home), short, None)
    if callable(found) and short.islower() and not short.startswith(("_", "scale_by")):
        first = next(iter(inspect.signature(found).parameters.values()), None)
        if first is not None and first.name in ("learning_rate", "max_learning_rate"):
            return found, first
    raise ValueError(f"optimizer={name!r}; expected one of {', '.join(OWN)}, or of optax, such as adam or contrib.muon")


def _refusals(name: str, settings: Mapping[str, Any]) -> Iterator[Exception]:
    """Yield what is wrong with the settings of an optimizer."""
    if name in OWN:
        taken, needed, hint = list(OWN[name]), [], ""
    else:
        constructor, rate = constructor_of(name)
        parameters = inspect.signature(constructor).parameters
        taken = [key for key in parameters if key != rate.name]
        needed = [key for key in taken if parameters[key].default is inspect.Parameter.empty]
        hint = "; the rate is train's own learning_rate" if rate.name in settings else ""
    if unknown := sorted(set(settings) - set(taken)):
        takes = ", ".join(taken) or "none but the learning rate"
        yield ValueError(f"optimizer {name} has no setting {', '.join(unknown)}; it takes {takes}{hint}")
    if missing := [key for key in needed if key not in settings]:
        yield ValueError(f"optimizer {name} needs {', '.join(missing)}; give them, or build it and give the object")
    beta = settings.get("momentum", MOMENTUM)
    if name in OWN and not (isinstance(beta, Real) and 0 <= float(beta) < 1):
        yield ValueError(f"momentum={beta!r}; expected a number in [0, 1), mostly 0.9")
    # A compiled program is found by their hash.
    for key in (key for key, value in settings.items() if not _is_hashable(value)):
        yield TypeError(
            f"setting {key} of optimizer {name} is a {type(settings[key]).__name__}; expected a number, a tuple or a "
            "function, such as mask=lambda params: ..."
        )


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _parsed(text: str) -> tuple[str, dict[str, Any]]:
    """Name and settings of 'heavy_ball(momentum=0.5)'."""
    call = re.fullmatch(r"\s*([\w.]+)\s*(?:\((.*)\))?\s*", text)
    try:
        name, inner = call.groups()  # type: ignore[union-attr]
        pairs = [pair.partition("=") for pair in re.split(r",\s*(?=\w+\s*=)", inner)] if inner else []
        settings = {key.strip(): ast.literal_eval(value.strip()) for key, _, value in pairs}
        [hash(value) for value in settings.values()]
    except (AttributeError, SyntaxError, ValueError, TypeError) as error:
        raise ValueError(
            f"optimizer={text!r} cannot be read; expected a name, or one with settings as in 'heavy_ball(momentum=0.5)'"
        ) from error
    return name, settings
