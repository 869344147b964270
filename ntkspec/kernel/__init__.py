"""The analytic infinite-width kernel of a network, alone or behind a mapping, and the finite network itself."""

from ntkspec.kernel import stax
from ntkspec.kernel._base import Network
from ntkspec.kernel._composed import ComposedKernel, compose
from ntkspec.kernel._linearised import Linearised, linearised
from ntkspec.kernel._network import MLP
from ntkspec.kernel._sphere import Zonal, zonal
from ntkspec.kernel._stax_network import StaxNetwork, from_stax
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
