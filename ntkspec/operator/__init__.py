"""A kernel on points as a linear operator that is never formed where it need not be."""

from ntkspec.operator import measurement
from ntkspec.operator._base import Operator
from ntkspec.operator._choose import Choice, choose
from ntkspec.operator._dense import Dense, dense
from ntkspec.operator._lattice import Lattice, lattice
from ntkspec.operator._low_rank import LowRank, low_rank
from ntkspec.operator._measured import EstimateWarning, Measured, measured
from ntkspec.operator._norm import largest_eigenvalue
from ntkspec.operator._scattered._build import scattered
from ntkspec.operator._scattered._exact import Streamed
from ntkspec.operator._scattered._fourier import Nonuniform

__all__ = [
    "Choice",
    "Dense",
    "EstimateWarning",
    "Lattice",
    "LowRank",
    "Measured",
    "Nonuniform",
    "Operator",
    "Streamed",
    "choose",
    "dense",
    "largest_eigenvalue",
    "lattice",
    "low_rank",
    "measured",
    "measurement",
    "scattered",
]
