"""How well training points predict others, from the kernel and the labels of the training points alone.

Leave-one-out, generalised cross-validation and evidence ask the labels at hand; learning curves, risk and aliasing
follow from the kernel's spectrum and a target's.
"""

from ntkspec.generalisation._aliasing import aliasing
from ntkspec.generalisation._cross_validation import cross_validation
from ntkspec.generalisation._decomposition import Decomposition, decompose
from ntkspec.generalisation._evidence import evidence, scaled_evidence
from ntkspec.generalisation._learning_curve import eigenlearning, learning_curve
from ntkspec.generalisation._leave_one_out import leave_one_out, leave_one_out_path
from ntkspec.generalisation._risk import risk
from ntkspec.generalisation._tables import Draws, Sampling

__all__ = [
    "Decomposition",
    "Draws",
    "Sampling",
    "aliasing",
    "cross_validation",
    "decompose",
    "eigenlearning",
    "evidence",
    "learning_curve",
    "leave_one_out",
    "leave_one_out_path",
    "risk",
    "scaled_evidence",
]
