"""Mapping, scale, learning rate, steps and width for a signal, from theory and its training samples alone."""

from ntkspec.selection._design import design
from ntkspec.selection._family import FAMILIES, Family, family, with_options
from ntkspec.selection._plan import WidthLaw, width_for
from ntkspec.selection._score import Score, score
from ntkspec.selection._search import CRITERIA, Candidate
from ntkspec.selection._tune import lattice_error, tune_amplitudes

__all__ = [
    "CRITERIA",
    "FAMILIES",
    "Candidate",
    "Family",
    "Score",
    "WidthLaw",
    "design",
    "family",
    "lattice_error",
    "score",
    "tune_amplitudes",
    "width_for",
    "with_options",
]
