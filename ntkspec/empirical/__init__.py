"""The kernel of a finite network: as a matrix, as an operator, and how it moves in training."""

from ntkspec.empirical._gram import dense, ntk, ntk_between_outputs
from ntkspec.empirical._matrix_free import Empirical, operator
from ntkspec.empirical._movement import Movement, movement

__all__ = ["Empirical", "Movement", "dense", "movement", "ntk", "ntk_between_outputs", "operator"]
