"""The analytic infinite-width kernel of a network, alone or behind a mapping, and the finite network itself."""

from ntkspec.kernel import stax
from ntkspec.kernel.activation import (
    Abs,
    Activation,
    Erf,
    Gaussian,
    Gelu,
    Identity,
    LeakyRelu,
    Numerical,
    Polynomial,
    Relu,
    Sign,
    Sin,
    cos,
    rbf,
    siren,
)
from ntkspec.kernel.composed import ComposedKernel, compose
from ntkspec.kernel.network import MLP
from ntkspec.kernel.sphere import Zonal, zonal

__all__ = [
    "MLP",
    "Abs",
    "Activation",
    "ComposedKernel",
    "Erf",
    "Gaussian",
    "Gelu",
    "Identity",
    "LeakyRelu",
    "Numerical",
    "Polynomial",
    "Relu",
    "Sign",
    "Sin",
    "Zonal",
    "compose",
    "cos",
    "rbf",
    "siren",
    "stax",
    "zonal",
]
