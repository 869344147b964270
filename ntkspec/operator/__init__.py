"""A kernel on points as a linear operator that is never formed where it need not be."""

from ntkspec.operator import measurement
from ntkspec.operator.base import Operator
from ntkspec.operator.choose import Choice, choose
from ntkspec.operator.dense import Dense, dense
from ntkspec.operator.lattice import Lattice, lattice
from ntkspec.operator.low_rank import LowRank, low_rank
from ntkspec.operator.measured import EstimateWarning, Measured, measured
from ntkspec.operator.nonuniform import Nonuniform
from ntkspec.operator.norm import largest_eigenvalue
from ntkspec.operator.scattered import scattered
from ntkspec.operator.streamed import Streamed

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
