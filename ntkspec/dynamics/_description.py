"""A dynamics as what JSON can hold, and the same dynamics again from that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ntkspec.dynamics._base import Dynamics
from ntkspec.dynamics._modified import DampedPower
from ntkspec.record import configuration

__all__ = ["describe", "from_description"]


def describe(dynamics: Dynamics) -> dict[str, Any]:
    """Describe a dynamics in what JSON can hold, nested ones as well; see `from_description`.

    Returns:
        Its fields, with the name of its class as "class". Arrays of more than 64 numbers (a schedule that often
        changes) are a digest, and a function is its name.

    Example:
        >>> from ntkspec.dynamics import heavy_ball, ridge
        >>> describe(ridge(0.5, heavy_ball(0.9)))["base"]
        {'class': 'HeavyBall', 'momentum': 0.9}
    """
    return configuration(dynamics)


def from_description(description: Mapping[str, Any], given: Dynamics | None = None) -> Dynamics:
    """Rebuild a dynamics from its description.

    A prediction keeps that of its dynamics in its attributes, as "dynamics" of the JSON text "configuration".

    Args:
        description: result of `describe`.
        given: the dynamics itself, where the description holds no more than a digest or a name of some part.

    Raises:
        ValueError: if `given` has another description, or is missing and the description is not complete.

    Example:
        >>> from ntkspec.dynamics import heavy_ball, ridge
        >>> from_description(describe(ridge(0.5, heavy_ball(0.9)))) == ridge(0.5, heavy_ball(0.9))
        True
    """
    if given is None:
        return _rebuilt(description)
    if describe(given) != description:
        raise ValueError(f"the dynamics given is {describe(given)}; expected the described, {dict(description)}")
    return given


def _rebuilt(value: Any) -> Any:
    """Rebuild a field of a description, a nested dynamics among them."""
    kind = _kinds(Dynamics).get(value.get("class", "")) if isinstance(value, Mapping) else None
    if kind is not None:
        return kind(**{name: _rebuilt(field) for name, field in value.items() if name != "class"})
    if isinstance(value, Mapping | str):
        raise ValueError(
            f"the dynamics cannot be rebuilt: of one part no more is kept than {value!r}; give the dynamics itself, "
            "the object that the prediction was made with"
        )
    return np.array(value) if isinstance(value, list) else value


def _kinds(base: type) -> dict[str, type]:
    """Classes that a description may name: every dynamics, and the preconditioner that is more than a function."""
    kinds: dict[str, type] = {"DampedPower": DampedPower}
    below: list[type] = base.__subclasses__()
    for kind in below:
        kinds |= {kind.__name__: kind, **_kinds(kind)}
    return kinds
