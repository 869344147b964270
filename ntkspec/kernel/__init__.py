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
from ntkspec.kernel.base import Network
from ntkspec.kernel.composed import ComposedKernel, compose
from ntkspec.kernel.linearised import Linearised, linearised
from ntkspec.kernel.network import MLP
from ntkspec.kernel.sphere import Zonal, zonal
from ntkspec.kernel.stax_network import StaxNetwork, from_stax

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
    "Linearised",
    "Network",
    "Numerical",
    "Polynomial",
    "Relu",
    "Sign",
    "Sin",
    "StaxNetwork",
    "Zonal",
    "compose",
    "cos",
    "from_stax",
    "linearised",
    "rbf",
    "siren",
    "stax",
    "zonal",
]
