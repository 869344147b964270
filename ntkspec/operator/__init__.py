"""A kernel on points as a linear operator that is never formed where it need not be."""

from ntkspec.operator.base import Operator
from ntkspec.operator.dense import Dense, dense
from ntkspec.operator.lattice import Lattice, lattice
from ntkspec.operator.norm import largest_eigenvalue

__all__ = ["Dense", "Lattice", "Operator", "dense", "largest_eigenvalue", "lattice"]
