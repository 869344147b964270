"""A kernel on points as a linear operator that is never formed where it need not be."""

from ntkspec.operator.base import Operator
from ntkspec.operator.dense import Dense, dense
from ntkspec.operator.lattice import Lattice, lattice
from ntkspec.operator.nonuniform import Nonuniform
from ntkspec.operator.norm import largest_eigenvalue
from ntkspec.operator.scattered import scattered
from ntkspec.operator.streamed import Streamed

__all__ = [
    "Dense",
    "Lattice",
    "Nonuniform",
    "Operator",
    "Streamed",
    "dense",
    "largest_eigenvalue",
    "lattice",
    "scattered",
]
