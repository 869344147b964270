"""The analytic infinite-width kernel of a network, alone or behind a mapping, and the finite network itself."""

from ntkspec.kernel import stax
from ntkspec.kernel.activation import Activation, Relu
from ntkspec.kernel.composed import ComposedKernel, compose
from ntkspec.kernel.network import MLP
from ntkspec.kernel.zonal import Zonal, zonal

__all__ = ["MLP", "Activation", "ComposedKernel", "Relu", "Zonal", "compose", "stax", "zonal"]
