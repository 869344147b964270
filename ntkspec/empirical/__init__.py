"""The kernel of a finite network: as a matrix, as an operator, and how it moves in training."""

from ntkspec.empirical.gram import dense, ntk, ntk_between_outputs
from ntkspec.empirical.operator import Empirical, operator

__all__ = ["Empirical", "dense", "ntk", "ntk_between_outputs", "operator"]
