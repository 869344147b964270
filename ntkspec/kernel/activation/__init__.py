"""Activations φ with their Gaussian expectations E[φ(u)φ(v)] and E[φ'(u)φ'(v)].

A new activation is one class with ``__call__``, ``dual`` and ``differentiable`` (see `base.Activation`) and one row in
``ACTIVATIONS``; the tests cross every row with every property.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ntkspec.kernel.activation._base import Activation, Pair, angles, safe_sqrt
from ntkspec.kernel.activation._numerical import Numerical
from ntkspec.kernel.activation._piecewise import Abs, Identity, LeakyRelu, Relu, Sign
from ntkspec.kernel.activation._smooth import Erf, Gaussian, Gelu, Polynomial, Sin, cos, rbf, siren

__all__ = [
    "ACTIVATIONS",
    "W_STDS",
    "Abs",
    "Activation",
    "Erf",
    "Gaussian",
    "Gelu",
    "Identity",
    "LeakyRelu",
    "Numerical",
    "Pair",
    "Polynomial",
    "Relu",
    "Sign",
    "Sin",
    "angles",
    "cos",
    "name_of",
    "named",
    "rbf",
    "safe_sqrt",
    "siren",
]

#: Names a command line or a configuration may use, and what makes each with its default parameters.
ACTIVATIONS: dict[str, Callable[[], Activation]] = {
    "identity": Identity,
    "relu": Relu,
    "leaky_relu": LeakyRelu,
    "abs": Abs,
    "sign": Sign,
    "erf": Erf,
    "gelu": Gelu,
    "sin": Sin,
    "cos": cos,
    "siren": siren,
    "rbf": rbf,
    "gaussian": Gaussian,
    "tanh": lambda: Numerical(jnp.tanh),
    "sigmoid": lambda: Numerical(jax.nn.sigmoid),
    "silu": lambda: Numerical(jax.nn.silu),
    "swish": lambda: Numerical(jax.nn.silu),
    "softplus": lambda: Numerical(jax.nn.softplus),
}

#: Standard deviations of weights that go with activations, where it is not ReLU's √2: SIREN's own √2/ω₀.
W_STDS = {"siren": 2**0.5 / 30}


def named(name: str) -> Activation:
    """Return the activation of a name in ``ACTIVATIONS``, with its default parameters."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation={name!r} is not known; expected one of {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS[name]()


def name_of(activation: Activation) -> str | None:
    """Return the first name of an activation in ``ACTIVATIONS``; None where it has parameters of its own, or no name.

    Example:
        >>> name_of(Relu()), name_of(LeakyRelu(0.3))
        ('relu', None)
    """
    return next((name for name, make in ACTIVATIONS.items() if bool(make() == activation)), None)
